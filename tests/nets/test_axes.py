"""Where channels are, by hand for every kind of layer, and that real tensors agree."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from joulemark.nets.axes import (
    INPUTS,
    OUTPUTS,
    axes,
    channel_dimension,
    filters_per_channel,
    is_depthwise,
    is_product,
    length,
    set_length,
    unit,
)

PRODUCT = {"outputs": {"weight": 0, "bias": 0}, "inputs": {"weight": 1}}
TRANSPOSED = {"outputs": {"weight": 1, "bias": 0}, "inputs": {"weight": 0}}
SCALED = {"outputs": {"weight": 0, "bias": 0}}
COUNTED = {"outputs": {"weight": 0, "bias": 0, "running_mean": 0, "running_var": 0}}
LAYERS = [
    (nn.Linear(5, 7), PRODUCT),
    (nn.Conv1d(5, 7, 3), PRODUCT),
    (nn.Conv2d(5, 7, 3, bias=False), PRODUCT),
    (nn.Conv3d(5, 7, 3), PRODUCT),
    (nn.Conv2d(1, 7, 3), PRODUCT),  # one group for its one input, but no depthwise one
    (nn.Conv2d(6, 9, 3, groups=3), PRODUCT),
    (nn.ConvTranspose1d(5, 7, 3), TRANSPOSED),
    (nn.ConvTranspose2d(5, 7, 3), TRANSPOSED),
    (nn.ConvTranspose3d(5, 7, 3, bias=False), TRANSPOSED),
    (nn.Conv1d(5, 5, 3, groups=5, bias=False), {"outputs": {"weight": 0}}),
    (nn.Conv2d(5, 15, 3, groups=5), SCALED),
    (nn.ConvTranspose2d(5, 5, 3, groups=5), SCALED),
    (nn.BatchNorm1d(5), COUNTED),
    (nn.BatchNorm2d(5, affine=False), {"outputs": {"running_mean": 0, "running_var": 0}}),
    (nn.BatchNorm3d(5, track_running_stats=False), SCALED),
    (nn.SyncBatchNorm(5), COUNTED),
    (nn.InstanceNorm1d(5), {"outputs": {}}),
    (nn.InstanceNorm2d(5, affine=True, track_running_stats=True), COUNTED),
    (nn.InstanceNorm3d(5, affine=True), SCALED),
    (nn.GroupNorm(2, 6), SCALED),
    (nn.GroupNorm(6, 6, affine=False), {"outputs": {}}),
    (nn.LayerNorm(5), SCALED),
    (nn.LayerNorm(5, bias=False), {"outputs": {"weight": 0}}),
    (nn.LayerNorm(5, elementwise_affine=False), {"outputs": {}}),
    (nn.PReLU(5), {"outputs": {"weight": 0}}),
]  # fmt: skip
NAMES = [str(layer) for layer, _ in LAYERS]
WITHOUT = [
    nn.PReLU(), nn.LayerNorm((5, 2)), nn.ReLU(), nn.Embedding(5, 7), nn.LSTM(5, 7), nn.Bilinear(5, 5, 7),
    nn.MultiheadAttention(6, 2), nn.Sequential(nn.Linear(5, 7)), nn.MaxPool2d(2), nn.LocalResponseNorm(5),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "expected"), LAYERS, ids=NAMES)
def test_axes_by_hand(layer, expected):
    assert axes(layer) == expected


@pytest.mark.parametrize("layer", WITHOUT, ids=str)
def test_other_layers_have_no_axes(layer):
    assert axes(layer) == {}
    assert not is_product(layer)
    assert not is_depthwise(layer)


def test_what_inherits_from_a_layer_is_one():
    assert axes(nn.MultiheadAttention(6, 2).out_proj) == PRODUCT


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_a_convolution_is_depthwise_if_each_output_reads_one_of_several_inputs(groups, read, made, transposed):
    kind = nn.ConvTranspose1d if transposed else nn.Conv1d
    layer = kind(groups * read, groups * made, 1, groups=groups)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    found = torch.stack([layer(one[:, None])[:, 0] - layer.bias for one in torch.eye(groups * read)]).abs() > 0.5
    readers = found.sum(0)
    several = transposed and made > read  # its weight has the two apart
    assert is_depthwise(layer) == bool((readers == 1).all() and groups * read > 1 and not several)
    assert is_product(layer) != is_depthwise(layer)
    if is_depthwise(layer):
        assert found.sum(1).tolist() == [filters_per_channel(layer)] * layer.in_channels
        assert unit(layer) == filters_per_channel(layer)


@pytest.mark.parametrize(
    ("layer", "outputs", "inputs", "together"),
    [
        (nn.Linear(5, 7), 7, 5, 1),
        (nn.Conv2d(5, 7, 3), 7, 5, 1),
        (nn.ConvTranspose2d(5, 7, 3), 7, 5, 1),
        (nn.Conv2d(6, 9, 3, groups=3), 9, 6, 1),
        (nn.Conv2d(5, 15, 3, groups=5), 15, 5, 3),
        (nn.BatchNorm2d(5), 5, 5, 1),
        (nn.InstanceNorm1d(5), 5, 5, 1),
        (nn.GroupNorm(2, 6), 6, 6, 3),
        (nn.GroupNorm(6, 6), 6, 6, 1),
        (nn.LayerNorm(5), 5, 5, 1),
        (nn.PReLU(5), 5, 5, 1),
    ],
    ids=str,
)
def test_lengths_by_hand(layer, outputs, inputs, together):
    assert (length(layer, OUTPUTS), length(layer, INPUTS), unit(layer)) == (outputs, inputs, together)


CUT = [
    (layer, axis, tensors)
    for layer, known in LAYERS
    for axis, tensors in known.items()
    if getattr(layer, "groups", 1) == 1 or is_depthwise(layer)
]


@pytest.mark.parametrize(("layer", "axis", "tensors"), CUT, ids=str)
def test_a_layer_with_the_half_of_its_tensors_says_so_and_runs(layer, axis, tensors):
    layer = copy.deepcopy(layer).eval()
    before = length(layer, axis)
    kept = before // 2 // unit(layer) * unit(layer) if axis == OUTPUTS else before // 2
    kept = max(kept, unit(layer) if axis == OUTPUTS else 1)
    for name, dimension in tensors.items():
        tensor = getattr(layer, name)
        if tensor is not None:
            assert tensor.shape[dimension] == before
            cut = tensor.detach().narrow(dimension, 0, kept)
            setattr(layer, name, nn.Parameter(cut) if isinstance(tensor, nn.Parameter) else cut)
    set_length(layer, axis, kept)
    assert length(layer, axis) == kept
    y = layer(real_input(layer))
    assert y.shape[channel_dimension(layer)] == length(layer, OUTPUTS)


def test_a_shorter_layer_says_the_same_as_one_made_so():
    for layer, axis, channels, expected in [
        (nn.Linear(5, 7), OUTPUTS, 3, nn.Linear(5, 3)),
        (nn.Linear(5, 7), INPUTS, 3, nn.Linear(3, 7)),
        (nn.Conv2d(5, 7, 3), OUTPUTS, 3, nn.Conv2d(5, 3, 3)),
        (nn.ConvTranspose2d(5, 7, 3), INPUTS, 3, nn.ConvTranspose2d(3, 7, 3)),
        (nn.Conv2d(5, 15, 3, groups=5), OUTPUTS, 6, nn.Conv2d(2, 6, 3, groups=2)),
        (nn.BatchNorm2d(5), OUTPUTS, 3, nn.BatchNorm2d(3)),
        (nn.GroupNorm(3, 6), OUTPUTS, 2, nn.GroupNorm(1, 2)),
        (nn.GroupNorm(6, 6), OUTPUTS, 5, nn.GroupNorm(5, 5)),
        (nn.LayerNorm(5), OUTPUTS, 3, nn.LayerNorm(3)),
        (nn.PReLU(5), OUTPUTS, 3, nn.PReLU(3)),
    ]:
        set_length(layer, axis, channels)
        assert str(layer) == str(expected)


def real_input(layer: nn.Module) -> torch.Tensor:
    """What the layer reads, of two rows; no other dimension is as long as its channels are."""
    channels = length(layer, INPUTS)
    if isinstance(layer, nn.Linear | nn.LayerNorm):
        return torch.randn(2, 11, channels)
    sides = {"1d": 1, "3d": 3}.get(type(layer).__name__[-2:], 2)
    return torch.randn(2, channels, *[11, 12, 13][:sides])


@pytest.mark.parametrize("layer", [layer for layer, _ in LAYERS], ids=NAMES)
def test_channels_are_where_one_that_is_not_a_number_stays_alone(layer):
    layer = copy.deepcopy(layer).eval()
    x = real_input(layer)
    dimension = channel_dimension(layer)
    assert x.shape[dimension] == length(layer, INPUTS)
    y = layer(x)
    assert y.shape[dimension] == length(layer, OUTPUTS)
    if is_product(layer):
        return
    x.movedim(dimension, 0)[0] = torch.nan
    reached = layer(x).isnan().movedim(dimension, 0).flatten(1).any(1).nonzero()[:, 0].tolist()
    together = length(layer, OUTPUTS) if isinstance(layer, nn.LayerNorm) else unit(layer)
    assert reached == list(range(together))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(5, 7, 3), (5, 11)),
        (nn.Conv2d(5, 7, 3), (5, 11, 12)),
        (nn.Conv3d(5, 7, 3), (5, 11, 12, 13)),
        (nn.ConvTranspose2d(5, 7, 3), (5, 11, 12)),
        (nn.Conv2d(5, 10, 3, groups=5), (5, 11, 12)),
        (nn.Linear(5, 7), (5,)),
        (nn.Linear(5, 7), (2, 3, 4, 5)),
        (nn.LayerNorm(5), (5,)),
        (nn.BatchNorm1d(5), (2, 5)),
        (nn.GroupNorm(5, 5), (2, 5)),
        (nn.PReLU(5), (2, 5)),
        (nn.PReLU(5), (2, 5, 11, 12)),
    ],
    ids=str,
)
def test_channels_are_found_with_more_and_with_fewer_dimensions(layer, shape):
    layer.eval()
    x = torch.randn(shape)
    assert x.shape[channel_dimension(layer)] == length(layer, INPUTS)
    assert layer(x).shape[channel_dimension(layer)] == length(layer, OUTPUTS)
