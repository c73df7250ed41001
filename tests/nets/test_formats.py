"""Number formats: really eight bits, errors within half a step, refusals."""

from __future__ import annotations

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from joulemark.nets.formats import apply_formats
from joulemark.nets.header import Format
from joulemark.nets.layers import integer
from joulemark.nets.layers.integer import IntegerLayer
from joulemark.nets.layers.quantize import quantize_dequantize
from joulemark.nets.net import Net


def int8(low: float = -1.0, high: float = 1.0) -> Format:
    return Format(weight_bits=8, activation_bits=8, low=low, high=high)


def layer(seed: int = 0) -> nn.Conv2d:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Conv2d(3, 4, 3, stride=2, padding=1)


def operands(quantised: IntegerLayer, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    seen = quantize_dequantize(x, quantised.input_scale, quantised.input_zero, 0)
    return seen, quantize_dequantize(quantised.weight, quantised.weight_scale, quantised.weight_zero, 0)


@settings(max_examples=40, deadline=None)
@given(st.floats(-5, 5), st.floats(0, 5), st.integers(0, 9))
def test_operands_are_eight_bit_and_within_half_a_step(low, width, seed):
    high = low + width
    quantised = IntegerLayer(layer(seed), int8(low, high))
    x = torch.linspace(min(low, 0.0), max(high, 0.0), 3000)
    seen, weight = operands(quantised, x.detach())
    assert len(seen.unique()) <= 256
    step = (max(high, 0.0) - min(low, 0.0)) / 255
    # The zero point is rounded to an integer, so the range shifts by up to half a step: one step at its ends.
    assert (seen - x).abs().max() <= step * (1 + 1e-3) + 1e-12
    inner = (x - x.min() > step) & (x.max() - x > step)
    assert (seen - x)[inner].abs().sum() == 0 or (seen - x)[inner].abs().max() <= step / 2 * (1 + 1e-3) + 1e-12
    own = quantised.weight
    for channel in range(4):
        assert len(weight[channel].unique()) <= 255
        # Beside a bias that dwarfs the products, as of inputs in a tiny range, weights may be coarser.
        coarse = float(quantised.bias[channel].detach().abs()) / (integer.LARGEST_BIAS * float(quantised.input_scale))
        step = max(float(own[channel].detach().abs().max()) / 127, coarse)
        assert (weight - own)[channel].abs().max() <= step / 2 * (1 + 1e-4)


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_zero_is_exact(low, high):
    seen, _ = operands(IntegerLayer(nn.Linear(2, 2), int8(*sorted([low, high]))), torch.zeros(3))
    assert not seen.any()


def test_scales_by_hand():
    linear = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.27, -0.5], [0.254, 0.1]]))
    quantised = IntegerLayer(linear, int8(-0.51, 2.04))
    assert quantised.weight_scale.tolist() == pytest.approx([0.01, 0.002])
    assert quantised.input_scale.item() == pytest.approx(0.01)
    assert quantised.input_zero.item() == 51
    # 0.304 -> 0.30, 9 -> saturates at 204 steps = 2.04; weights are whole steps already.
    assert quantised(torch.tensor([[0.304, 9.0]]))[0].tolist() == pytest.approx(
        [0.30 * 1.27 - 2.04 * 0.5, 0.30 * 0.254 + 2.04 * 0.1], abs=1e-5
    )


def test_extremes_do_not_wrap():
    quantised = IntegerLayer(nn.Linear(2, 2), int8(-1.0, 1.0))
    seen, _ = operands(quantised, torch.tensor([-1e9, 1e9]))
    assert seen[0] < -0.99
    assert seen[1] > 0.99
    only_negative = IntegerLayer(nn.Linear(2, 2), int8(-3.0, -1.0))
    assert only_negative.input_zero == 255


def test_a_dead_layer_is_quantised_to_zero():
    linear = nn.Linear(3, 2, bias=False)
    nn.init.zeros_(linear.weight)
    assert not IntegerLayer(linear, int8(0.0, 0.0))(torch.zeros(1, 3)).any()


@pytest.mark.parametrize(
    "made",
    [layer(), nn.Conv2d(4, 8, 3, groups=2, dilation=2), nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")],
    ids=["strided", "grouped", "reflecting"],
)
def test_the_quantised_convolution_is_the_convolution_of_quantised_operands(made):
    x = torch.randn(2, made.in_channels, 9, 9).clamp(-3, 3)
    quantised = IntegerLayer(made, int8(-3.0, 3.0))
    seen, weight = operands(quantised, x)
    expected = made._conv_forward(seen, weight, made.bias)
    torch.testing.assert_close(quantised(x), expected)
    assert (quantised(x) - made(x)).abs().max() < 0.1


def test_formats_replace_named_layers_only():
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 3)), nn.Linear(3, 2))
    inner = net[0][0]
    apply_formats(net, {"0.0": int8()})
    assert isinstance(net[0][0], IntegerLayer)
    assert net[0][0].weight is inner.weight
    assert net[0][0].in_features == 2
    assert set(net.state_dict()) == {"0.0.weight", "0.0.bias", "1.weight", "1.bias"}
    assert type(net[1]) is nn.Linear


@pytest.mark.parametrize(
    ("path", "form", "why"),
    [
        ("0", Format(weight_bits=9, activation_bits=8), "integers have 2 to 8 bits, and its weights have 9"),
        ("0", Format(weight_bits=1, activation_bits=8), "integers have 2 to 8 bits, and its weights have 1"),
        ("0", Format(weight_bits=8), "its activations have no format"),
        (
            "0",
            Format(kind="ints", weight_bits=8, activation_bits=8),
            "unknown kind of layer 'ints': did you mean",
        ),
        ("1", int8(), "layer '1' cannot have the format 'int': it is a ReLU; integers are for convolutions and linear"),
        ("7", int8(), "layer '7', which the net does not have"),
    ],
)
def test_formats_without_a_lowering_are_refused(path, form, why):
    with pytest.raises(ValueError, match=why):
        apply_formats(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), {path: form})


def test_outputs_become_integers_where_that_is_said():
    torch.manual_seed(0)
    linear, x = nn.Linear(3, 4), torch.randn(20, 3).clamp(-1, 1)
    ranged = Format(weight_bits=8, activation_bits=8, low=-1, high=1, output=(0.0, 0.51))
    with torch.no_grad():
        plain, rounded = (IntegerLayer(linear, form)(x) for form in (int8(), ranged))
    expected = (plain / 0.002).round().clamp(0, 255) * 0.002  # a range from 0 is a ReLU too
    torch.testing.assert_close(rounded, expected, rtol=0, atol=1e-6)
    assert float(plain.min()) < 0 == float(rounded.min())


def test_an_unset_output_is_not_written():
    """Nets saved before outputs had a range must keep their hash."""
    assert b"output" not in msgspec.json.encode(int8())
    ranged = Format(weight_bits=8, activation_bits=8, output=(-1.0, 2.0))
    assert msgspec.json.decode(msgspec.json.encode(ranged), type=Format) == ranged


@pytest.mark.parametrize("name", ["weight_bits", "activation_bits", "gradient_bits"])
@pytest.mark.parametrize("bits", [0, -8, 33, 2.5, True])
def test_bits_that_no_number_has_are_refused(name, bits):
    with pytest.raises(ValueError, match=f"^{name} are 1 to 32 or None, not "):
        Format(**{name: bits})


def test_gradient_bits_are_kept_and_change_no_output():
    net, x = Net.new("lenet", (1, 28, 28), seed=0, width=0.1), torch.randn(2, 1, 28, 28)
    forms = [Format(weight_bits=8, activation_bits=8, low=-3.0, high=3.0, gradient_bits=bits) for bits in (None, 8)]
    plain, reserved = (net.replace(formats={"stage1.conv": form}) for form in forms)
    assert Net.from_bytes(reserved.to_bytes()).formats["stage1.conv"].gradient_bits == 8
    assert torch.equal(reserved.module()(x), plain.module()(x))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"low": 5.0, "high": -5.0}, "its range of activations 5 to -5 is none"),
        ({"low": -1e308, "high": 1e308}, "or beyond 1e\\+30"),
        ({"output": (5.0, -5.0)}, "its range of activations 5 to -5 is none"),
        ({"options": {"colour": "red"}}, "integers take no options, and it has colour"),
    ],
)
def test_ranges_and_options_that_are_none_are_refused(changes, why):
    form = Format(weight_bits=8, activation_bits=8, **changes)
    with pytest.raises(ValueError, match=why):
        apply_formats(nn.Sequential(nn.Linear(2, 2)), {"0": form})


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 7), st.floats(0, 5), st.floats(0, 5))
def test_few_bits_have_few_levels_and_zero_is_one_of_them(bits, below, above):
    form = Format(weight_bits=bits, activation_bits=bits, low=-below, high=above, output=(-below, above))
    quantised = IntegerLayer(nn.Linear(4, 3), form)
    x = torch.linspace(-2 * below - 1, 2 * above + 1, 4001)
    for side in ("input", "output"):
        seen = quantised._activation(x, side)
        assert len(seen.unique()) <= 2**bits
        assert not quantised._activation(torch.zeros(1), side).any()
        step = (below + above) / (2**bits - 1)
        inner = (x > -below + step) & (x < above - step)
        assert not inner.any() or (seen - x)[inner].abs().max() <= step / 2 * (1 + 1e-3) + 1e-12
    _, weight = operands(quantised, x)
    assert all(len(one.unique()) <= 2**bits - 1 for one in weight)
