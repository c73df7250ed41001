"""Edits: structural changes of a built network, kept as JSON and replayed in order when a net is loaded.

An edit is ``{"edit": name, ...arguments}``. Replaying needs no pruning library: whatever decided on the edit wrote down
its outcome, layer by layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import torch
from torch import nn

from joulemark.nets.layers.fire import Fire, FireSizes
from joulemark.nets.layers.lowered import LoweredConv2d, can_be_lowered

EDITS: dict[str, Callable[..., None]] = {}


def replay(module: nn.Module, edits: tuple[Mapping[str, Any], ...]) -> None:
    """Apply ``edits`` to ``module`` in place, in order.

    Raises ``ValueError`` for an unknown edit, a layer that is not there or arguments that do not fit.
    """
    for edit in edits:
        name = str(edit.get("edit"))
        if name not in EDITS:
            raise ValueError(f"unknown edit {name!r}; this version knows {', '.join(sorted(EDITS))}")
        try:
            EDITS[name](module, **{key: value for key, value in edit.items() if key != "edit"})
        except (TypeError, RuntimeError) as error:  # torch refuses gigantic sizes by the latter
            raise ValueError(f"edit {name!r} does not take {dict(edit)}: {error}") from error


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


def absorb_batch_norm(module: nn.Module, *, layer: str, norm: str) -> None:
    """Give convolution ``layer`` a bias, if it has none, and let ``norm``, the batch norm after it, do nothing.

    Weights are not this edit's business: the state that is loaded afterwards holds them with the norm folded in
    (:func:`joulemark.nets.folding.fold`).
    """
    layers = dict(module.named_modules())
    convolution, batch_norm = layers.get(layer), layers.get(norm)
    if not isinstance(convolution, nn.Conv2d) or not isinstance(batch_norm, nn.BatchNorm2d):
        raise ValueError(f"absorb_batch_norm: {layer!r} and {norm!r} are no convolution and no batch norm of the net")
    if convolution.bias is None:
        convolution.bias = nn.Parameter(torch.zeros(convolution.out_channels))
    parent, _, child = norm.rpartition(".")
    setattr(module.get_submodule(parent), child, nn.Identity())


def fire(module: nn.Module, *, layer: str, squeeze: int, expand1x1: int, expand3x3: int) -> None:
    """Put a fire module in the place of a convolution that it has the inputs, outputs and sizes of."""
    convolution = dict(module.named_modules()).get(layer)
    plain = isinstance(convolution, nn.Conv2d) and convolution.groups == 1 and convolution.dilation == (1, 1)
    if (
        not isinstance(convolution, nn.Conv2d)
        or not plain
        or any(
            len(set(sides)) > 1 or not isinstance(sides, tuple)
            for sides in (convolution.kernel_size, convolution.stride, convolution.padding)
        )
    ):
        raise ValueError(f"fire: {layer!r} is no convolution that is square and plain")
    if expand1x1 + expand3x3 != convolution.out_channels or min(squeeze, expand1x1, expand3x3) < 1:
        raise ValueError(
            f"fire: {squeeze}, {expand1x1} and {expand3x3} filters cannot stand for the {convolution.out_channels} of "
            f"{layer!r}"
        )
    made = Fire(
        convolution.in_channels,
        FireSizes(squeeze, expand1x1, expand3x3),
        kernel=convolution.kernel_size[0],
        stride=convolution.stride[0],
        padding=int(convolution.padding[0]),
    )
    parent, _, child = layer.rpartition(".")
    setattr(module.get_submodule(parent), child, made)


def delay(module: nn.Module, *, layer: str, stage: str) -> None:
    """Take a pooling from where it stands and put it at the end of a later stage, so that what is between sees more."""
    layers = dict(module.named_modules())
    pool, place = layers.get(layer), layers.get(stage)
    if not isinstance(pool, nn.MaxPool2d | nn.AvgPool2d) or not isinstance(place, nn.Sequential):
        raise ValueError(f"delay: {layer!r} and {stage!r} are no pooling and no stage of the net")
    if hasattr(place, "delayed"):
        raise ValueError(f"delay: a pooling was moved to {stage!r} before")
    parent, _, child = layer.rpartition(".")
    setattr(module.get_submodule(parent), child, nn.Identity())
    place.add_module("delayed", pool)


def lower_columns(module: nn.Module, *, layer: str, columns: list[int]) -> None:
    """Compute a convolution as a dense product over some columns of its filters: channels x kernel rows x columns."""
    convolution = dict(module.named_modules()).get(layer)
    if not isinstance(convolution, nn.Conv2d) or not can_be_lowered(convolution):
        raise ValueError(f"lower_columns: {layer!r} is no convolution that can be lowered")
    size = convolution.weight[0].numel()
    if not columns or columns != sorted(set(columns)) or not all(type(c) is int and 0 <= c < size for c in columns):
        raise ValueError(f"lower_columns: {layer!r} has columns 0 to {size - 1}: list some of them once, in order")
    parent, _, child = layer.rpartition(".")
    setattr(module.get_submodule(parent), child, LoweredConv2d(convolution, columns))


def bypass_block(module: nn.Module, *, block: str) -> None:
    """Leave nothing of a residual block but its shortcut."""
    found = dict(module.named_modules()).get(block)
    shortcut = getattr(found, "bypassed", None)
    if found is None or shortcut is None:
        raise ValueError(f"bypass_block: {block!r} is no residual block that can be bypassed")
    parent, _, child = block.rpartition(".")
    setattr(module.get_submodule(parent), child, shortcut())


EDITS["keep_channels"] = keep_channels
EDITS["lower_columns"] = lower_columns
EDITS["bypass_block"] = bypass_block
EDITS["absorb_batch_norm"] = absorb_batch_norm
EDITS["fire"] = fire
EDITS["delay"] = delay
