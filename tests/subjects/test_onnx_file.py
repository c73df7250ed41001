"""What an ONNX file tells of its input, its numbers and its precision, and one sentence for what cannot be used."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_graphs import relu, write

from joulemark.backends.onnx import session
from joulemark.subjects import onnx_file
from joulemark.subjects.graph import record_graph
from joulemark.subjects.onnx_file import QUANTISED, channels_last, open_onnx


def test_a_file_tells_shape_layout_and_batch(tmp_path):
    free = open_onnx(relu(tmp_path / "a.onnx", ["n", 3, 4, 5]), None)
    assert (free.shape, free.last, free.batch) == ((3, 4, 5), False, None)
    last = open_onnx(relu(tmp_path / "b.onnx", [2, 4, 5, 3]), None)
    assert (last.shape, last.last, last.batch) == ((3, 4, 5), True, 2)
    given = open_onnx(relu(tmp_path / "c.onnx", ["n", 3, "h", "w"]), (3, 8, 9))
    assert given.shape == (3, 8, 9)


def test_a_shape_is_given_channels_first_whatever_the_layout_of_the_file(tmp_path):
    last = open_onnx(relu(tmp_path / "a.onnx", ["n", "h", "w", 3]), (3, 8, 9))
    assert (last.shape, last.last) == ((3, 8, 9), True)
    rows = np.arange(2 * 3 * 8 * 9, dtype=np.float32).reshape(2, 3, 8, 9)
    assert last.rows(rows).shape == (2, 8, 9, 3)
    assert last.rows(rows)[1, 5, 7, 2] == rows[1, 2, 5, 7]


@pytest.mark.parametrize(
    ("dims", "shape", "last"),
    [
        (["n", 3, 4, 3], (3, 4, 3), False),  # either could be the channels: the first axis is the usual one
        (["n", 1, 5, 1], (1, 5, 1), False),
        (["n", 28, 28, 1], (1, 28, 28), True),
        (["n", 5, 4, 2], (5, 4, 2), False),
        (["n", 7, 3], (7, 3), False),
        (["n", 12], (12,), False),
    ],
)
def test_channels_stand_last_only_in_images_of_one_or_three(tmp_path, dims, shape, last):
    file = open_onnx(relu(tmp_path / "a.onnx", dims), None)
    assert (file.shape, file.last, file.batch) == (shape, last, None)
    rows = np.zeros((2, *shape), np.float32)
    assert (file.rows(rows) is rows) != last


def test_channels_last_is_contiguous_and_moves_every_number():
    images = np.random.default_rng(0).standard_normal((2, 3, 4, 5), dtype=np.float32)
    moved = channels_last(images)
    assert moved.flags.c_contiguous
    assert np.array_equal(moved.transpose(0, 3, 1, 2), images)


def test_its_numbers_are_counted_and_no_shape_among_them(tmp_path):
    constants = [
        numpy_helper.from_array(np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]], np.float32), "w"),
        numpy_helper.from_array(np.array([0, 5, 0, 7], np.int8), "q"),
        numpy_helper.from_array(np.array([-1, 3], np.int64), "shape"),
    ]
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["y"])]
    path = write(tmp_path / "m.onnx", nodes, inputs={"x": ["n", 3]}, outputs={"y": ["n", 2]}, constants=constants)
    assert open_onnx(path, None).weights() == (6 + 4, 2 + 2)


def test_a_file_that_was_quantised_says_so(tmp_path):
    assert {"QuantizeLinear", "QLinearConv", "QGemm", "QLinearAdd"} <= QUANTISED
    assert open_onnx(relu(tmp_path / "a.onnx", ["n", 3]), None).precision == "fp32"
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "scale")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale"], ["y"]),
    ]
    path = write(tmp_path / "q.onnx", nodes, inputs={"x": ["n", 3]}, outputs={"y": ["n", 3]}, constants=[scale])
    assert open_onnx(path, None).precision == "int8"


def typed(path, kind: int) -> str:
    """A file that passes on numbers of another type."""
    ends = [helper.make_tensor_value_info(name, kind, ["n", 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "made", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return str(path)


@pytest.mark.parametrize(
    ("make", "shape", "sentence"),
    [
        (lambda p: str(p / "none.onnx"), None, r"^there is no file .*none\.onnx$"),
        (str, None, "^there is no file"),
        (lambda p: relu(p / "a.onnx", ["n", 3, "h", "w"]), None, r"leaves its input open, \[3, 'h', 'w'\]: .* --shape"),
        (lambda p: relu(p / "a.onnx", ["n", 3, "h", "w"]), (3, 8), "leaves its input open"),
        (lambda p: relu(p / "a.onnx", ["n", 3, 4, 4]), (3, 5, 4), r"--shape 3,5,4 does not fit .*takes \(3, 4, 4\)$"),
        (lambda p: relu(p / "a.onnx", ["n", "h", "w", 3]), (4, 8, 9), r"--shape 4,8,9 does not fit .*\(3, 8, 9\)$"),
        (lambda p: relu(p / "a.onnx", [3]), None, r"has shape \[3\]: the first axis must be the batch$"),
        (lambda p: relu(p / "a.onnx", ["n", 3], op="NoSuch"), None, "^ONNX Runtime cannot open"),
        (lambda p: typed(p / "a.onnx", TensorProto.DOUBLE), None, r"takes tensor\(double\): give .* float32$"),
        (lambda p: typed(p / "a.onnx", TensorProto.INT64), None, r"takes tensor\(int64\): give .* float32$"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path, make, shape, sentence):
    with pytest.raises(ValueError, match=sentence):
        open_onnx(make(tmp_path), shape)


@pytest.mark.parametrize("content", [b"", b"hello, this is no graph", bytes(range(256))])
def test_garbage_is_one_sentence(tmp_path, content):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.onnx"):
        open_onnx(str(tmp_path / "a.onnx"), None)


def test_an_empty_file_is_called_empty(tmp_path):
    (tmp_path / "a.onnx").touch()
    with pytest.raises(ValueError, match=r"a\.onnx is empty$"):
        open_onnx(str(tmp_path / "a.onnx"), None)


def test_weights_in_a_file_beside_it_are_read_and_missed_if_they_are_gone(tmp_path):
    weight = numpy_helper.from_array(np.ones((3, 500), np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = write(tmp_path / "m.onnx", [node], inputs={"x": ["n", 3]}, outputs={"y": ["n", 500]}, constants=[weight])
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="beside.bin", size_threshold=0)
    assert open_onnx(path, None).weights() == (1500, 1500)
    (tmp_path / "beside.bin").unlink()
    with pytest.raises(ValueError, match=r"m\.onnx is not an ONNX file that can be read"):
        open_onnx(path, None)


def test_what_no_protobuf_message_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "LARGEST_BYTES", 10)
    with pytest.raises(ValueError, match=r"a\.onnx with its weights is larger than 2 GB$"):
        open_onnx(relu(tmp_path / "a.onnx", ["n", 3]), None)


def test_several_inputs_are_refused(tmp_path):
    node = helper.make_node("Add", ["a", "b"], ["y"])
    path = write(tmp_path / "m.onnx", [node], inputs={"a": [1, 2], "b": [1, 2]}, outputs={"y": [1, 2]})
    with pytest.raises(ValueError, match=r"has 2 inputs \(a, b\): give a net of exactly one"):
        open_onnx(path, None)


WEIGHT = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]], np.float32)


def sparse(name: str, *, flat: bool) -> onnx.SparseTensorProto:
    """The weight in the two forms that ONNX allows: a place as one number, or as one an axis."""
    places = np.flatnonzero(WEIGHT) if flat else np.argwhere(WEIGHT)
    values = numpy_helper.from_array(WEIGHT[WEIGHT != 0], name)
    return helper.make_sparse_tensor(values, numpy_helper.from_array(places.astype(np.int64), "places"), WEIGHT.shape)


def product(*before, constants=(), sparse_constants=()) -> bytes:
    """y = x w, with w from wherever it is given."""
    nodes = [*before, helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], list(constants),
        sparse_initializer=list(sparse_constants),
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


@pytest.mark.parametrize(
    "data",
    [
        product(constants=[numpy_helper.from_array(WEIGHT, "w")]),
        product(sparse_constants=[sparse("w", flat=True)]),
        product(sparse_constants=[sparse("w", flat=False)]),
        product(helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(WEIGHT, "v"))),
        product(helper.make_node("Constant", [], ["w"], sparse_value=sparse("v", flat=True))),
        product(
            helper.make_node("Constant", [], ["f"], value_floats=WEIGHT.ravel().tolist()),
            helper.make_node("Constant", [], ["s"], value_ints=[2, 3]),
            helper.make_node("Reshape", ["f", "s"], ["w"]),
        ),
    ],
    ids=["dense", "sparse, one number", "sparse, one an axis", "constant", "sparse constant", "floats"],
)
def test_weights_count_the_same_wherever_a_file_keeps_them(tmp_path, data):
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    file = open_onnx(str(path), None)
    assert file.weights() == (6, 3)
    x = np.ones((4, 2), np.float32)
    assert np.array_equal(session(file.graph, 1).run(None, {"x": x})[0], x @ WEIGHT)
    assert record_graph(file.graph, x).macs_per_input == 6


def test_a_number_alone_in_a_constant_node_is_a_setting(tmp_path):
    nodes = [
        helper.make_node("Constant", [], ["low"], value=numpy_helper.from_array(np.array(0.5, np.float32), "v")),
        helper.make_node("Clip", ["x", "low"], ["y"]),
    ]
    path = write(tmp_path / "m.onnx", nodes, inputs={"x": ["n", 2]}, outputs={"y": ["n", 2]})
    assert open_onnx(path, None).weights() == (0, 0)


def test_weights_in_the_branches_of_a_graph_are_counted(tmp_path):
    def branch(name: str, array: np.ndarray) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node("Identity", [f"{name}_w"], [name])], name, [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, f"{name}_w")],
        )  # fmt: skip

    choice = helper.make_node(
        "If", ["yes"], ["w"], then_branch=branch("a", WEIGHT), else_branch=branch("b", np.ones((2, 3), np.float32))
    )
    yes = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True), "v"))
    path = tmp_path / "m.onnx"
    path.write_bytes(product(yes, choice))
    assert open_onnx(str(path), None).weights() == (12, 9)
