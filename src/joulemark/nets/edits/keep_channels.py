"""Cut channels: keep some outputs and inputs of one layer."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import nn


def keep_channels(
    module: nn.Module, *, layer: str, outputs: list[int] | None = None, inputs: list[int] | None = None
) -> None:
    """Keep the listed output and input channels (features) of one convolution, linear or batch-norm layer.

    ``None`` keeps all. Indices are different from each other and those of the layer as it stands when the edit is
    replayed. A batch norm has outputs only, and so has a depthwise convolution: its inputs are the same channels.
    """
    target = dict(module.named_modules()).get(layer)
    if target is not None and is_depthwise(target):
        if inputs is not None:
            raise ValueError(f"keep_channels: {layer!r} is a depthwise convolution, whose inputs follow its outputs")
        _cut(target, ("weight", "bias"), outputs, 0)
        target.groups = target.in_channels = target.out_channels = len(target.weight)
    elif isinstance(target, nn.Conv2d | nn.Conv1d) and target.groups != 1:
        raise ValueError(f"keep_channels: {layer!r} is a grouped convolution, which this edit cannot cut")
    elif isinstance(target, nn.Conv2d | nn.Conv1d | nn.Linear):
        _cut(target, ("weight", "bias"), outputs, 0)
        _cut(target, ("weight",), inputs, 1)
        names = ("out_features", "in_features") if isinstance(target, nn.Linear) else ("out_channels", "in_channels")
        for axis, name in enumerate(names):
            setattr(target, name, target.weight.shape[axis])
    elif isinstance(target, nn.BatchNorm2d | nn.BatchNorm1d):
        if inputs is not None:
            raise ValueError(f"keep_channels: {layer!r} is a batch norm, which has outputs only")
        _cut(target, ("weight", "bias", "running_mean", "running_var"), outputs, 0)
        target.num_features = target.num_features if outputs is None else len(outputs)
    else:
        raise ValueError(f"keep_channels: no convolution, linear or batch-norm layer is called {layer!r}")


def is_depthwise(layer: nn.Module) -> TypeGuard[nn.Conv2d | nn.Conv1d]:
    """Whether ``layer`` is a convolution that has one filter for each channel, and reads nothing else for it.

    >>> is_depthwise(nn.Conv2d(8, 8, 3, groups=8)), is_depthwise(nn.Conv2d(8, 16, 3, groups=8))
    (True, False)
    """
    return isinstance(layer, nn.Conv2d | nn.Conv1d) and 1 < layer.groups == layer.in_channels == layer.out_channels


def _cut(target: nn.Module, names: tuple[str, ...], keep: list[int] | None, axis: int) -> None:
    if keep is None:
        return
    if not all(type(index) is int for index in keep) or len(set(keep)) != len(keep):
        raise ValueError(f"keep_channels: indices {keep} are not different whole numbers")
    for name in names:
        tensor = getattr(target, name)
        if tensor is None:
            continue
        if not keep or min(keep) < 0 or max(keep) >= tensor.shape[axis]:
            raise ValueError(f"keep_channels: indices {keep} do not fit {name} of shape {tuple(tensor.shape)}")
        cut = tensor.detach().index_select(axis, torch.tensor(keep))
        if isinstance(tensor, nn.Parameter):
            setattr(target, name, nn.Parameter(cut, requires_grad=tensor.requires_grad))
        else:
            target.register_buffer(name, cut)
