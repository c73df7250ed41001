"""Which channels of which layers belong together, and nets with some of them cut out.

An output channel of a convolution is also a channel of the batch norm behind it and an input channel of whatever reads
it; a residual sum ties the channels of several convolutions, and a depthwise convolution passes each channel on as
itself. Such a group can only be cut as a whole. What is tied is found by :mod:`joulemark.nets.reach`, and believed only
if cutting channels that are zero changes no output (:mod:`joulemark.nets.zero_channels`), so what makes something of
zero, or counts its channels, stays whole. The idea of groups is that of G. Fang et al., "DepGraph: Towards any
structural pruning", CVPR 2023; they are found from rules for operators there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from joulemark.nets.answers import NetFailsError, answer, copied, has_numbers
from joulemark.nets.axes import INPUTS, NORMS, OUTPUTS, axes, filters_per_channel, is_depthwise, is_product
from joulemark.nets.edits.edit import replay
from joulemark.nets.flow import owners_of
from joulemark.nets.groups import Group, Member, cutting_edits
from joulemark.nets.net import Net
from joulemark.nets.probe import ANSWER, PADDING, Axis, tensors_of
from joulemark.nets.reach import Reach, reach
from joulemark.nets.zero_channels import ROWS, judged, random_rows

Places = dict[Axis, list[int]]
"""Of each axis the places of one channel: what is cut together, and no less."""

TO_THE_ANSWER = "its outputs are those of the net"
UNREAD = "no layer was found that reads what it puts out"
LONE = "its channels go different ways, and each alone"
FROM_INPUTS = "its channels are those of the net's inputs"
OWN_CODE = "the net's own code reads its weights"
MIXED = "its channels are mixed before a layer reads them, as by a norm over all of them or by attention"


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
    """The groups of :func:`channel_groups`, and the reason for every layer with weights that is in none.

    One layer that is not understood never ends the search: it is left whole. Raises as :func:`channel_groups`.

    >>> channel_ties(Net.new("lenet", (1, 28, 28), seed=0)).whole
    {'classifier.output': 'its outputs are those of the net'}
    """
    if net.route is not None or net.parts or net.formats:
        raise ValueError("channels are cut before a net gets exits, parts or integers")
    module = net.module(formats=False)
    rows = random_rows(net.input_shape)[:ROWS]
    try:
        outputs = answer(module, rows)
    except NetFailsError as error:
        raise ValueError(f"no channel can be judged: the net does not run ({error})") from error
    if not all(bool(one.isfinite().all()) for one in outputs):
        raise ValueError("no channel can be judged: the net puts out numbers that are not finite")
    try:
        if not has_numbers(outputs):
            raise NetFailsError("it puts out no numbers that could be compared")
        found = _reach(module, rows[:1])
    except NetFailsError as error:
        reason = f"how its channels are tied is not understood ({error})"
        return Ties((), {path: _why_whole(layer) or reason for path, layer in _with_weights(module)})
    layers = dict(module.named_modules())
    mixed = {link.source for link in found.links if link.mixed and link.source.size > 1}
    candidates, whole = _candidates(found, layers, mixed)
    groups: list[Group] = []
    for group, why in zip(candidates, judged(candidates, module, net.input_shape), strict=True):
        if why is None:
            groups.append(group._replace(number=1 + sum(one.members[0].layer == group.name for one in groups)))
            continue
        why = MIXED if group.read_mixed else why
        whole |= {one.layer: why for one in group.members if one.axis == OUTPUTS and one.layer not in whole}
    return Ties(tuple(groups), dict(_left_whole(module, found, groups, whole)))


def _reach(module: nn.Module, inputs: Tensor) -> Reach:
    """What reaches what when a net answers; when it trains too, if there are layers that run only then."""
    found = reach(module, inputs)
    if all(path in found.ran or not axes(layer) for path, layer in _with_weights(module)):
        return found
    try:
        more = reach(module, inputs, training=True)
    except NetFailsError:
        return found
    return found._replace(links=(*found.links, *more.links), failing=found.failing | more.failing)


def _candidates(found: Reach, layers: Mapping[str, nn.Module], mixed: Set[Axis]) -> tuple[list[Group], dict[str, str]]:
    """Channels that may go by what reaches what, by where they are and where they go; and why others stay."""
    order = {path: place for place, path in enumerate(layers)}
    barred = _barred(layers, found)
    whole: dict[str, str] = {}
    alike: dict[tuple[str, object], list[Places]] = defaultdict(list)
    for channel in _paired(_channels(found), found):
        makers = [axis.layer for axis in channel if axis.name == OUTPUTS and is_product(layers[axis.layer])]
        why = _why_stays(channel, barred, mixed)
        if makers and why is None:
            shape = frozenset((axis, len(places)) for axis, places in channel.items())
            alike[min(makers, key=order.__getitem__), shape].append(channel)
        elif makers and why is not None:
            whole |= {axis.layer: why for axis in channel if axis.name == OUTPUTS and axis.layer not in whole}
    groups = []
    for (name, _), channels in sorted(alike.items(), key=lambda item: order[item[0][0]]):
        group = _group(name, channels, layers)._replace(read_mixed=not mixed.isdisjoint(channels[0]))
        if group.channels > 1:
            groups.append(group)
        else:
            whole |= {one.layer: LONE for one in group.members if one.axis == OUTPUTS and one.layer not in whole}
    return groups, whole


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
    edits = cutting_edits(module, [(known[name], set(channels)) for name, channels in kept.items()])
    masks = _edited_masks(net, module, edits)
    replay(module, edits)
    return net.replace(edits=(*net.edits, *edits), masks=masks).with_state(module)


def _edited_masks(net: Net, module: nn.Module, edits: Sequence[Mapping[str, object]]) -> dict[str, Tensor]:
    """The masks of a net after ``edits`` of its module: they are replayed on a copy whose weights are the masks."""
    masks = copied(module)
    with torch.no_grad():
        for name, mask in net.masks.items():
            tensors_of(masks)[name].copy_(mask)
    replay(masks, tuple(edits))
    return {name: tensors_of(masks)[name].detach() != 0 for name in net.masks}


def _channels(found: Reach) -> list[Places]:
    """All that hangs together, channel by channel: connected components of the links."""
    leader: dict[tuple[Axis, int], tuple[Axis, int]] = {}

    def lead(node: tuple[Axis, int]) -> tuple[Axis, int]:
        while leader.setdefault(node, node) != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for link in found.links:
        for entry, place in zip(link.entries, link.places, strict=True):
            leader[lead((link.reader, place))] = lead((link.source, entry))
        if link.mixed and not link.source.name.isdigit():
            for entry in range(link.source.size):
                lead((link.source, entry))
    for source in found.failing:
        for entry in range(source.size):
            lead((source, entry))
    channels: dict[tuple[Axis, int], Places] = defaultdict(lambda: defaultdict(list))
    for axis, place in sorted(leader):
        channels[lead((axis, place))][axis].append(place)
    return list(channels.values())


def _paired(channels: Sequence[Places], found: Reach) -> list[Places]:
    """Channels, those of layers that are mixed into the same places joined by their numbers.

    Queries and keys of attention meet in a sum over channels, where NaN does not say which belongs to which. If they do
    not belong together so, the trial will say it.
    """
    into: dict[Axis, set[Axis]] = defaultdict(set)
    for link in found.links:
        if link.mixed and not link.source.name.isdigit() and link.source.size > 1:
            into[link.source].add(link.reader)
    families: dict[tuple[int, frozenset[Axis]], list[Axis]] = defaultdict(list)
    linked = {link.source for link in found.links if not link.mixed}
    for source, readers in into.items():
        if source not in linked:
            families[source.size, frozenset(readers)].append(source)
    pairs = {source: family for family in families.values() if len(family) > 1 for source in family}
    joined: dict[tuple[Axis, int], Places] = {}
    kept: list[Places] = []
    for channel in channels:
        axis, (place, *_) = next(iter(channel.items()))
        if axis in pairs and len(channel) == 1:
            first = (pairs[axis][0], place)
            if first not in joined:
                joined[first] = {}
                kept.append(joined[first])
            joined[first][axis] = [place]
        else:
            kept.append(channel)
    return kept


def _barred(layers: Mapping[str, nn.Module], found: Reach) -> dict[Axis, str]:
    """Axes of which nothing is cut, and why."""
    tied = {path for owners in owners_of(layers[""]).values() if len(owners) > 1 for path in owners}
    barred = {link.source: TO_THE_ANSWER for link in found.links if link.mixed and link.reader.name == ANSWER}
    for axis in {one for link in found.links for one in (link.source, link.reader)} | found.failing:
        owner = axis.layer.rpartition(".")[0] if axis.name.isdigit() else axis.layer
        if axis.name == ANSWER:
            barred[axis] = TO_THE_ANSWER
        elif owner in tied:
            barred[axis] = f"{owner!r} shares its weights with another layer, or has two names"
        elif getattr(layers[owner], "groups", 1) != 1 and not is_depthwise(layers[owner]):
            barred[axis] = "a grouped convolution reads or makes its channels"
        elif axis.name.isdigit() and axes(layers[owner]):
            barred[axis] = OWN_CODE
        elif axis in found.failing:
            barred[axis] = "the net does not run if what it puts out is no number"
        elif axis.size == 1 and axis.name != PADDING:
            barred[axis] = "it has a single channel"
    return barred


def _why_stays(channel: Places, barred: Mapping[Axis, str], mixed: Set[Axis]) -> str | None:
    """Why a channel is not even tried."""
    why = next((barred[axis] for axis in channel if axis in barred), None)
    if why is not None:
        return why
    if any(axis.size == len(places) for axis, places in channel.items() if axis.name != PADDING):
        return "all its channels are tied to each other"
    if any(axis.name == INPUTS for axis in channel) or len([axis for axis in channel if axis in mixed]) > 1:
        return None
    return MIXED if not mixed.isdisjoint(channel) else UNREAD


def _group(name: str, channels: Iterable[Places], layers: Mapping[str, nn.Module]) -> Group:
    """The channels of a group, in the order of the outputs of the layer that it is named after."""
    channels = list(channels)
    named = next(axis for axis in channels[0] if axis[:2] == (name, OUTPUTS))
    pairs: dict[Axis, list[tuple[int, int]]] = defaultdict(list)
    for number, channel in enumerate(sorted(channels, key=lambda channel: channel[named])):
        for axis, places in channel.items():
            pairs[axis] += [(place, number) for place in places]
    order = {path: place for place, path in enumerate(layers)}
    in_order = sorted(pairs, key=lambda axis: (axis != named, order.get(axis.layer, len(order)), axis.name == INPUTS))
    return Group(len(channels), tuple(_member(axis, pairs[axis], layers.get(axis.layer)) for axis in in_order))


def _member(axis: Axis, pairs: Iterable[tuple[int, int]], layer: nn.Module | None) -> Member:
    """A member with these pairs of place and channel; the filters of a depthwise convolution for each of its inputs."""
    several = filters_per_channel(layer) if layer is not None and axis.name == OUTPUTS else 1
    expanded = sorted((place * several + one, channel) for place, channel in pairs for one in range(several))
    places, numbers = zip(*expanded, strict=True)
    return Member(axis.layer, axis.name, places, numbers, isinstance(layer, _ConvTransposeNd) and is_product(layer))


def _left_whole(
    module: nn.Module, found: Reach, groups: Sequence[Group], whole: Mapping[str, str]
) -> Iterable[tuple[str, str]]:
    """Every layer with weights of which no channel is in a group, with the reason."""
    offered = {member.layer for group in groups for member in group.members if member.axis not in (INPUTS, PADDING)}
    read = {link.source.layer.rpartition(".")[0] for link in found.links if link.source.name.isdigit()}
    mixed = {link.reader.layer for link in found.links if link.mixed}
    for path, layer in _with_weights(module):
        if path in offered or any(tensor in offered for tensor, _ in layer.named_parameters(path, recurse=False)):
            continue
        why = _why_whole(layer)
        if why is None and path not in found.ran:
            why = OWN_CODE if path in read else "nothing runs through it when the net answers"
        unmade = MIXED if path in mixed else FROM_INPUTS
        yield path, why or whole.get(path, unmade if is_depthwise(layer) else UNREAD)


def _with_weights(module: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """Layers with parameters of their own that are neither norms nor activations, by path."""
    for path, layer in module.named_modules():
        product = is_product(layer) or is_depthwise(layer)
        other = not axes(layer) and not isinstance(layer, (*NORMS, nn.PReLU))
        if any(True for _ in layer.parameters(recurse=False)) and (product or other):
            yield path, layer


def _why_whole(layer: nn.Module) -> str | None:
    """Why the channels of a layer are not asked for at all."""
    if not axes(layer):
        return f"a {type(layer).__name__} cannot be cut"
    return "it is a grouped convolution" if getattr(layer, "groups", 1) != 1 and not is_depthwise(layer) else None
