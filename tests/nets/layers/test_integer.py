"""Layers in integers: bits below eight, gradients straight through, one form to train and one to run."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from joulemark.backends.eager import Eager
from joulemark.backends.onnx import OnnxRuntime
from joulemark.nets.formats import apply_formats
from joulemark.nets.header import Format
from joulemark.nets.layers.integer import IntegerLayer, TrainedIntegerLayer, needs, weight_scale
from joulemark.nets.net import Net

SHAPE = (1, 28, 28)


def form(weights: int = 8, activations: int = 8, low: float = -3.0, high: float = 3.0) -> Format:
    return Format(weight_bits=weights, activation_bits=activations, low=low, high=high)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 8), st.integers(2, 8), st.floats(-4, 0), st.floats(0.1, 4), st.integers(0, 9))
def test_no_more_values_than_the_bits_hold(weights, activations, low, high, seed):
    torch.manual_seed(seed)
    layer = IntegerLayer(nn.Linear(50, 1, bias=False), form(weights, activations, low, high))
    seen = layer._activation(torch.linspace(2 * low - 1, 2 * high + 1, 5000), "input")
    rounded = layer._rounded(layer.weight.detach(), layer.weight_scale, layer.weight_zero, 0)
    assert len(seen.unique()) <= 2**activations
    assert len(rounded.unique()) <= 2**weights - 1
    step = (high - low) / (2**activations - 1)
    assert low - step <= float(seen.min()) and float(seen.max()) <= high + step
    assert (rounded - layer.weight).abs().max() <= layer.weight.abs().max() / (2 ** (weights - 1) - 1) / 2 + 1e-6


@pytest.mark.parametrize("made", [nn.Conv2d(2, 3, 3), nn.Conv1d(2, 3, 3), nn.Linear(6, 3, bias=False)])
def test_both_forms_compute_the_same_and_keep_every_name(made):
    x = torch.randn(4, 2, 8, 8) if isinstance(made, nn.Conv2d) else torch.randn(4, 2, 6)
    trained, deployed = TrainedIntegerLayer(made, form()), IntegerLayer(made, form())
    torch.testing.assert_close(trained(x), deployed(x), rtol=0, atol=1e-5)
    for layer in (trained, deployed):
        assert set(layer.state_dict()) == set(made.state_dict())
        assert layer.weight is made.weight
        assert getattr(layer, "in_channels", None) == getattr(made, "in_channels", None)


def test_gradients_pass_the_rounding_as_if_it_were_not_there():
    """Against autograd of the float layer on the rounded operands; outside of the range there is none."""
    torch.manual_seed(0)
    linear, x = nn.Linear(5, 4), torch.randn(30, 5)
    x[0] = 99.0
    x.requires_grad_()
    layer = TrainedIntegerLayer(linear, form(4, 4))
    layer(x).square().sum().backward()
    found, of_x = linear.weight.grad.clone(), x.grad.clone()

    rounded_x = layer._activation(x.detach(), "input").requires_grad_()
    rounded_w = layer._rounded(linear.weight.detach(), layer.weight_scale, layer.weight_zero, 0).requires_grad_()
    nn.functional.linear(rounded_x, rounded_w, linear.bias).square().sum().backward()
    torch.testing.assert_close(found, rounded_w.grad)
    inside = (x.detach() >= -3) & (x.detach() <= 3)
    torch.testing.assert_close(of_x[inside], rounded_x.grad[inside])
    assert not of_x[0].any()


def test_training_follows_the_weights():
    linear = nn.Linear(4, 2)
    layer = TrainedIntegerLayer(linear, form())
    layer(torch.zeros(1, 4))
    with torch.no_grad():
        linear.weight.mul_(10)
    layer(torch.zeros(1, 4))
    torch.testing.assert_close(layer.weight_scale, linear.weight.abs().amax(1) / 127)


def test_a_net_trains_through_its_formats_and_deploys_what_it_learned():
    torch.manual_seed(0)
    net = Net.new("lenet", SHAPE, seed=0, width=0.2)
    net = net.replace(formats={"stage1.conv": form(3, 4), "classifier.output": form(3, 4, 0.0, 6.0)})
    x, module = torch.randn(8, *SHAPE), net.module(training=True)
    assert isinstance(module.get_submodule("stage1.conv"), TrainedIntegerLayer)
    before = module.get_submodule("stage1.conv").weight.detach().clone()
    optimiser = torch.optim.SGD(module.parameters(), 0.1)
    nn.functional.cross_entropy(module(x), torch.arange(8)).backward()
    optimiser.step()
    after = net.with_state(module)
    assert not torch.equal(after.state["stage1.conv.weight"], before)
    assert after.formats == net.formats
    torch.testing.assert_close(after.module()(x), module.eval()(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("weights", "activations", "word"), [(8, 8, "int8"), (4, 4, "int4"), (4, 8, "w4a8")])
def test_only_eight_bits_are_real_in_onnx_runtime(weights, activations, word):
    net = Net.new("lenet", SHAPE, seed=0, width=0.2).replace(formats={"stage1.conv": form(weights, activations)})
    assert needs(form(weights, activations)) == word
    assert net.needs() == {word}
    reason = OnnxRuntime().simulated(net)
    assert (reason is None) == (word == "int8")
    assert reason is None or reason == f"ONNX Runtime has no kernel for {word}: what that saves is simulated"
    assert Eager().simulated(net) is not None


@pytest.mark.parametrize("bits", [2, 4, 7])
def test_fewer_bits_run_in_onnx_runtime_as_in_eager(bits):
    torch.manual_seed(0)
    net = Net.new("lenet", SHAPE, seed=0, width=0.2)
    net = net.replace(formats={"stage2.conv": form(bits, bits, 0.0, 2.0)})
    x = torch.randn(16, *SHAPE).numpy()
    compiled, eager = (one.compile(net, threads=1).run(x) for one in (OnnxRuntime(), Eager()))
    assert abs(compiled - eager).max() < 0.05 * abs(eager).max()


def test_one_bit_is_no_integer():
    with pytest.raises(ValueError, match="integers have 2 to 8 bits, and its weights have 1"):
        apply_formats(nn.Sequential(nn.Linear(2, 2)), {"0": form(1, 8)})


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(0, 1024, width=32), min_size=1, max_size=6),
    st.floats(-(2**20), 2**20, width=32),
    st.floats(2**-20, 2**10, width=32),
    st.integers(2, 8),
)
def test_every_bias_fits_the_integers_of_its_filter(largest, bias, input_scale, bits):
    weight = torch.tensor(largest)[:, None] * torch.tensor([1.0, -0.5])
    scale = weight_scale(weight, torch.full((len(largest),), bias), torch.tensor(input_scale), form(bits))
    products = 33_000 * 127 * 255  # of the largest filter that leaves room for a bias
    assert (abs(bias) / (scale.double() * input_scale) * (1 - 1e-6) + products < 2**31).all()
    plain = weight_scale(weight, None, torch.tensor(input_scale), form(bits))
    assert (scale >= plain).all()
    wide_enough = abs(bias) / (plain.double() * input_scale) < 2**29
    assert torch.equal(scale[wide_enough], plain[wide_enough])
