"""A lowered convolution is the convolution whose other columns are zero."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from joulemark.nets.edits.lower_columns import lower_columns


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 17), min_size=1), st.integers(1, 2), st.integers(0, 2), st.integers(1, 2), st.booleans())
def test_it_gives_what_zero_columns_give(columns, stride, padding, dilation, bias):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3, stride=stride, padding=padding, dilation=dilation, bias=bias))
    x = torch.randn(2, 2, 7, 9)
    kept = torch.zeros(18)
    kept[sorted(columns)] = 1
    weight = net[0].weight * kept.view(1, 2, 3, 3)
    with torch.no_grad():
        expected = nn.functional.conv2d(x, weight, net[0].bias, stride, padding, dilation)
        lower_columns(net, layer="0", columns=sorted(columns))
        torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-5)
    assert net[0].weight.shape == (3, len(columns))


@pytest.mark.parametrize("columns", [[], [2, 1], [1, 1], [-1], [18], [True], [1.0]])
def test_columns_that_are_none_are_refused(columns):
    with pytest.raises(ValueError, match="'0' has columns 0 to 17: list some of them once, in order"):
        lower_columns(nn.Sequential(nn.Conv2d(2, 3, 3)), layer="0", columns=columns)


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(2, 2), nn.Conv2d(2, 2, 3, groups=2), nn.Conv2d(2, 2, 3, padding="same"),
     nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")],
)  # fmt: skip
def test_what_cannot_be_lowered_is_refused(layer):
    with pytest.raises(ValueError, match="'0' is no convolution that can be lowered"):
        lower_columns(nn.Sequential(layer), layer="0", columns=[0])
