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
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from joulemark.nets.edits.edit import replay
from joulemark.nets.edits.keep_channels import is_depthwise
from joulemark.nets.flow import owners_of
from joulemark.nets.net import Net

LAYERS = (nn.Conv2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
ROWS = 2
"""Random inputs of each size on which a group is tried."""
SCALES = (1.0, 16.0, 255.0)
TOLERANCE = 1e-4
"""Outputs may differ by this share of what they vary by from input to input: sums are taken in another order."""
ROUNDING = {torch.float64: 1e-13, torch.float32: 3e-6}
"""And by this share of the largest, which is what sums of some hundred terms are rounded by (ours)."""
TOLD = 1e-3
"""Up to this share of what outputs vary by, rounding leaves no doubt."""


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


class Ties(NamedTuple):
    """What may be cut from a net, and why what may not is left whole."""

    groups: tuple[Group, ...]
    whole: dict[str, str]  # path of a layer -> the reason, in words


def channel_groups(net: Net) -> list[Group]:
    """All groups of channels that can be cut from ``net``, in the order of its layers.

    Outputs of the net are in none, nor is what grouped convolutions make and read; of those only depthwise ones are
    members like any layer. Raises ``ValueError`` for a net with a route, parts or number formats, which are made of a
    net that is cut already, and for one whose outputs are not finite.

    >>> [(group.name, group.channels) for group in channel_groups(Net.new("lenet", (1, 28, 28), seed=0))]
    [('stage1.conv', 20), ('stage2.conv', 50), ('classifier.hidden', 500)]
    """
    return list(channel_ties(net).groups)


def channel_ties(net: Net) -> Ties:
    """The groups of :func:`channel_groups`, and every layer with weights that is in none, with the reason.

    One layer that is not understood never ends the search: it is left whole. Raises as :func:`channel_groups`.

    >>> channel_ties(Net.new("lenet", (1, 28, 28), seed=0)).whole
    {'classifier.output': 'its outputs are those of the net'}
    """
    if net.route is not None or net.parts or net.formats:
        raise ValueError("channels are cut before a net gets exits, parts or integers")
    module = net.module(formats=False).requires_grad_()  # torch-pruning follows gradients, past frozen layers too
    paths = {layer: path for path, layer in module.named_modules()}
    ran = _layers_that_run(module, net)
    tied = {path for owners in owners_of(module).values() if len(owners) > 1 for path in owners}
    if not _finite(_outputs(module, _rows(net)[:ROWS])):
        raise ValueError("no channel can be judged: the net puts out numbers that are not finite")
    graph, failed = _graph(module, net)
    offered: list[Group] = []
    whole: dict[str, str] = {}
    known: set[str] = set()
    for path, layer in module.named_modules():
        if not any(True for _ in layer.parameters(recurse=False)) or isinstance(layer, NORMS) or path in known:
            continue
        group = _why_whole(path, layer, ran, tied) or failed or _group(graph, layer, paths)
        if isinstance(group, str):
            whole[path] = group
            continue
        makers = _makers(group, module)
        known.update(makers)
        why = _why_no_group(group, module, tied)
        if why is None:
            offered.append(group)
        else:
            whole |= dict.fromkeys(makers, why)
    found = _spared(offered, module, net)
    for group in offered:
        if group not in found:
            whole |= dict.fromkeys(_makers(group, module), "cutting channels that are zero would change the outputs")
    order = {path: place for place, (path, _) in enumerate(module.named_modules())}
    return Ties(tuple(found), dict(sorted(whole.items(), key=lambda item: order[item[0]])))


def _makers(group: Group, module: nn.Module) -> list[str]:
    """Layers that make the channels of a group, beside norms."""
    layers = [member.layer for member in group.members if member.axis == "outputs"]
    return [one for one in layers if isinstance(module.get_submodule(one), LAYERS)]


def _graph(module: nn.Module, net: Net) -> tuple[Any, str | None]:
    """The dependency graph of torch-pruning, or why there is none."""
    from torch_pruning import DependencyGraph  # takes a second to import

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unwrapped parameters detected")  # what is in no layer is cut by none of ours
        try:
            example = torch.zeros(1, *net.input_shape)
            return DependencyGraph().build_dependency(module, example_inputs=example, output_transform=_tensors), None
        except Exception as error:  # noqa: BLE001  (it fails in many ways on what it does not know)
            return None, f"how its channels are tied is not understood ({type(error).__name__})"


def _group(graph: Any, layer: nn.Module, paths: Mapping[nn.Module, str]) -> Group | str:
    """The group that a layer's outputs are named after, or why there is none."""
    size = int(layer.weight.shape[0])  # type: ignore[index]
    try:
        prune = graph.get_pruner_of_module(layer).prune_out_channels
        items = graph.get_pruning_group(layer, prune, list(range(size)))
    except Exception as error:  # noqa: BLE001  (the same)
        return f"how its channels are tied is not understood ({type(error).__name__})"
    members = [
        Member(paths[item.dep.target.module], _axis(item.dep), tuple(item.idxs), tuple(item.root_idxs))
        for item in items
        if isinstance(item.dep.target.module, (*LAYERS, *NORMS))
    ]
    layers = {path: one for one, path in paths.items()}
    # What has one channel and is spread over all is tied to none of them, though torch-pruning says so.
    members = [one for one in members if one.axis == "inputs" or size == 1 or _length(layers[one.layer], "outputs") > 1]
    if any(max(one.places) >= _length(layers[one.layer], one.axis) for one in members):
        return "how its channels are tied is not understood (more places than channels)"
    # A depthwise convolution may be found from both of its sides.
    return Group(size, tuple(dict.fromkeys(members)))


def _length(layer: Any, axis: str) -> int:
    """Channels of a layer along an axis."""
    if isinstance(layer, NORMS):
        return int(layer.num_features)
    return int(layer.weight.shape[0 if axis == "outputs" else 1])


def _why_whole(path: str, layer: nn.Module, ran: Collection[str], tied: Collection[str]) -> str | None:
    """Why a layer's channels are not asked for at all."""
    if not isinstance(layer, LAYERS):
        return f"a {type(layer).__name__} cannot be cut"
    if path not in ran:
        return "nothing runs through it when the net answers"
    if path in tied:
        return "it shares its weights with another layer, or has two names"
    return "it is a grouped convolution" if getattr(layer, "groups", 1) != 1 else None


def _why_no_group(group: Group, module: nn.Module, tied: Collection[str]) -> str | None:
    """Why the channels of a group stay, though torch-pruning ties them."""
    if not any(member.axis == "inputs" for member in group.members):
        return "its outputs are those of the net"
    shared = next((member.layer for member in group.members if member.layer in tied), None)
    if shared is not None:
        return f"{shared!r}, which goes with it, shares its weights with another layer"
    layers = [module.get_submodule(member.layer) for member in group.members]
    if group.channels < 2:
        return "it has a single channel"
    if any(getattr(one, "groups", 1) != 1 and not is_depthwise(one) for one in layers):
        return "a grouped convolution reads or makes its channels"
    return None


def _layers_that_run(module: nn.Module, net: Net) -> set[str]:
    ran: set[str] = set()
    hooks = [
        layer.register_forward_pre_hook(lambda *_, path=path: ran.add(path)) for path, layer in module.named_modules()
    ]
    with torch.no_grad():
        module(torch.zeros(1, *net.input_shape))
    for hook in hooks:
        hook.remove()
    return ran


def _tensors(outputs: Any) -> list[Tensor]:
    """All tensors in what a net puts out: one, or several in a dictionary or a list."""
    return [one for one in tree_leaves(outputs) if isinstance(one, Tensor)]


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
        edit: dict[str, object] = {"edit": "keep_channels", "layer": path}
        for axis in ("outputs", "inputs"):
            lost = axes.get(axis, set())
            edit[axis] = [one for one in range(_length(layers[path], axis)) if one not in lost] if lost else None
        if any(axes.values()):
            made.append(edit)
    return tuple(made)


def _spared(groups: Sequence[Group], module: nn.Module, net: Net) -> list[Group]:
    """Those of some groups that are all there is: cutting channels that are zero changes no output.

    Tried together, and in halves where that fails, since a large net takes a while. Tried for every second channel and
    for the first alone: halves that are taken apart again, as of a gated unit, stand an even cut and no other.
    """
    if not groups or all(_same_without(groups, module, net, first) for first in (False, True)):
        return list(groups)
    if len(groups) == 1:
        return []
    middle = len(groups) // 2
    return [*_spared(groups[:middle], module, net), *_spared(groups[middle:], module, net)]


def _same_without(groups: Sequence[Group], module: nn.Module, net: Net, first: bool) -> bool:
    """Whether a net computes the same without channels that are zero: the first of each group, or every second one."""
    cuts = [(group, set(range(1, group.channels) if first else range(0, group.channels, 2))) for group in groups]
    zeroed = copy.deepcopy(module)
    layers = dict(zeroed.named_modules())
    with torch.no_grad():
        for group, kept in cuts:
            for member in group.members:
                if member.axis == "outputs":
                    places = [p for p, c in zip(member.places, member.channels, strict=True) if c not in kept]
                    for name in ("weight", "bias"):
                        parameter = getattr(layers[member.layer], name, None)
                        if parameter is not None:
                            parameter[places] = 0.0
        cut = copy.deepcopy(zeroed)
        try:
            replay(cut, _edits(cut, cuts))
        except ValueError:
            return False
        return all(_same_on(zeroed, cut, rows) for rows in _rows(net).split(ROWS))


def _same_on(zeroed: nn.Module, cut: nn.Module, rows: Tensor) -> bool:
    """Whether both give the same for some rows; computed again in float64 where float32 cannot tell."""
    same: bool | None = None
    for exact in (torch.float32, torch.float64):
        before, after = _outputs(zeroed, rows, exact), _outputs(cut, rows, exact)
        if before is None or after is None or len(before) != len(after):
            return same is True or (before is None and exact is torch.float64)  # it computes in floats of its own only
        same = all(_equal(one, other) for one, other in zip(before, after, strict=True))
        if all(map(_is_told, before)):
            break
    return bool(same)


def _outputs(module: nn.Module, rows: Tensor, exact: torch.dtype = torch.float32) -> list[Tensor] | None:
    """What a net puts out, computed in numbers of this type; ``None`` if it does not run so."""
    try:
        with torch.no_grad():
            return _tensors(copy.deepcopy(module).to(exact)(rows.to(exact)))
    except Exception:  # noqa: BLE001 (a net is anybody's code, and raises what it likes for sizes it does not know)
        return None


def _finite(outputs: Sequence[Tensor] | None) -> bool:
    return outputs is not None and all(bool(one.isfinite().all()) for one in outputs)


def _rows(net: Net) -> Tensor:
    """Random inputs of several sizes, and some all positive: what a norm over channels does depends on their size.

    Standardised images are of deviation 1, pixels go to 255.
    """
    random = torch.Generator().manual_seed(0)
    sizes = [scale * torch.randn(ROWS, *net.input_shape, generator=random) for scale in SCALES]
    return torch.cat([*sizes, max(SCALES) * torch.rand(ROWS, *net.input_shape, generator=random)])


def _equal(before: Tensor, after: Tensor) -> bool:
    """Whether outputs are equal, beside what they vary by over inputs of one size: no offset hides a difference."""
    if before.shape != after.shape or not before.is_floating_point():
        return before.shape == after.shape and bool(before.equal(after))
    if not before.isfinite().all():
        return True  # it overflows with the channels, too: that tells nothing
    allowed = TOLERANCE * _variation(before) + _rounding(before)
    return bool(((before - after).abs() <= allowed).all())


def _is_told(before: Tensor) -> bool:
    """Whether rounding is small beside what the outputs vary by."""
    return not before.is_floating_point() or _rounding(before) <= TOLD * _variation(before)


def _variation(outputs: Tensor) -> float:
    flat = outputs.reshape(len(outputs) if outputs.dim() else 1, -1)
    return float((flat - flat.mean(0)).abs().max()) if flat.numel() else 0.0


def _rounding(outputs: Tensor) -> float:
    share = ROUNDING.get(outputs.dtype, max(ROUNDING.values()))
    return share * float(outputs.abs().max()) if outputs.numel() else 0.0


def _cut(tensor: Tensor, places: object, axis: int) -> Tensor:
    return tensor if not isinstance(places, list) else tensor.index_select(axis, torch.tensor(places))
