"""Pairs of non-zero operands are what a convolution of the two supports counts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from joulemark.workloads.pairs import convolution_pairs, product_pairs


def sparse(shape, density, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    return values * (torch.rand(shape, generator=generator) < density)


@settings(deadline=None, max_examples=60)
@given(
    axes=st.integers(1, 3), groups=st.integers(1, 3), rows=st.integers(1, 3), channels=st.integers(1, 3),
    filters=st.integers(1, 3), size=st.integers(3, 7), taps=st.integers(1, 3), stride=st.integers(1, 4),
    padding=st.integers(0, 3), dilation=st.integers(1, 2), density=st.sampled_from([0.0, 0.4, 1.0]),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_a_convolution_of_the_supports_counts_the_same(
    axes, groups, rows, channels, filters, size, taps, stride, padding, dilation, density, seed
):
    size = max(size, (taps - 1) * dilation + 1)
    sizes = [size + axis for axis in range(axes)]  # no axis like another
    x = sparse((rows, groups * channels, *sizes), 0.6, seed)
    weight = sparse((groups * filters, channels, *[taps] * axes), density, seed + 1)
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[axes - 1]
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    joint = convolve((x != 0).double(), (weight != 0).double(), **how)
    inside = convolve(torch.ones_like(x), torch.ones_like(weight), **how)
    found = convolution_pairs(
        x, weight, joint.shape[2:], stride=[stride] * axes, before=[padding] * axes, dilation=[dilation] * axes,
        groups=groups,
    )  # fmt: skip
    assert found == (float(inside.sum()), float(joint.sum()))


@settings(deadline=None)
@given(seed=st.integers(0, 1000), density=st.floats(0, 1))
def test_a_product_of_the_supports_counts_the_same(seed, density):
    x, weight = sparse((2, 3, 5), density, seed), sparse((2, 5, 4), 0.5, seed + 1)
    assert product_pairs(x, weight) == float(((x != 0).double() @ (weight != 0).double()).sum())
    assert product_pairs(x[0], weight[0]) == float(((x[0] != 0).double() @ (weight[0] != 0).double()).sum())


def test_uneven_padding_is_what_the_outputs_say():
    x, weight = torch.ones(1, 1, 5), torch.ones(1, 1, 3)
    padded = functional.pad(x, (0, 2))
    expected = float(functional.conv1d(padded, weight).sum())
    found = convolution_pairs(x, weight, [5], stride=[1], before=[0], dilation=[1], groups=1)
    assert found == (expected, expected) == pytest.approx((12.0, 12.0))
