"""Where the channels of a layer are: what its two axes are called, how long they are, which tensors have them.

A product (convolution, linear layer) makes *outputs* of *inputs*. A norm, a PReLU and a depthwise convolution pass each
channel on as itself: they have outputs only, which are their inputs too. A layer of another kind has no axes here.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

OUTPUTS, INPUTS = "outputs", "inputs"
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)
"""What scales and shifts each channel: batch, instance, group and layer norms."""
OF_CHANNELS = ("weight", "bias", "running_mean", "running_var")
"""Tensors of a layer that passes channels on; each has one value, or one filter, a channel."""


def is_product(layer: nn.Module) -> bool:
    """Whether ``layer`` makes each output of several inputs: a convolution that is not depthwise, a linear layer."""
    return isinstance(layer, _ConvNd | nn.Linear) and not is_depthwise(layer)


def is_depthwise(layer: nn.Module) -> bool:
    """Whether ``layer`` is a convolution that has one filter, or several, for each channel and reads nothing else.

    >>> is_depthwise(nn.Conv2d(8, 16, 3, groups=8)), is_depthwise(nn.Conv2d(8, 16, 3, groups=4))
    (True, False)
    """
    several = isinstance(layer, _ConvTransposeNd) and layer.out_channels != layer.in_channels  # its weight has two axes
    return isinstance(layer, _ConvNd) and 1 < layer.groups == layer.in_channels and not several


def filters_per_channel(layer: Any) -> int:
    """How many outputs of a layer that passes channels on belong to one input: the multiplier of a depthwise one.

    >>> filters_per_channel(nn.Conv2d(8, 16, 3, groups=8)), filters_per_channel(nn.PReLU(8))
    (2, 1)
    """
    return int(layer.out_channels) // int(layer.in_channels) if is_depthwise(layer) else 1


def axes(layer: nn.Module) -> dict[str, dict[str, int]]:
    """Of each axis of ``layer`` the tensors that have it, by name, and in which dimension.

    >>> axes(nn.ConvTranspose2d(8, 4, 2))
    {'outputs': {'weight': 1, 'bias': 0}, 'inputs': {'weight': 0}}
    >>> axes(nn.PReLU(8)), axes(nn.PReLU()), axes(nn.ReLU())
    ({'outputs': {'weight': 0}}, {}, {})
    """
    if isinstance(layer, _ConvTransposeNd) and is_product(layer):
        return {OUTPUTS: {"weight": 1, "bias": 0}, INPUTS: {"weight": 0}}
    if is_product(layer):
        return {OUTPUTS: {"weight": 0, "bias": 0}, INPUTS: {"weight": 1}}
    over_images = isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) != 1
    shared = isinstance(layer, nn.PReLU) and layer.num_parameters == 1
    if is_depthwise(layer) or (isinstance(layer, (*NORMS, nn.PReLU)) and not over_images and not shared):
        held = [name for name in OF_CHANNELS if getattr(layer, name, None) is not None]
        return {OUTPUTS: dict.fromkeys(held, 0)}
    return {}


def length(layer: Any, axis: str) -> int:
    """Channels of ``layer`` along ``axis``."""
    return (
        int(layer.normalized_shape[0]) if isinstance(layer, nn.LayerNorm) else int(getattr(layer, _name(layer, axis)))
    )


def set_length(layer: Any, axis: str, channels: int) -> None:
    """Let ``layer`` say that it has so many channels, once its tensors have."""
    if isinstance(layer, nn.LayerNorm):
        layer.normalized_shape = (channels,)
        return
    if isinstance(layer, nn.GroupNorm):
        layer.num_groups = layer.num_groups * channels // layer.num_channels
    if is_depthwise(layer):
        layer.groups = layer.in_channels = channels // filters_per_channel(layer)
    setattr(layer, _name(layer, axis), channels)


def channel_dimension(layer: Any) -> int:
    """In which dimension of what ``layer`` reads and puts out its channels are."""
    if isinstance(layer, _ConvNd):
        return 1 - layer.weight.dim()  # also of one image without rows
    return -1 if isinstance(layer, nn.Linear | nn.LayerNorm) else 1


def unit(layer: nn.Module) -> int:
    """How many channels in turn can only be kept or cut together: those of a norm group, filters of one channel."""
    return layer.num_channels // layer.num_groups if isinstance(layer, nn.GroupNorm) else filters_per_channel(layer)


def _name(layer: nn.Module, axis: str) -> str:
    if isinstance(layer, _ConvNd):
        return "out_channels" if axis == OUTPUTS else "in_channels"
    if isinstance(layer, nn.Linear):
        return "out_features" if axis == OUTPUTS else "in_features"
    if isinstance(layer, nn.PReLU):
        return "num_parameters"
    return "num_channels" if isinstance(layer, nn.GroupNorm) else "num_features"
