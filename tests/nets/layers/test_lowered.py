"""A lowered convolution against the convolution whose other columns are zero, and what cannot be lowered."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from joulemark.nets.layers.lowered import LoweredConv2d, can_be_lowered

pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": 2, "bias": False}])
def test_a_lowered_convolution_is_the_convolution_without_those_columns(options):
    convolution = nn.Conv2d(3, 4, 3, **options)
    columns = [0, 2, 3, 11, 26]
    with torch.no_grad():
        keep = torch.zeros(27)
        keep[columns] = 1
        convolution.weight *= keep.reshape(3, 3, 3)
    x = torch.rand(2, 3, 9, 8)
    lowered = LoweredConv2d(convolution, columns)
    assert lowered.weight.shape == (4, 5)
    assert torch.allclose(lowered(x), convolution(x), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(kernel=pair, stride=pair, dilation=pair, padding=st.tuples(st.integers(0, 2), st.integers(0, 2)), data=st.data())
def test_every_side_has_its_own_kernel_stride_dilation_and_padding(kernel, stride, dilation, padding, data):
    torch.manual_seed(0)
    convolution = nn.Conv2d(2, 3, kernel, stride, padding, dilation)
    columns = sorted(data.draw(st.sets(st.integers(0, 2 * kernel[0] * kernel[1] - 1), min_size=1)))
    kept = torch.zeros(2 * kernel[0] * kernel[1])
    kept[columns] = 1
    x = torch.randn(2, 2, 8, 11)
    with torch.no_grad():
        lowered = LoweredConv2d(convolution, columns)
        convolution.weight *= kept.reshape(2, *kernel)
        torch.testing.assert_close(lowered(x), convolution(x), rtol=1e-4, atol=1e-5)


def test_its_gradients_are_those_of_the_columns_that_are_kept():
    torch.manual_seed(0)
    convolution, columns = nn.Conv2d(2, 3, 3, padding=1), [1, 4, 17]
    with torch.no_grad():
        kept = torch.zeros(18)
        kept[columns] = 1
        convolution.weight *= kept.reshape(2, 3, 3)
    lowered, x = LoweredConv2d(convolution, columns), torch.randn(2, 2, 5, 6)
    for layer in (lowered, convolution):
        layer(x).square().sum().backward()
    torch.testing.assert_close(lowered.weight.grad, convolution.weight.grad.flatten(1)[:, columns])
    torch.testing.assert_close(lowered.bias.grad, convolution.bias.grad)


def test_it_holds_numbers_of_its_own():
    convolution = nn.Conv2d(2, 3, 3)
    lowered = LoweredConv2d(convolution, [0, 1])
    before = lowered.weight.detach().clone(), lowered.bias.detach().clone()
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)
    assert torch.equal(lowered.weight, before[0]) and torch.equal(lowered.bias, before[1])
    assert list(lowered.state_dict()) == ["weight", "bias"]  # which columns they are is in the edit, not here


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, stride=2, padding=1, dilation=2, bias=False)])
def test_a_convolution_in_one_group_can_be_lowered(layer):
    assert can_be_lowered(layer)


@pytest.mark.parametrize(
    "layer",
    [None, nn.Linear(4, 4), nn.Conv1d(4, 4, 3), nn.ConvTranspose2d(4, 4, 3), nn.Conv2d(4, 4, 3, groups=2),
     nn.Conv2d(4, 4, 3, padding="same"), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")],
)  # fmt: skip
def test_nothing_else_can(layer):
    assert not can_be_lowered(layer)
