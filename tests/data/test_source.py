"""What a reader may give back."""

from __future__ import annotations

import numpy as np
import pytest

from joulemark.data.source import Source

IMAGES = np.zeros((2, 1, 3, 3), np.uint8)
LABELS = np.array([0, 1], np.int64)


def test_test_set_may_be_missing():
    assert Source((IMAGES, LABELS)).test is None


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (IMAGES[0], LABELS[:1], "images must be bytes of shape"),
        (IMAGES.astype(np.float32), LABELS, "images must be bytes of shape"),
        (IMAGES, LABELS[:1], "2 images need as many int64 labels"),
        (IMAGES, LABELS.astype(np.int32), "2 images need as many int64 labels"),
        (IMAGES, LABELS - 1, "labels must be 0 to 255, not -1 to 0"),
        (IMAGES, LABELS + 255, "labels must be 0 to 255, not 255 to 256"),
    ],
)
def test_what_is_not_images_with_labels_is_refused(images, labels, said):
    with pytest.raises(ValueError, match=said):
        Source((images, labels))
    with pytest.raises(ValueError, match=said):
        Source((IMAGES, LABELS), (images, labels))
