"""Which operands an ONNX operator multiplies: every form counts as the same net written plainly."""

from __future__ import annotations

import itertools
import logging
from math import prod
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static
from small_graphs import write
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from joulemark.backends.onnx_exporter import export
from joulemark.subjects.graph import record_graph
from joulemark.subjects.onnx_file import open_onnx
from joulemark.subjects.products import FORMS, Form, bits, einsum_macs, operands, recurrent_macs

SHAPE = (2, 7, 6)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, stride=2, padding=1, groups=2), nn.ReLU(), nn.Conv2d(6, 4, (3, 1)), nn.Flatten(),
        nn.Linear(24, 5),
    )  # fmt: skip


def images(rows: int = 3) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((rows, *SHAPE), dtype=np.float32)


def expected_macs() -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net()(torch.from_numpy(images(1)))
    return counter.get_total_flops() // 2


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "plain.onnx"
    path.write_bytes(export(net().eval(), (torch.zeros(2, *SHAPE),)))
    return path


class Rows(CalibrationDataReader):
    def __init__(self, name: str) -> None:
        self.rows = iter([{name: images(1)} for _ in range(3)])

    def get_next(self):
        return next(self.rows, None)


@pytest.mark.parametrize("how", ["operators", "pairs", "dynamic"])
def test_a_quantised_file_counts_as_the_plain_one_in_eight_bits(plain, how, tmp_path):
    path, logger = tmp_path / "int8.onnx", logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # the quantiser advises to prepare the model first
    try:
        if how == "dynamic":
            quantize_dynamic(plain, path)
        else:
            name = onnx.load(plain).graph.input[0].name
            form = {"operators": QuantFormat.QOperator, "pairs": QuantFormat.QDQ}[how]
            quantize_static(plain, path, Rows(name), quant_format=form)
    finally:
        logger.setLevel(level)
    work = record_graph(open_onnx(str(path), None).graph, images())
    assert not work.unknown
    assert work.macs_per_input == expected_macs()
    products = [one for one in work.operations if one.macs]
    assert [one.operator for one in products] == ["conv", "conv", "linear"]
    assert {(one.weight_bits, one.activation_bits) for one in products} == {(8, 8)}
    float_work = record_graph(plain.read_bytes(), images())
    for one, other in zip(products, [one for one in float_work.operations if one.macs], strict=True):
        assert (one.groups, one.stride, one.padding) == (other.groups, other.stride, other.padding)
        assert one.joint_density == pytest.approx(other.joint_density, abs=0.05)  # small numbers round to zero


def graph(nodes, constants, *, sizes=(4, 3), domain: str | None = None) -> bytes:
    """A graph of one float input x (rows, *sizes) and one output y."""
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *sizes])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(made, opset_imports=opsets, ir_version=9).SerializeToString()


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("turned", [False, True])
def test_a_fused_product_counts_as_the_product(turned):
    weight = floats(6, 3) if turned else floats(3, 6)
    node = helper.make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft", transB=int(turned))
    work = record_graph(graph([node], {"w": weight}, domain="com.microsoft"), floats(2, 4, 3))
    (operation,) = work.operations
    assert (operation.operator, work.macs_per_input) == ("linear", 4 * 3 * 6)
    assert operation.weight_shape == (6, 3)


def test_a_fused_convolution_counts_as_the_convolution():
    node = helper.make_node(
        "FusedConv", ["x", "w"], ["y"], domain="com.microsoft", activation="Relu", pads=[1, 1, 1, 1]
    )
    data = graph([node], {"w": floats(5, 2, 3, 3)}, sizes=SHAPE, domain="com.microsoft")
    assert record_graph(data, images()).macs_per_input == 5 * 7 * 6 * 18


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("both_ways", [False, True])
def test_a_recurrent_layer_counts_its_products_at_every_step(kind, both_ways):
    gates, hidden, steps, wide = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 5, 4, 3
    ways = 2 if both_ways else 1
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node(kind, ["t", "w", "r"], ["", "h"], hidden_size=hidden,
                         direction="bidirectional" if both_ways else "forward", name="layer"),
        helper.make_node("Transpose", ["h"], ["y"], perm=[1, 0, 2]),
    ]  # fmt: skip
    constants = {"w": floats(ways, gates * hidden, wide), "r": floats(ways, gates * hidden, hidden)}
    work = record_graph(graph(nodes, constants, sizes=(steps, wide)), floats(2, steps, wide))
    assert not work.unknown
    assert work.macs_per_input == ways * steps * gates * hidden * (wide + hidden)
    (layer,) = [one for one in work.operations if one.macs]
    assert (layer.layer, layer.operator) == ("layer", kind.lower())


def test_steps_that_a_sequence_does_not_have_are_not_counted():
    x, of_input, of_state = np.ones((6, 3, 4)), np.ones((1, 20, 4)), np.ones((1, 20, 5))
    assert recurrent_macs(x, of_input, of_state, None) == 18 * 20 * 9
    assert recurrent_macs(x, of_input, of_state, np.array([6, 1, 3], np.int32)) == 10 * 20 * 9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True), st.data())
def test_an_einsum_of_two_multiplies_every_pair_that_is_summed(letters, data):
    sizes = dict(zip("abcdef", (2, 3, 4, 5, 1, 2), strict=True))
    other = data.draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True))
    union = sorted({*letters, *other})
    kept = data.draw(st.lists(st.sampled_from(union), max_size=len(union), unique=True))
    arrays = [np.ones([sizes[letter] for letter in word]) for word in (letters, other)]
    equation = f"{''.join(letters)},{''.join(other)}->{''.join(kept)}"
    pairs = np.einsum(f"{''.join(letters)},{''.join(other)}->{''.join(union)}", *arrays).size
    assert einsum_macs(equation, arrays) == (pairs if len(kept) < len(union) else 0)


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("ij,jk", [(2, 3), (3, 4)], 24),  # what stands once is kept
        ("ii", [(3, 3)], 0),
        ("...ij,...jk->...ik", [(5, 2, 3), (5, 3, 4)], 5 * 24),
        ("...ij,jk->...ik", [(5, 6, 2, 3), (3, 4)], 30 * 24),
        ("i...,i...->...", [(3, 7), (3, 7)], 21),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], 2 * 3 * 4 + 2 * 4 * 5),
        ("bi, oi -> bo", [(2, 3), (4, 3)], 24),
    ],
)
def test_an_einsum_by_hand(equation, shapes, macs):
    assert einsum_macs(equation, [np.ones(shape) for shape in shapes]) == macs


def test_an_einsum_in_a_graph_is_counted():
    node = helper.make_node("Einsum", ["x", "w"], ["y"], equation="nij,jk->nik")
    work = record_graph(graph([node], {"w": floats(3, 6)}), floats(2, 4, 3))
    assert work.macs_per_input == 4 * 3 * 6


def test_zeros_of_integers_are_where_their_zero_stands():
    x, weight = np.array([[3, 4]], np.uint8), np.array([[7, 0], [1, 7]], np.int8)
    both = operands(FORMS["MatMulInteger"], [x, weight, np.array(3, np.uint8), np.array([7, 7], np.int8)])
    assert (both.x == 0).tolist() == [[True, False]]
    assert (both.weight == 0).tolist() == [[True, False], [False, True]]
    filters = operands(Form("conv", zeros=(None, 2)), [x, np.array([[[5]], [[9]]], np.int8), np.array([5, 0], np.int8)])
    assert (filters.weight == 0).ravel().tolist() == [True, False]
    assert (both.x_bits, both.weight_bits) == (8, 8)


def test_an_operand_that_is_left_out_is_not_known():
    assert operands(FORMS["Gemm"], [np.ones((1, 2))]) is None
    assert operands(FORMS["QLinearConv"], [np.ones((1, 2)), None, None, None]) is None


@pytest.mark.parametrize(("kind", "expected"), [(np.float16, 16), (np.float32, 32), (np.int8, 8), (np.float64, 64)])
def test_bits_are_those_of_a_number(kind, expected):
    assert bits(np.ones(3, kind)) == expected


def test_half_precision_inside_a_graph_is_booked_as_it_is():
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["a", "w"], ["b"], name="half"),
        helper.make_node("Cast", ["b"], ["y"], to=TensorProto.FLOAT),
    ]
    work = record_graph(graph(nodes, {"w": floats(3, 6).astype(np.float16)}), floats(2, 4, 3))
    (half,) = [one for one in work.operations if one.macs]
    assert (half.weight_bits, half.activation_bits) == (16, 16)


def test_operators_that_a_file_defines_itself_are_what_they_are_made_of(tmp_path):
    function = helper.make_function(
        "mine", "Layer", ["a", "w"], ["b"],
        [helper.make_node("MatMul", ["a", "w"], ["c"]), helper.make_node("Relu", ["c"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    nodes = [
        helper.make_node("Layer", ["x", "w1"], ["h"], domain="mine"),
        helper.make_node("Layer", ["h", "w2"], ["y"], domain="mine"),
    ]
    model = onnx.load_from_string(graph(nodes, {"w1": floats(3, 6), "w2": floats(6, 2)}, domain="mine"))
    model.functions.append(function)
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    work = record_graph(open_onnx(str(path), (4, 3)).graph, floats(2, 4, 3))
    assert work.macs_per_input == 4 * 3 * 6 + 4 * 6 * 2
    assert not work.unknown


def test_an_operator_without_a_rule_leaves_the_macs_unknown_and_the_rest_known(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Det", ["a"], ["y"])]
    path = write(tmp_path / "m.onnx", nodes, inputs={"x": [None, 3, 3]}, outputs={"y": [None]},
                 constants=[numpy_helper.from_array(floats(3, 3), "w")])  # fmt: skip
    work = record_graph(Path(path).read_bytes(), floats(2, 3, 3))
    assert (work.macs_per_input, work.known_macs_per_input) == (None, 27)
    assert work.known_share == pytest.approx(9 / 10)


def test_every_form_names_two_different_places():
    for name, form in FORMS.items():
        places = [form.x, form.weight, *(place for place in form.zeros if place is not None)]
        assert len(set(places)) == len(places), name
        assert form.how in ("conv", "conv_transpose", "product")
    assert not {a for a, b in itertools.combinations(FORMS, 2) if a == b}
    assert prod(SHAPE) == 84


@pytest.mark.parametrize("turned", [False, True])
def test_a_zero_for_each_output_stands_along_the_outputs(turned):
    weight = np.arange(12, dtype=np.int8).reshape(3, 4) % 5  # (in, out), or as it is kept for transB (out, in)
    outputs = 3 if turned else 4
    zeros = np.arange(outputs, dtype=np.int8)
    inputs = [np.ones((2, 4 if turned else 3), np.uint8), None, None, weight, None, zeros]
    both = operands(FORMS["QGemm"], inputs, turned=turned)
    expected = weight == (zeros[:, None] if turned else zeros[None])
    assert ((both.weight == 0) == expected).all()


def test_integers_of_four_bits_have_four():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert [bits(np.ones(2, kind)) for kind in (ml_dtypes.int4, ml_dtypes.uint4, np.int8)] == [4, 4, 8]
