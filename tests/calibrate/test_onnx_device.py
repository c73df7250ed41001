"""Layers in ONNX Runtime: each graph of one node computes what PyTorch computes, and its copies take turns."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from small_layers import FLAT, IN_PLACES, PADDED, ROUNDED_UP, SMALL, UNKNOWN
from torch.nn import functional

from joulemark.calibrate import onnx_device
from joulemark.calibrate.onnx_device import OnnxDevice
from joulemark.calibrate.sampling import layer
from joulemark.calibrate.torch_device import TorchDevice
from joulemark.energy.features import TYPES
from joulemark.nets.net import Net

WEIGHTED = ("conv", "fc", "batch_norm")


@pytest.fixture
def opened(monkeypatch):
    """The graphs that sessions were opened on, and their threads."""
    seen, plain = [], onnx_device.session

    def session(graph: bytes, threads: int):
        seen.append((graph, threads))
        return plain(graph, threads)

    monkeypatch.setattr(onnx_device, "session", session)
    return seen


def output(runnable, turn: int = 0):
    """What a copy gives on the inputs it is bound to, in a run of its own."""
    one = runnable.sessions[turn]
    feed = {slot.name: value for slot, value in zip(one.get_inputs(), runnable.inputs, strict=True)}
    return one.run(None, feed)[0]


@pytest.mark.parametrize("one", [*SMALL.values(), ROUNDED_UP, IN_PLACES, *FLAT], ids=lambda one: one.type)
def test_a_layer_is_called_into_an_output_of_its_own_shape(one):
    runnable = OnnxDevice(1).layer(one, 2)
    before = runnable.inputs[0].copy()
    runnable.prepare()
    assert runnable.call() is None  # into an output of the layer's shape: another one would be refused
    assert runnable.turn == 1
    assert np.array_equal(runnable.inputs[0], before)
    (written,) = runnable.bindings[1].copy_outputs_to_cpu()
    assert written.shape == (one.batch, *one.output)
    np.testing.assert_array_equal(written, output(runnable, 1))


@pytest.mark.parametrize("kind", TYPES)
def test_layers_as_they_are_drawn_have_the_shape_they_say(kind):
    found = [one for index in range(200) if (one := layer(0, index)).type == kind]
    one = min(found, key=lambda one: (one.moved + one.weights, one.macs))
    runnable = OnnxDevice(1).layer(one, 1)
    runnable.prepare()
    runnable.call()
    assert runnable.bindings[0].copy_outputs_to_cpu()[0].shape == (one.batch, *one.output)


@pytest.mark.parametrize(
    "one",
    [*(one for kind, one in SMALL.items() if kind not in WEIGHTED), ROUNDED_UP, IN_PLACES, FLAT[0], FLAT[2]],
    ids=lambda one: one.type,
)
def test_what_has_no_weights_gives_what_pytorch_gives(one):
    ours, theirs = OnnxDevice(1).layer(one, 1), TorchDevice(1).layer(one, 1)
    with torch.inference_mode():
        expected = theirs.functions[0](*map(torch.from_numpy, ours.inputs)).numpy()
    np.testing.assert_allclose(output(ours), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", WEIGHTED)
def test_what_has_weights_gives_what_pytorch_gives_with_them(opened, kind):
    one = SMALL[kind]
    runnable = OnnxDevice(1).layer(one, 1)
    ((graph, _),) = opened
    weights = {
        value.name: torch.from_numpy(onnx.numpy_helper.to_array(value).copy())
        for value in onnx.load_from_string(graph).graph.initializer
    }
    x = torch.from_numpy(runnable.inputs[0])
    if kind == "conv":
        assert weights["w"].shape == (6, 2, 3, 2)  # of two groups, each sees half of the four channels
        expected = functional.conv2d(x, weights["w"], weights["b"], one.stride, one.padding, one.dilation, one.groups)
    elif kind == "fc":
        expected = x @ weights["w"].T + weights["b"]
    else:
        mean, scale = weights["mean"][:, None, None], weights["scale"] / (weights["var"] + 1e-5).sqrt()
        expected = (x - mean) * scale[:, None, None] + weights["bias"][:, None, None]
    np.testing.assert_allclose(output(runnable), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_padded_convolution_is_padded_on_all_sides(opened):
    runnable = OnnxDevice(1).layer(PADDED, 1)
    weight, bias = (torch.from_numpy(onnx.numpy_helper.to_array(value).copy()) for value in
                    onnx.load_from_string(opened[0][0]).graph.initializer)  # fmt: skip
    expected = functional.conv2d(torch.from_numpy(runnable.inputs[0]), weight, bias, padding=(1, 2))
    np.testing.assert_allclose(output(runnable), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_layer_is_one_node_on_the_threads_asked_for(opened):
    for one in SMALL.values():
        OnnxDevice(2).layer(one, 1)
    assert {threads for _, threads in opened} == {2}
    for graph, _ in opened:
        model = onnx.load_from_string(graph)
        onnx.checker.check_model(model, full_check=True)
        assert len(model.graph.node) == 1


def test_copies_have_weights_of_their_own_and_take_turns():
    runnable = OnnxDevice(1).layer(SMALL["fc"], 3)
    turns = []
    for _ in range(4):
        runnable.prepare()
        turns.append(runnable.turn)
    assert turns == [1, 2, 0, 1]
    outputs = [output(runnable, turn) for turn in range(3)]
    assert not any(np.array_equal(outputs[0], other) for other in outputs[1:])
    again = OnnxDevice(1).layer(SMALL["fc"], 3)
    assert np.array_equal(output(again, 2), outputs[2])  # the same at every calibration


def test_what_does_nothing_can_be_run_to_see_what_a_call_costs():
    device = OnnxDevice(1)
    assert (device.name, device.precision, device.free) == ("onnxruntime", "fp32", ("batch_norm", "relu"))
    runnable = device.layer(device.nothing, 1)
    with device.running():
        runnable.call()
    device.sync()
    assert np.array_equal(runnable.bindings[0].copy_outputs_to_cpu()[0], runnable.inputs[0])


def test_a_type_that_nobody_knows_cannot_be_run_alone():
    with pytest.raises(ValueError, match=r"^a layer of type 'cell' cannot be run alone in ONNX Runtime$"):
        OnnxDevice(1).layer(UNKNOWN, 1)


def test_a_net_runs_through_its_backend_and_is_ours():
    runnable = OnnxDevice(1).net("lenet", 3)
    before = runnable.images.copy()
    runnable.prepare()
    assert runnable.call() is None
    assert np.array_equal(runnable.images, before)
    module = Net.new("lenet", (1, 28, 28), seed=0).module()
    with torch.no_grad():
        expected = module(torch.from_numpy(before)).numpy()
    assert expected.shape == (3, 10)
    np.testing.assert_allclose(runnable.compiled.run(runnable.images), expected, rtol=1e-4, atol=1e-5)
