"""Cut channels: keep some outputs and inputs of one layer."""

from __future__ import annotations

import torch
from torch import nn

from joulemark.nets.axes import INPUTS, OUTPUTS, axes, filters_per_channel, is_depthwise, length, set_length, unit


def keep_channels(
    module: nn.Module, *, layer: str, outputs: list[int] | None = None, inputs: list[int] | None = None
) -> None:
    """Keep the listed output and input channels (features) of one convolution, linear layer, norm or PReLU.

    ``None`` keeps all. Indices are different from each other and those of the layer as it stands when the edit is
    replayed. A norm and a PReLU have outputs only, and so has a depthwise convolution: its inputs are the same
    channels, and all filters of one are kept. Of a group norm whole groups are kept. Raises ``ValueError`` for what
    does not fit.
    """
    target = dict(module.named_modules()).get(layer)
    known = axes(target) if target is not None else {}
    if target is None or not known:
        raise ValueError(f"keep_channels: no convolution, linear layer, norm or PReLU is called {layer!r}")
    if getattr(target, "groups", 1) != 1 and not is_depthwise(target):
        raise ValueError(f"keep_channels: {layer!r} is a grouped convolution, which this edit cannot cut")
    if inputs is not None and INPUTS not in known:
        what = "depthwise convolution" if is_depthwise(target) else type(target).__name__
        raise ValueError(f"keep_channels: {layer!r} is a {what}, which has outputs only: its inputs follow them")
    for axis, kept in ((OUTPUTS, outputs), (INPUTS, inputs)):
        if kept is not None:
            _check(target, layer, axis, kept)
            for name, dimension in known[axis].items():
                _cut(target, name, kept, dimension)
            set_length(target, axis, len(kept))


def _check(target: nn.Module, layer: str, axis: str, kept: list[int]) -> None:
    if not all(type(index) is int for index in kept) or len(set(kept)) != len(kept):
        raise ValueError(f"keep_channels: indices {kept} are not different whole numbers")
    if not kept or min(kept) < 0 or max(kept) >= length(target, axis):
        raise ValueError(
            f"keep_channels: indices {kept} do not fit {layer!r}, with {axis} 0 to {length(target, axis) - 1}"
        )
    size = unit(target)
    first = kept[::size]
    whole = [place for start in first for place in range(start, start + size)]
    if axis == OUTPUTS and size > 1 and (whole != kept or any(start % size for start in first)):
        together = "filters of a channel" if filters_per_channel(target) > 1 else "channels of a norm group"
        raise ValueError(f"keep_channels: the {size} {together} of {layer!r} are kept or cut together, in their order")


def _cut(target: nn.Module, name: str, kept: list[int], dimension: int) -> None:
    tensor = getattr(target, name)
    if tensor is None:
        return
    cut = tensor.detach().index_select(dimension, torch.tensor(kept))
    if isinstance(tensor, nn.Parameter):
        setattr(target, name, nn.Parameter(cut, requires_grad=tensor.requires_grad))
    else:
        target.register_buffer(name, cut)
