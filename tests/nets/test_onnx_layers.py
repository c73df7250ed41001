"""Layers of ONNX files against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx_answers import agrees, noise, one_node, write_nodes
from torch import nn

from joulemark.nets.from_onnx import module_from_onnx

CONVOLUTIONS = {
    "plain": ((3, 9, 8), (4, 3, 3, 3), {}),
    "signal": ((3, 20), (4, 3, 5), {"strides": [2], "pads": [2, 2]}),
    "volume": ((2, 6, 5, 4), (4, 2, 2, 3, 1), {"pads": [1, 0, 0, 1, 0, 0]}),
    "grouped": ((4, 9, 9), (6, 2, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
    "dilated": ((3, 12, 12), (4, 3, 3, 3), {"dilations": [2, 3]}),
    "uneven": ((3, 9, 8), (4, 3, 3, 3), {"pads": [0, 1, 2, 0], "strides": [2, 1]}),
    "same": ((3, 10, 9), (4, 3, 3, 2), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same below": ((3, 10, 9), (4, 3, 4, 2), {"auto_pad": "SAME_LOWER"}),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution(case, tmp_path):
    shape, weight, settings = CONVOLUTIONS[case]
    constants = {"stem.conv.weight": noise(*weight), "stem.conv.bias": noise(weight[0])}
    file = one_node(tmp_path / "c.onnx", "Conv", ["n", *shape], settings=settings, **constants)
    module = agrees(file, shape)
    assert type(module.get_submodule("stem.conv")) is {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(shape) - 1]
    assert sorted(module.state_dict()) == ["stem.conv.bias", "stem.conv.weight"]


@pytest.mark.parametrize(
    "settings",
    [
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
        {"strides": [2, 1], "pads": [0, 1, 1, 0]},
        {"group": 2, "dilations": [2, 1]},
    ],
)
def test_transposed_convolution(settings, tmp_path):
    groups = settings.get("group", 1)
    weights = {"up.weight": noise(4, 6 // groups, 3, 3), "up.bias": noise(6)}
    file = one_node(tmp_path / "t.onnx", "ConvTranspose", ["n", 4, 5, 6], settings=settings, **weights)
    assert isinstance(agrees(file, (4, 5, 6)).up, nn.ConvTranspose2d)


@pytest.mark.parametrize("turned", [0, 1])
def test_gemm(turned, tmp_path):
    weight = noise(5, 8) if turned else noise(8, 5)
    settings = {"transB": turned, "alpha": 0.5, "beta": 2.0}
    file = one_node(tmp_path / "g.onnx", "Gemm", ["n", 8], settings=settings, **{"f.weight": weight, "b": noise(1, 5)})
    assert isinstance(agrees(file, (8,)).f, nn.Linear)


def test_a_product_and_its_bias_are_one_layer(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["head.bias", "p"], ["y"])]
    file = write_nodes(tmp_path / "m.onnx", nodes, ["n", 4, 6], w=noise(6, 3), **{"head.bias": noise(3)})
    assert isinstance(agrees(file, (4, 6)).head, nn.Linear)


def test_a_product_that_others_read_too_keeps_its_bias_apart(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["q"]),
        helper.make_node("Mul", ["p", "q"], ["y"]),
    ]
    agrees(write_nodes(tmp_path / "m.onnx", nodes, ["n", 6], w=noise(6, 3), b=noise(3)), (6,))


def test_a_product_of_two_computed_tensors(tmp_path):
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("MatMul", ["x", "r"], ["y"])]
    agrees(write_nodes(tmp_path / "m.onnx", nodes, ["n", 5, 5]), (5, 5))


@pytest.mark.parametrize("shape", [(4,), (4, 9), (4, 6, 5), (4, 3, 4, 2)])
def test_batch_norm(shape, tmp_path):
    statistics = {"n.weight": noise(4), "n.bias": noise(4) + 1, "m": noise(4) - 1, "v": np.abs(noise(4)) + 0.1}
    settings = {"epsilon": 1e-3, "momentum": 0.8}
    file = one_node(tmp_path / "b.onnx", "BatchNormalization", ["n", *shape], settings=settings, **statistics)
    module = agrees(file, shape)
    assert isinstance(module.n, nn.modules.batchnorm._BatchNorm)
    assert module.n.momentum == pytest.approx(0.2)


@pytest.mark.parametrize("opset", [18, 21])
def test_group_norm(opset, tmp_path):
    size = 2 if opset == 18 else 6
    weights = {"g.weight": noise(size), "g.bias": noise(size) + 1}
    file = one_node(
        tmp_path / "g.onnx", "GroupNormalization", ["n", 6, 4, 4], opset=opset, settings={"num_groups": 2}, **weights
    )
    assert isinstance(agrees(file, (6, 4, 4)).g, nn.GroupNorm)


def test_other_norms(tmp_path):
    weights = {"g.weight": noise(5), "g.bias": noise(5) + 1}
    file = one_node(tmp_path / "i.onnx", "InstanceNormalization", ["n", 5, 4, 4], **weights)
    assert isinstance(agrees(file, (5, 4, 4)).g, nn.InstanceNorm2d)
    file = one_node(tmp_path / "l.onnx", "LayerNormalization", ["n", 3, 5], **weights)
    assert isinstance(agrees(file, (3, 5)).g, nn.LayerNorm)


@pytest.mark.parametrize(("slope", "layer"), [((4, 1, 1), True), ((1,), True), ((4, 3, 5), False)])
def test_prelu(slope, layer, tmp_path):
    file = one_node(tmp_path / "p.onnx", "PRelu", ["n", 4, 3, 5], **{"act.weight": noise(*slope)})
    module = agrees(file, (4, 3, 5))
    assert any(isinstance(one, nn.PReLU) for one in module.modules()) == layer


def test_a_layer_used_twice_is_one_layer(tmp_path):
    nodes = [helper.make_node("Conv", ["x", "w.weight"], ["a"]), helper.make_node("Conv", ["a", "w.weight"], ["y"])]
    module = agrees(
        write_nodes(tmp_path / "w.onnx", nodes, ["n", 3, 9, 9], **{"w.weight": noise(3, 3, 3, 3)}), (3, 9, 9)
    )
    assert len([one for one in module.modules() if isinstance(one, nn.Conv2d)]) == 1


@pytest.mark.parametrize(
    ("kind", "settings", "sentence"),
    [
        ("ConvTranspose", {"output_shape": [9, 9]}, "states its output shape"),
        ("BatchNormalization", {"training_mode": 1}, r"export the net after net.eval\(\)"),
    ],
)
def test_refusals(kind, settings, sentence, tmp_path):
    ones = np.ones(3)
    weights = {"w": noise(3, 3, 3, 3)} if kind == "ConvTranspose" else {"s": ones, "b": ones, "m": ones, "v": ones}
    file = one_node(tmp_path / "r.onnx", kind, ["n", 3, 5, 5], settings=settings, **weights)
    with pytest.raises(ValueError, match=sentence):
        module_from_onnx(file)


def test_weights_that_are_computed_are_refused(tmp_path):
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Conv", ["x", "r"], ["y"], name="c")]
    with pytest.raises(ValueError, match=r"r.onnx: Conv \(node c\) computes its input 'r', which must be a constant"):
        module_from_onnx(write_nodes(tmp_path / "r.onnx", nodes, ["n", 3, 5, 5]))
