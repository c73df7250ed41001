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

from joulemark.nets.dependencies import Group, Member, channel_groups, keep
from joulemark.nets.edits.edit import replay
from joulemark.nets.edits.keep_channels import is_depthwise
from joulemark.nets.flow import all_pass, trace
from joulemark.nets.layers.lowered import can_be_lowered
from joulemark.nets.net import Net

GROUPS = {"filters": (1, 2, 3), "channels": (0, 2, 3), "shapes": (0,)}
"""Axes of a weight (filters, channels, height, width) that a group runs over."""


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
            mask &= alive.any(GROUPS[kind], keepdim=True)
        masks[name] = masks.get(name, torch.ones_like(mask)) & mask
    if "filters" in kinds:
        for member, dead in _dead_outputs(module, channel_groups(net), net.input_shape):
            for name in (f"{member}.bias", f"{member}.weight"):
                if name in net.state:
                    mask = masks.get(name, torch.ones_like(net.state[name], dtype=torch.bool))
                    masks[name] = mask & ~dead.reshape(-1, *[1] * (mask.dim() - 1))
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
        kept = {group.name: rounded(alive(module, group), round_to) for group in found}
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


def alive(module: nn.Module, group: Group) -> Tensor:
    """Which channels, (channels,), anything makes and anything reads: some output and some input is not zero."""
    layers = dict(module.named_modules())
    made, read = (torch.zeros(group.channels, dtype=torch.bool) for _ in range(2))
    for member in group.members:
        layer = layers[member.layer]
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            values = layer.weight.detach().abs() + layer.bias.detach().abs()
            behind = torch.zeros(group.channels).index_add_(
                0, torch.tensor(member.channels), values[list(member.places)]
            )
            made |= behind > 0  # a filter of zeros still makes the offset of its batch norm
            continue
        weight = layer.weight.detach().abs()
        axis = 0 if member.axis == "outputs" else 1
        values = weight.sum([a for a in range(weight.dim()) if a != axis])
        if member.axis == "outputs" and layer.bias is not None:
            values = values + layer.bias.detach().abs()
        target = made if member.axis == "outputs" else read
        sums = torch.zeros(group.channels).index_add_(0, torch.tensor(member.channels), values[list(member.places)])
        target |= sums > 0
    return made & read


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
) -> Iterator[tuple[str, Tensor]]:
    """Convolutions and norms of a channel all of whose filters, or one that all pass, are zero; a mask over outputs."""
    layers: Mapping[str, nn.Module] = dict(module.named_modules())
    depthwise = {path for path, layer in layers.items() if is_depthwise(layer)}
    traced = trace(module, input_shape) if depthwise else []
    for group in groups:
        outputs = [member for member in group.members if member.axis == "outputs"]
        makers = [m for m in outputs if isinstance(layers[m.layer], nn.Conv2d | nn.Linear) and m.layer not in depthwise]
        made = _nonzero(layers, group, makers)
        paths = {member.layer for member in makers}
        for gate in depthwise & {member.layer for member in outputs}:
            passed = [member for member in outputs if member.layer == gate]
            every = len({channel for member in passed for channel in member.channels}) == group.channels
            if every and all_pass(traced, paths, gate, through=depthwise):
                made &= _nonzero(layers, group, passed)
        for member in outputs:
            layer = layers[member.layer]
            if not isinstance(layer, nn.Linear):
                dead = torch.zeros(len(layer.weight), dtype=torch.bool)  # type: ignore[arg-type]
                dead[list(member.places)] = ~made[torch.tensor(member.channels)]
                yield member.layer, dead


def _nonzero(layers: Mapping[str, Any], group: Group, members: Sequence[Member]) -> Tensor:
    """Channels of ``group``, (channels,), for which one of ``members`` has a filter that is not zero."""
    found = torch.zeros(group.channels, dtype=torch.bool)
    for member in members:
        filters = layers[member.layer].weight.detach().flatten(1).any(1)[list(member.places)]
        found[torch.tensor(member.channels)[filters]] = True
    return found


def convolutions(module: nn.Module, prefix: str = "") -> dict[str, nn.Conv2d]:
    """All convolutions of ``module``, by path."""
    return {path: layer for path, layer in module.named_modules(prefix=prefix) if isinstance(layer, nn.Conv2d)}
