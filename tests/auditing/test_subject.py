"""What can be audited, and one sentence for what cannot."""

from __future__ import annotations

import numpy as np
import pytest
from small_graphs import SHAPE, build, relu

from joulemark.auditing.subject import open_subject


@pytest.mark.parametrize(
    ("make", "shape", "sentence"),
    [
        (lambda p: str(p / "none.onnx"), None, "there is no file"),
        (lambda p: "resnet", None, "is neither an .onnx file nor a function"),
        (lambda p: relu(p / "a.onnx", ["n", 3, "h", "w"]), None, "leaves its input open.* --shape"),
        (lambda p: "small_graphs:build_nothing", None, "returned int, not a torch module"),
        (lambda p: "small_graphs:build", (3, 50, 50), "does not run on inputs of shape"),
    ],
)
def test_what_cannot_be_audited_is_one_sentence(tmp_path, make, shape, sentence):
    with pytest.raises(ValueError, match=sentence):
        open_subject(make(tmp_path), shape)


def test_a_file_keeps_its_layout_and_batch(tmp_path):
    subject = open_subject(relu(tmp_path / "a.onnx", [2, 4, 5, 3]), None)
    assert (subject.shape, subject.last, subject.batch, subject.module) == ((3, 4, 5), True, 2, None)
    assert subject.rows(np.zeros((2, 3, 4, 5), np.float32)).shape == (2, 4, 5, 3)


def test_a_function_of_the_users_code():
    subject = open_subject("small_graphs:build", None)
    assert subject.shape == SHAPE
    assert subject.batch is None
    assert type(subject.module) is type(build())
