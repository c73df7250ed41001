"""What a reader may give back."""

from __future__ import annotations

import numpy as np
import pytest

from joulemark.data.source import Source

IMAGES = np.zeros((2, 1, 3, 3), np.uint8)
LABELS = np.array([0, 1], np.int64)
PAIR = (IMAGES, LABELS)
NAMES = np.array(["train", "test"])
NAN = np.array([[0.0, 1.0], [np.nan, 2.0]], np.float32)


def test_test_set_may_be_missing():
    assert Source(PAIR).test is None


@pytest.mark.parametrize("kind", ["u1", "i1", "<i2", ">i2", "u4", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 8), (2, 1, 4, 4), (2, 2, 2, 2, 2)])
def test_inputs_are_numbers_of_any_rank_and_type(kind, shape):
    Source((np.ones(shape, kind), LABELS + 70_000))


@pytest.mark.parametrize(
    ("inputs", "labels", "said"),
    [
        (np.zeros(2, np.uint8), LABELS, "inputs must be numbers of shape"),
        (IMAGES.astype(str), LABELS, "inputs must be numbers of shape"),
        (IMAGES.astype(complex), LABELS, "inputs must be numbers of shape"),
        (IMAGES, LABELS[:1], "2 inputs need as many int64 labels"),
        (IMAGES, LABELS.astype(np.int32), "2 inputs need as many int64 labels"),
        (IMAGES, LABELS - 1, "labels must be 0 or more, not -1 to 0"),
        (NAN, LABELS, "row 1 holds NaN or infinity: clean the data"),
        (np.where(np.isnan(NAN), -np.inf, NAN), LABELS, "row 1 holds NaN or infinity: clean the data"),
        (IMAGES[:0], LABELS[:0], "there are no (training|test) rows"),
    ],
)
def test_what_is_not_inputs_with_labels_is_refused(inputs, labels, said):
    with pytest.raises(ValueError, match=said):
        Source((inputs, labels))
    with pytest.raises(ValueError, match=said):
        Source(PAIR, (inputs, labels))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"test": (IMAGES.astype(np.int16), LABELS)}, "training inputs are uint8 and test inputs int16"),
        ({"groups": LABELS[:1]}, "2 rows need as many int64 groups"),
        ({"groups": LABELS.astype(np.int32)}, "2 rows need as many int64 groups"),
        ({"groups": LABELS, "test": PAIR}, "groups are of training and of test rows, or of neither"),
        ({"test_groups": LABELS}, "groups are of training and of test rows, or of neither"),
        ({"test_groups": LABELS, "test": PAIR}, "groups are of training and of test rows, or of neither"),
        ({"groups": LABELS, "test": PAIR, "test_groups": LABELS[:1]}, "2 rows need as many int64 groups"),
        ({"given": NAMES[:1]}, "2 training rows need as many names of splits"),
        ({"given": LABELS}, "2 training rows need as many names of splits"),
        ({"given": np.array(["train", "tset"])}, "train, policy, validation, test or to none, not to 'tset'"),
        ({"given": NAMES, "test": PAIR}, "can be given to train, policy, validation or to none, not to 'test'"),
    ],
)
def test_groups_and_given_splits_are_of_every_row(more, said):
    with pytest.raises(ValueError, match=said):
        Source(PAIR, **more)


def test_groups_and_given_splits():
    source = Source(PAIR, PAIR, groups=LABELS, test_groups=LABELS + 5, given=np.array(["train", ""]))
    assert source.given.tolist() == ["train", ""]
