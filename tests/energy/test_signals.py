"""A 1-D convolution costs what the 2-D one of height 1 costs that computes the same, by every model."""

from __future__ import annotations

import pytest
import torch
from profiles import planted_profile, planted_times
from torch import nn

from joulemark.energy.accelerator import Accelerator
from joulemark.energy.datasheet import DataSheet
from joulemark.energy.learned import Learned
from joulemark.energy.microcontroller import Microcontroller
from joulemark.energy.systolic import Systolic
from joulemark.workloads.recording import record

LENGTH = 100
LAYERS = {
    "plain": {},
    "stride, padding, dilation": {"stride": 2, "padding": 3, "dilation": 2},
    "groups": {"groups": 2},
    "depthwise": {"groups": 6, "out_channels": 6},
}
MODELS = {
    "row-stationary": Accelerator, "systolic": Systolic, "datasheet": DataSheet, "microcontroller": Microcontroller,
}  # fmt: skip


def recorded(name: str):
    """The workloads of a 1-D convolution and of its 2-D equal, on the same windows with a third of zeros."""
    torch.manual_seed(0)
    flat = nn.Conv1d(**{"in_channels": 6, "out_channels": 8, "kernel_size": 5, **LAYERS[name]})
    image = nn.Conv2d(
        flat.in_channels, flat.out_channels, (1, 5), (1, *flat.stride), (0, *flat.padding), (1, *flat.dilation),
        groups=flat.groups,
    )  # fmt: skip
    image.load_state_dict({"weight": flat.weight.detach()[:, :, None], "bias": flat.bias.detach()})
    x = torch.randn(3, 6, LENGTH) * (torch.rand(3, 6, LENGTH) < 0.67)
    torch.testing.assert_close(image(x[:, :, None])[:, :, 0], flat(x))
    return flat, record(nn.Sequential(flat), x), record(nn.Sequential(image), x[:, :, None])


@pytest.mark.parametrize("name", LAYERS)
def test_products_are_those_of_the_closed_form(name):
    layer, signal, image = recorded(name)
    (stride,), (padding,), (dilation,) = layer.stride, layer.padding, layer.dilation
    places = (LENGTH + 2 * padding - dilation * 4 - 1) // stride + 1
    assert signal.macs_per_input == places * layer.out_channels * 6 // layer.groups * 5 == image.macs_per_input
    (one,), (other,) = signal.operations, image.operations
    assert (one.joint_density, one.activation_density) == (other.joint_density, other.activation_density)
    assert one.joint_density < 0.75


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_signal_costs_what_an_image_of_height_one_costs(model, name):
    _, signal, image = recorded(name)
    one, other = (MODELS[model]().estimate(workload) for workload in (signal, image))
    assert one.coverage == other.coverage == 1.0
    assert one.joules.value == pytest.approx(other.joules.value, rel=1e-12)
    assert one.layers[0].joules == pytest.approx(other.layers[0].joules, rel=1e-12)


def test_a_calibrated_model_predicts_it_as_the_image_and_says_so():
    _, signal, image = recorded("plain")
    model = Learned(planted_times())
    one, other = model.estimate(signal), model.estimate(image)
    assert one.coverage == 1.0
    assert one.seconds.value == other.seconds.value > 0.0
    assert [note for note in one.assumptions if "height 1" in note]
    assert not [note for note in other.assumptions if "height 1" in note]
    assert Learned(planted_profile()).estimate(signal).coverage == 0.0  # without a fit of convolutions
