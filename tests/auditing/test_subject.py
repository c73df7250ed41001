"""What can be audited, and one sentence for what cannot."""

from __future__ import annotations

import pytest
from onnx import helper
from small_graphs import SHAPE, build, relu, write

from joulemark.auditing.subject import open_subject


def test_a_file_tells_shape_layout_and_batch(tmp_path):
    free = open_subject(relu(tmp_path / "a.onnx", ["n", 3, 4, 5]), None)
    assert (free.shape, free.last, free.batch) == ((3, 4, 5), False, None)
    last = open_subject(relu(tmp_path / "b.onnx", [2, 4, 5, 3]), None)
    assert (last.shape, last.last, last.batch) == ((3, 4, 5), True, 2)
    given = open_subject(relu(tmp_path / "c.onnx", ["n", 3, "h", "w"]), (3, 8, 9))
    assert given.shape == (3, 8, 9)


@pytest.mark.parametrize(
    ("make", "shape", "sentence"),
    [
        (lambda p: str(p / "none.onnx"), None, "there is no file"),
        (lambda p: "resnet", None, "is neither an .onnx file nor a function"),
        (lambda p: relu(p / "a.onnx", ["n", 3, "h", "w"]), None, "leaves its input open.* --shape"),
        (lambda p: relu(p / "a.onnx", ["n", 3, 4, 4]), (3, 5, 4), "does not fit"),
        (lambda p: relu(p / "a.onnx", ["n", 3], op="NoSuch"), None, "ONNX Runtime cannot open"),
        (lambda p: "small_graphs:none", None, "cannot import small_graphs:none"),
        (lambda p: "no_such_module_at_all:f", None, "cannot import"),
        (lambda p: "small_graphs:build_nothing", None, "returned int, not a torch module"),
        (lambda p: "small_graphs:build_badly", None, "raised KeyError"),
        (lambda p: "sys:exit", None, r"sys:exit\(\) raised SystemExit"),
        (lambda p: "..:f", None, "cannot import ..:f: TypeError"),
        (lambda p: ":f", None, "cannot import :f: ValueError"),
        (lambda p: "small_graphs:build", (3, 50, 50), "does not run on inputs of shape"),
    ],
)
def test_what_cannot_be_audited_is_one_sentence(tmp_path, make, shape, sentence):
    with pytest.raises(ValueError, match=sentence):
        open_subject(make(tmp_path), shape)


@pytest.mark.parametrize("content", [b"", b"hello, this is no graph", bytes(range(256))])
def test_garbage_is_one_sentence(tmp_path, content):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.onnx"):
        open_subject(str(tmp_path / "a.onnx"), None)


def test_several_inputs_are_refused(tmp_path):
    node = helper.make_node("Add", ["a", "b"], ["y"])
    path = write(tmp_path / "m.onnx", [node], inputs={"a": [1, 2], "b": [1, 2]}, outputs={"y": [1, 2]})
    with pytest.raises(ValueError, match=r"has 2 inputs \(a, b\): give a net of exactly one"):
        open_subject(path, None)


def test_a_function_of_the_users_code():
    subject = open_subject("small_graphs:build", None)
    assert subject.shape == SHAPE
    assert subject.batch is None
    assert type(subject.module) is type(build())
