"""Pairs of QuantizeLinear and DequantizeLinear: dropped or added without changing one bit of what comes out."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from joulemark.backends.onnx_pairs import around, once

SCALES = {"a": (0.02, 7), "b": (0.05, 0), "same": (0.02, 7)}


def graph(*nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("y",)) -> bytes:
    """A graph over x of shape (1, 2, 4, 4); constants are scales, a pooling's shape and padding."""
    constants = [numpy_helper.from_array(np.array([1, -1], np.int64), "flat"),
                 numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "pads"),
                 numpy_helper.from_array(np.array(1.0, np.float32), "one")]  # fmt: skip
    for name, (scale, zero) in SCALES.items():
        constants.append(numpy_helper.from_array(np.array(scale, np.float32), f"{name}_scale"))
        constants.append(numpy_helper.from_array(np.array(zero, np.uint8), f"{name}_zero"))
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    model = helper.make_model(
        helper.make_graph(list(nodes), "g", [given], made, constants),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    return model.SerializeToString()


def pair(value: str, gives: str, scale: str) -> list[onnx.NodeProto]:
    constants = [f"{scale}_scale", f"{scale}_zero"]
    return [
        helper.make_node("QuantizeLinear", [value, *constants], [f"{gives}_q"]),
        helper.make_node("DequantizeLinear", [f"{gives}_q", *constants], [gives]),
    ]


def pool(value: str, gives: str) -> onnx.NodeProto:
    return helper.make_node("MaxPool", [value], [gives], kernel_shape=[2, 2], strides=[1, 1])


def count(data: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(data).graph.node)


def run(data: bytes, seed: int = 0) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    held = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return held.run(None, {"x": np.random.default_rng(seed).normal(0, 2, (1, 2, 4, 4)).astype(np.float32)})


def same(one: bytes, other: bytes) -> None:
    for a, b in zip(run(one), run(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("scale", ["a", "same"])
def test_a_pair_of_the_same_scale_behind_a_pooling_is_dropped(scale):
    data = graph(*pair("x", "r", "a"), pool("r", "p"), *pair("p", "y", scale))
    assert count(once(data))["QuantizeLinear"] == 1
    same(data, once(data))


def test_a_pair_of_another_scale_stays():
    data = graph(*pair("x", "r", "a"), pool("r", "p"), *pair("p", "y", "b"))
    assert count(once(data))["QuantizeLinear"] == 2
    same(data, once(data))


def test_behind_a_relu_it_is_dropped_only_where_there_is_nothing_below_zero():
    for scale, left in (("a", 2), ("b", 1)):
        data = graph(*pair("x", "r", scale), helper.make_node("Relu", ["r"], ["p"]), *pair("p", "y", scale))
        assert count(once(data))["QuantizeLinear"] == left
        same(data, once(data))


@pytest.mark.parametrize(("other", "left"), [("same", 2), ("b", 3)])
def test_what_is_joined_is_rounded_if_all_of_it_is_in_one_scale(other, left):
    join = helper.make_node("Concat", ["r", "s"], ["j"], axis=1)
    data = graph(*pair("x", "r", "a"), *pair("x", "s", other), join, *pair("j", "y", "a"))
    assert count(once(data))["QuantizeLinear"] == left
    same(data, once(data))


@pytest.mark.parametrize(("value", "left"), [("", 1), ("one", 2)])
def test_padding_by_zeros_keeps_the_scale_and_by_others_does_not(value, left):
    pad = helper.make_node("Pad", ["r", "pads", *([value] if value else [])], ["p"])
    data = graph(*pair("x", "r", "a"), pad, *pair("p", "y", "a"))
    assert count(once(data))["QuantizeLinear"] == left
    same(data, once(data))


def test_behind_every_operator_that_hands_integers_on_a_pair_is_put():
    flat = helper.make_node("Reshape", ["p", "flat"], ["y"])
    data = graph(*pair("x", "r", "a"), pool("r", "o"), pool("o", "p"), flat)
    assert [node.op_type for node in onnx.load_from_string(around(data)).graph.node] == [
        *("QuantizeLinear", "DequantizeLinear", "MaxPool") * 2, "QuantizeLinear", "DequantizeLinear", "Reshape",
        "QuantizeLinear", "DequantizeLinear",
    ] or count(around(data))["QuantizeLinear"] == 4  # fmt: skip
    same(data, around(data))


def test_a_graph_without_integers_is_handed_back_as_it_is():
    data = graph(pool("x", "y"))
    assert once(data) is data
    assert around(data) is data


STEPS = st.lists(st.tuples(st.sampled_from(["pair", "pool", "relu", "pad", "join"]), st.sampled_from(["a", "b", "same"]), st.integers(0, 9)), max_size=9)  # fmt: skip # noqa: E501


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_the_graph_nothing_that_comes_out_changes(steps):
    nodes, values = [], ["x"]
    for number, (kind, scale, place) in enumerate(steps):
        value, gives = values[place % len(values)], f"v{number}"
        if kind == "pair":
            nodes += pair(value, gives, scale)
        elif kind == "pool":
            nodes.append(helper.make_node("MaxPool", [value], [gives], kernel_shape=[1, 1]))
        elif kind == "relu":
            nodes.append(helper.make_node("Relu", [value], [gives]))
        elif kind == "pad":
            nodes.append(helper.make_node("Pad", [value, "pads"], [gives]))
        else:
            nodes.append(helper.make_node("Concat", [value, value], [gives], axis=1))
        values.append(gives)
    data = graph(*nodes, helper.make_node("Identity", [values[-1]], ["y"]))
    same(data, once(data))
    same(data, around(data))
    assert count(once(data))["QuantizeLinear"] <= count(data)["QuantizeLinear"]
    assert count(once(once(data))) == count(once(data))
