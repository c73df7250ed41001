"""Operators of ONNX files without weights, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_answers import agrees, noise, one_node, write_nodes

from joulemark.nets.from_onnx import module_from_onnx

SHAPE = (4, 6, 5)

ONE_INPUT = {
    "Relu": {}, "LeakyRelu": {"alpha": 0.3}, "Elu": {"alpha": 0.7}, "Celu": {"alpha": 2.0}, "Selu": {}, "Sigmoid": {},
    "HardSigmoid": {"alpha": 0.3, "beta": 0.4}, "HardSwish": {}, "Tanh": {}, "Erf": {}, "Softplus": {}, "Softsign": {},
    "Exp": {}, "Neg": {}, "Abs": {}, "Reciprocal": {}, "Mish": {}, "Identity": {}, "Dropout": {},
    "Softmax": {"axis": 1},
    "LogSoftmax": {}, "GlobalAveragePool": {}, "GlobalMaxPool": {}, "Cast": {"to": TensorProto.FLOAT},
    "LRN": {"size": 3, "alpha": 0.1, "beta": 0.6, "bias": 2.0}, "ReduceSum": {"keepdims": 0},
}  # fmt: skip


@pytest.mark.parametrize("kind", ONE_INPUT)
def test_operators_of_one_input(kind, tmp_path):
    settings = ONE_INPUT[kind]
    batches = (2,) if kind == "ReduceSum" else (1, 7)
    agrees(one_node(tmp_path / "o.onnx", kind, ["n", *SHAPE], settings=settings), SHAPE, batches)


@pytest.mark.parametrize(
    ("kind", "opset", "settings"),
    [
        ("HardSigmoid", 18, {"alpha": 1 / 6, "beta": 0.5}),
        ("Gelu", 20, {"approximate": "tanh"}),
        ("Gelu", 20, {}),
        ("Softmax", 11, {"axis": 1}),
        ("Softmax", 11, {"axis": 3}),
        ("Clip", 6, {"min": 0.0, "max": 0.5}),
        ("ReduceMean", 13, {"axes": [2, 3], "keepdims": 0}),
        ("ReduceMax", 13, {"axes": [-1]}),
    ],
)
def test_operators_by_version(kind, opset, settings, tmp_path):
    opset = max(opset, 7)
    agrees(one_node(tmp_path / "o.onnx", kind, ["n", *SHAPE], opset=opset, settings=settings), SHAPE)


@pytest.mark.parametrize("ends", [(0.0, 6.0), (None, 0.5), (0.0, None), (-0.5, 0.5)])
def test_clip(ends, tmp_path):
    low, high = (None if end is None else np.float32(end) for end in ends)
    agrees(one_node(tmp_path / "c.onnx", "Clip", ["n", *SHAPE], low=low, high=high), SHAPE)


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("other", [(), (4, 1, 1), (5,)])
def test_operators_of_two_inputs(kind, other, tmp_path):
    constant = noise(*other) if other else np.float32(0.7)
    module = agrees(one_node(tmp_path / "o.onnx", kind, ["n", *SHAPE], scale=constant), SHAPE)
    assert [name for name, _ in module.named_parameters()] == (["scale"] if other else [])


def test_power_and_root(tmp_path):
    nodes = [helper.make_node("Pow", ["x", "two"], ["p"]), helper.make_node("Sqrt", ["p"], ["y"])]
    agrees(write_nodes(tmp_path / "p.onnx", nodes, ["n", *SHAPE], two=np.float32(2)), SHAPE)


POOLS = [
    ((4, 9, 8), {"kernel_shape": [3, 2], "strides": [2, 2]}),
    ((4, 9, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ((4, 9, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 1, 2, 0]}),
    ((4, 10, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ((4, 10, 9), {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((4, 12), {"kernel_shape": [3], "strides": [3]}),
    ((2, 6, 6, 4), {"kernel_shape": [2, 3, 2]}),
]


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(("shape", "settings"), POOLS)
def test_pooling(kind, shape, settings, tmp_path):
    agrees(one_node(tmp_path / "p.onnx", kind, ["n", *shape], settings=settings), shape)


@pytest.mark.parametrize("pads", [[1, 1, 1, 1], [0, 1, 2, 0]])
def test_average_that_counts_what_is_padded(pads, tmp_path):
    settings = {"kernel_shape": [3, 3], "pads": pads, "count_include_pad": 1}
    agrees(one_node(tmp_path / "p.onnx", "AveragePool", ["n", 4, 7, 7], settings=settings), (4, 7, 7))


def test_dilated_max_pool(tmp_path):
    settings = {"kernel_shape": [2, 2], "dilations": [2, 3]}
    agrees(one_node(tmp_path / "p.onnx", "MaxPool", ["n", 4, 9, 9], settings=settings), (4, 9, 9))


@pytest.mark.parametrize(
    ("kind", "settings", "sentence"),
    [
        ("Cast", {"to": TensorProto.DOUBLE}, "Cast .* casts to another kind of number"),
        ("LRN", {"size": 2}, "LRN .* is over an even number of channels"),
        ("AveragePool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, "AveragePool .* leaves gaps in its window"),
    ],
)
def test_refusals(kind, settings, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        module_from_onnx(one_node(tmp_path / "r.onnx", kind, ["n", *SHAPE], opset=19, settings=settings))


def test_pooling_whose_places_are_read_is_refused(tmp_path):
    node = helper.make_node("MaxPool", ["x"], ["y", "places"], kernel_shape=[2, 2])
    with pytest.raises(ValueError, match="puts out where it found the maxima"):
        module_from_onnx(write_nodes(tmp_path / "r.onnx", [node], ["n", *SHAPE]))
