"""Groups of weights that are zero: freezing them in training, and cutting them out of a net for real.

What structured sparsity (:mod:`joulemark.techniques.pruning.structured_sparsity`) does once training has made groups
zero: the filters, channels, kernel places or residual blocks that no longer do anything are held at zero, and then
taken away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from joulemark.nets.axes import INPUTS, OUTPUTS, is_depthwise, is_product
from joulemark.nets.dependencies import channel_groups, keep
from joulemark.nets.edits.edit import replay
from joulemark.nets.flow import CONVOLUTIONS, all_pass, trace
from joulemark.nets.groups import Group, Member, channel_sums
from joulemark.nets.layers.lowered import can_be_lowered
from joulemark.nets.net import Net
from joulemark.nets.probe import tensors_of
from joulemark.nets.zero_channels import makes_of_zero

WHOLE = {"filters": 0, "channels": 1}
"""The axis of a weight (filters, channels, *taps) along which groups stand side by side."""


def group_axes(weight: Tensor, kind: str) -> tuple[int, ...]:
    """Axes of a weight (filters, channels, *taps) that a group of a kind runs over; all of them for "depth".

    >>> group_axes(torch.ones(4, 3, 5, 5), "filters"), group_axes(torch.ones(4, 3, 5), "channels")
    ((1, 2, 3), (0, 2))
    """
    return (0,) if kind == "shapes" else tuple(axis for axis in range(weight.dim()) if axis != WHOLE.get(kind))


def freeze(net: Net, groups: str) -> Net:
    """``net`` with masks on every group that is zero, and on all that makes a channel whose filters are zero.

    That is the batch norm and the bias; the depthwise filter of a channel that nothing makes; and what makes a channel
    that is read behind a depthwise filter of zeros only.
    """
    module = net.module(formats=False)
    masks = dict(net.masks)
    kinds = [] if groups == "depth" else groups.split("+")
    for path, layer in convolutions(module).items():
        alive = layer.weight.detach() != 0
        name = f"{path}.weight"
        mask = torch.ones_like(alive)
        for kind in kinds:
            mask &= alive.any(group_axes(alive, kind), keepdim=True)
        masks[name] = masks.get(name, torch.ones_like(mask)) & mask
    parameters = dict(module.named_parameters())
    if "filters" in kinds:
        for member, dead in _dead_outputs(module, channel_groups(net), net.input_shape):
            for name, dimension in member.tensors.items():
                if name in parameters:
                    mask = masks.get(name, torch.ones_like(net.state[name], dtype=torch.bool)).clone()
                    mask.movedim(dimension, 0)[dead] = False
                    masks[name] = mask
    for block in residual_blocks(module) if groups == "depth" else []:
        if _is_dead(module.get_submodule(block)):
            for name, parameter in module.get_submodule(block).named_parameters(prefix=block):
                masks[name] = torch.zeros_like(parameter, dtype=torch.bool)
    return net.replace(masks=masks)


def remove(net: Net, groups: str, *, round_to: int = 1, masks: Mapping[str, Tensor] | None = None) -> Net:
    """``net`` without its zero groups, smaller and dense; the same function as before.

    Of its masks only ``masks`` stay, those of a technique before this one, cut like the weights that they hold down.
    """
    module = net.module(formats=False)
    net = net.with_state(module).replace(masks=dict(masks or {}))
    edits: list[dict[str, Any]] = []
    if groups == "depth":
        dead = [block for block in residual_blocks(module) if _is_dead(module.get_submodule(block))]
        edits += [{"edit": "bypass_block", "block": block} for block in dead]
    elif groups == "shapes":
        for path, layer in convolutions(module).items():
            used = layer.weight.detach().flatten(1).any(0)
            if can_be_lowered(layer) and not used.all() and used.any():
                edits.append({"edit": "lower_columns", "layer": path, "columns": used.nonzero()[:, 0].tolist()})
    else:
        found = channel_groups(net)
        kept = {group.name: rounded(alive(module, group, net.input_shape), round_to) for group in found}
        return keep(
            net, {group.name: kept[group.name] for group in found if len(kept[group.name]) < group.channels}, found
        )
    replay(module, tuple(edits))
    return net.replace(edits=(*net.edits, *edits), masks=_left(net.masks, edits)).with_state(module)


def _left(masks: Mapping[str, Tensor], edits: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """``masks`` without those of blocks that are bypassed; of lowered convolutions, the columns that are left."""
    gone = tuple(f"{edit['block']}." for edit in edits if "block" in edit)
    columns = {f"{edit['layer']}.weight": edit["columns"] for edit in edits if "columns" in edit}
    left = {name: mask for name, mask in masks.items() if not name.startswith(gone)}
    return {name: mask.flatten(1)[:, columns[name]] if name in columns else mask for name, mask in left.items()}


def shapes(net: Net, small: Net) -> dict[str, dict[str, Any]]:
    """What is left of each convolution of ``net``: its weight's shape before and after, and its share of the MACs.

    An output is as large as before, so the share is that of the weights. A lowered one is (filters, columns).
    """
    before, after = convolutions(net.module(formats=False)), dict(small.module(formats=False).named_modules())
    found = {}
    for path, layer in before.items():
        left = getattr(after.get(path), "weight", layer.weight.new_empty(0))
        share = left.numel() / layer.weight.numel()
        found[path] = {"before": list(layer.weight.shape), "after": list(left.shape), "macs_share": round(share, 4)}
    return found


def alive(module: nn.Module, group: Group, input_shape: tuple[int, ...]) -> Tensor:
    """Which channels, (channels,), anything makes and anything reads: some output and some input is not zero.

    A filter of zeros still makes the offset of its batch norm, or without one the mean that is taken off. What is read
    as a whole, as by a maximum over channels, is read.
    """
    own = {name for member in group.members for name in member.tensors}
    sizes = {name: tensor.detach().abs() for name, tensor in tensors_of(module).items() if name in own}
    for name in [name for name in sizes if name.endswith("running_mean")]:
        if name.replace("running_mean", "weight") in sizes:
            del sizes[name]
    read = [member for member in group.members if member.axis == INPUTS]
    makers = [member for member in group.members if _makes(module, group, member, input_shape)]
    made = _sums(group, makers, sizes) > 0
    return made if group.read_mixed else made & (_sums(group, read, sizes) > 0)


def rounded(alive: Tensor, round_to: int) -> list[int]:
    """The channels that are alive, with as many dead ones as make a multiple of ``round_to``; one at least.

    >>> rounded(torch.tensor([False, True, False, False, True]), 4)
    [0, 1, 2, 4]
    """
    wanted = max(1, int(alive.sum()))
    wanted = min(-(-wanted // round_to) * round_to, len(alive))
    order = torch.argsort(alive.to(torch.int8), descending=True, stable=True)
    return sorted(order[:wanted].tolist())


def residual_blocks(module: nn.Module) -> list[str]:
    """Paths of the blocks that can be bypassed."""
    return [path for path, layer in module.named_modules() if hasattr(layer, "bypassed")]


def _is_dead(block: nn.Module) -> bool:
    """Whether all convolutions of a residual block are zero."""
    return not any(layer.weight.detach().any() for layer in convolutions(block).values())


def _dead_outputs(
    module: nn.Module, groups: Sequence[Group], input_shape: tuple[int, ...]
) -> Iterator[tuple[Member, list[int]]]:
    """Convolutions and norms of a channel all of whose filters, or one that all pass, are zero; the places of those."""
    layers: Mapping[str, nn.Module] = dict(module.named_modules())
    sizes = {name: tensor.detach().abs() for name, tensor in tensors_of(module).items()}
    filters = {name: size for name, size in sizes.items() if name.endswith(".weight")}
    depthwise = {path for path, layer in layers.items() if is_depthwise(layer)}
    traced = trace(module, input_shape) if depthwise else []
    for group in groups:
        outputs = [member for member in group.members if member.axis == OUTPUTS]
        makers = [member for member in outputs if is_product(layers[member.layer])]
        own = [one for one in group.members if one.axis.isdigit() and _makes(module, group, one, input_shape)]
        made = _sums(group, makers, filters) + _sums(group, own, sizes) > 0
        paths = {member.layer for member in makers}
        for gate in depthwise & {member.layer for member in outputs}:
            passed = [member for member in outputs if member.layer == gate]
            every = len({channel for member in passed for channel in member.channels}) == group.channels
            if every and all_pass(traced, paths, gate, through=depthwise):
                made &= _sums(group, passed, filters) > 0
        for member in outputs:
            if not isinstance(layers[member.layer], nn.Linear | nn.PReLU):
                yield member, member.places_without(made.nonzero()[:, 0].tolist())


def _sums(group: Group, members: Sequence[Member], values: Mapping[str, Tensor]) -> Tensor:
    """For each channel of ``group``, (channels,), the sum of ``values`` over some of its members."""
    return channel_sums(group._replace(members=tuple(members)), values)


def _makes(module: nn.Module, group: Group, member: Member, input_shape: tuple[int, ...]) -> bool:
    """Whether a member may make something of a channel that is zero in the others.

    A PReLU makes nothing of zero whatever its weights are, nor does a tensor of the net's own that only scales.
    """
    if member.axis.isdigit():
        return makes_of_zero(group, member, module, input_shape)
    return member.axis == OUTPUTS and not isinstance(module.get_submodule(member.layer), nn.PReLU)


def convolutions(module: nn.Module, prefix: str = "") -> dict[str, nn.Conv1d | nn.Conv2d]:
    """All convolutions of ``module``, by path."""
    return {path: layer for path, layer in module.named_modules(prefix=prefix) if isinstance(layer, CONVOLUTIONS)}
