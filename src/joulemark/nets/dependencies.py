"""Which channels of which layers belong together, and nets with some of them cut out.

An output channel of a convolution is also a channel of the batch norm behind it and an input channel of whatever reads
it; a residual sum ties the channels of several convolutions, and a depthwise convolution passes each channel on as
itself. Such a group can only be cut as a whole. The dependency graph is torch-pruning's (G. Fang et al., "DepGraph:
Towards any structural pruning", CVPR 2023); what it finds is believed only if cutting channels that are zero changes no
output, so operators that it does not understand (padded shortcuts, units that make something of zero) leave their
groups whole.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from joulemark.nets.edits.edit import replay
from joulemark.nets.edits.keep_channels import is_depthwise
from joulemark.nets.net import Net

LAYERS = (nn.Conv2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
ROWS = 2
"""Random inputs on which a group is tried."""
TOLERANCE = 1e-4
"""Outputs, relative to the largest, may differ by this much: sums are taken in another order."""


class Member(NamedTuple):
    """One axis of one layer: of each of its ``places``, the channel of the group that it belongs to.

    A depthwise convolution is there once, by its outputs: it has one filter for each channel.
    """

    layer: str
    axis: str  # "outputs" or "inputs"
    places: tuple[int, ...]
    channels: tuple[int, ...]


class Group(NamedTuple):
    """Channels that are cut together; the first member is the layer that they are named after."""

    channels: int
    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        """Path of the layer whose outputs they are."""
        return self.members[0].layer


def channel_groups(net: Net) -> list[Group]:
    """All groups of channels that can be cut from ``net``, in the order of its layers.

    Outputs of the net are in none, nor is what grouped convolutions make and read; of those only depthwise ones are
    members like any layer. Raises ``ValueError`` for a net with a route, parts or number formats, which are made of a
    net that is cut already, and for one whose outputs are not finite.

    >>> [(group.name, group.channels) for group in channel_groups(Net.new("lenet", (1, 28, 28), seed=0))]
    [('stage1.conv', 20), ('stage2.conv', 50), ('classifier.hidden', 500)]
    """
    if net.route is not None or net.parts or net.formats:
        raise ValueError("channels are cut before a net gets exits, parts or integers")
    from torch_pruning import DependencyGraph  # takes a second to import

    module = net.module(formats=False)
    paths = {layer: path for path, layer in module.named_modules()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unwrapped parameters detected")  # what is in no layer is cut by none of ours
        graph = DependencyGraph().build_dependency(module, example_inputs=torch.zeros(1, *net.input_shape))
    found: list[Group] = []
    known: set[str] = set()
    for path, layer in module.named_modules():
        if not isinstance(layer, LAYERS) or path in known or getattr(layer, "groups", 1) != 1:
            continue
        size = layer.weight.shape[0]
        items = graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, list(range(size)))
        members = [
            Member(paths[item.dep.target.module], _axis(item.dep), tuple(item.idxs), tuple(item.root_idxs))
            for item in items
            if isinstance(item.dep.target.module, (*LAYERS, *NORMS))
        ]
        members = list(dict.fromkeys(members))  # a depthwise convolution may be found from both of its sides
        known |= {member.layer for member in members if member.axis == "outputs"}
        group = Group(size, tuple(members))
        if any(member.axis == "inputs" for member in members) and _is_whole(group, module, net):
            found.append(group)
    return found


def channel_sums(group: Group, values: Mapping[str, Tensor]) -> Tensor:
    """For each channel of a group, (channels,), the sum of ``values`` over all parameters that go when it is cut.

    ``values`` are shaped as the parameters and named as they are; what has no value counts as 0.
    """
    total = torch.zeros(group.channels)
    for member in group.members:
        axis = 0 if member.axis == "outputs" else 1
        for name in ("weight", "bias") if member.axis == "outputs" else ("weight",):
            value = values.get(f"{member.layer}.{name}")
            if value is not None:
                sums = value.movedim(axis, 0).reshape(value.shape[axis], -1).sum(1)[list(member.places)]
                total.index_add_(0, torch.tensor(member.channels), sums)
    return total


def strongest(scores: Mapping[str, Tensor], count: int, *, round_to: int = 1) -> dict[str, list[int]]:
    """The ``count`` channels with the greatest scores of all groups, for :func:`keep`; one at least of each group.

    ``scores`` holds (channels,) a group. Each group then keeps its next best until it has a multiple of ``round_to``,
    or all. Of equal channels the earlier one is kept.

    >>> strongest({"a": torch.tensor([1.0, 9.0, 8.0]), "b": torch.tensor([0.1, 0.2])}, 3)
    {'a': [1, 2], 'b': [1]}
    """
    best = {name: score.index_fill(0, score.argmax(), float("inf")) for name, score in scores.items()}
    order = torch.cat(list(best.values())).argsort(descending=True, stable=True)[: max(count, len(best))]
    places = torch.repeat_interleave(torch.tensor([len(score) for score in best.values()]))
    numbers = places[order].bincount(minlength=len(best)).tolist()
    kept = {}
    for (name, score), number in zip(best.items(), numbers, strict=True):
        wanted = min(-(-number // round_to) * round_to, len(score))
        kept[name] = sorted(score.argsort(descending=True, stable=True)[:wanted].tolist())
    return kept


def keep(net: Net, kept: Mapping[str, Sequence[int]], groups: Sequence[Group] | None = None) -> Net:
    """``net`` with only these channels of the groups named; weights and masks are cut alike.

    ``groups`` are those of :func:`channel_groups`, found anew if not given. Raises ``ValueError`` for a name that is no
    group's, and for channels that it does not have, has twice or has none of.
    """
    known = {group.name: group for group in (channel_groups(net) if groups is None else groups)}
    for name, channels in kept.items():
        if name not in known:
            raise ValueError(f"no group of channels is called {name!r}; there are {', '.join(known) or 'none'}")
        if not channels or len(set(channels)) < len(channels) or not set(channels) <= set(range(known[name].channels)):
            raise ValueError(f"{name!r} has channels 0 to {known[name].channels - 1}: keep some of them, each once")
    module = net.module(formats=False)
    edits = _edits(module, [(known[name], set(channels)) for name, channels in kept.items()])
    replay(module, edits)
    masks = dict(net.masks)
    for edit in edits:
        weight, bias = f"{edit['layer']}.weight", f"{edit['layer']}.bias"
        if weight in masks:
            masks[weight] = _cut(_cut(masks[weight], edit["outputs"], 0), edit["inputs"], 1)
        if bias in masks:
            masks[bias] = _cut(masks[bias], edit["outputs"], 0)
    return net.replace(edits=(*net.edits, *edits), masks=masks).with_state(module)


def _axis(dependency: object) -> str:
    inputs = dependency.handler.__name__ == "prune_in_channels"  # type: ignore[attr-defined]
    return "inputs" if inputs and not is_depthwise(dependency.target.module) else "outputs"  # type: ignore[attr-defined]


def _edits(module: nn.Module, cuts: Sequence[tuple[Group, set[int]]]) -> tuple[dict[str, object], ...]:
    """``keep_channels`` edits, one a layer, for all groups and the channels that they keep."""
    gone: dict[str, dict[str, set[int]]] = {}
    for group, channels in cuts:
        for member in group.members:
            lost = {p for p, c in zip(member.places, member.channels, strict=True) if c not in channels}
            gone.setdefault(member.layer, {}).setdefault(member.axis, set()).update(lost)
    layers, made = dict(module.named_modules()), []
    for path, axes in gone.items():
        layer = layers[path]
        norm = isinstance(layer, NORMS)
        sizes = (
            {"outputs": layer.num_features}
            if norm
            else dict(zip(("outputs", "inputs"), layer.weight.shape, strict=False))
        )
        edit: dict[str, object] = {"edit": "keep_channels", "layer": path}
        for axis in ("outputs", "inputs"):
            lost = axes.get(axis, set())
            edit[axis] = [place for place in range(sizes.get(axis, 0)) if place not in lost] if lost else None
        if norm:
            del edit["inputs"]
        if any(edit.get(axis) is not None for axis in ("outputs", "inputs")):
            made.append({**edit, "inputs": edit.get("inputs")})
    return tuple(made)


def _is_whole(group: Group, module: nn.Module, net: Net) -> bool:
    """Whether the group is all there is: cutting channels that are zero changes no output.

    Never with a grouped convolution that is not depthwise. Tried for every second channel and for the first alone:
    halves that are taken apart again, as of a gated unit, stand an even cut and no other.
    """
    layers = [module.get_submodule(member.layer) for member in group.members]
    if group.channels < 2 or any(getattr(one, "groups", 1) != 1 and not is_depthwise(one) for one in layers):
        return False
    return all(
        _is_spared(group, module, net, set(kept)) for kept in (range(0, group.channels, 2), range(1, group.channels))
    )


def _is_spared(group: Group, module: nn.Module, net: Net, kept: set[int]) -> bool:
    """Whether a net whose channels outside ``kept`` are zero computes the same without them."""
    zeroed = copy.deepcopy(module)
    layers = dict(zeroed.named_modules())
    with torch.no_grad():
        for member in group.members:
            if member.axis == "outputs":
                places = [p for p, c in zip(member.places, member.channels, strict=True) if c not in kept]
                for name in ("weight", "bias"):
                    parameter = getattr(layers[member.layer], name, None)
                    if parameter is not None:
                        parameter[places] = 0.0
        cut = copy.deepcopy(zeroed)
        rows = torch.randn(ROWS, *net.input_shape, generator=torch.Generator().manual_seed(0))
        before = zeroed(rows)
        if not before.isfinite().all():
            raise ValueError("no channel can be judged: the net puts out numbers that are not finite")
        try:
            replay(cut, _edits(cut, [(group, kept)]))
            after = cut(rows)
        except Exception:  # noqa: BLE001 (a net is anybody's code, and raises what it likes for sizes it does not know)
            return False
    return before.shape == after.shape and bool(
        torch.allclose(before, after, atol=TOLERANCE * float(before.abs().max()))
    )


def _cut(tensor: Tensor, places: object, axis: int) -> Tensor:
    return tensor if not isinstance(places, list) else tensor.index_select(axis, torch.tensor(places))
