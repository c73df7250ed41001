"""Groups of channels that are cut together: what is in them, the edits that cut some, and which are the strongest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from joulemark.nets.axes import INPUTS, OUTPUTS, length
from joulemark.nets.edits.pad_channels import padded_channels
from joulemark.nets.probe import PADDING, tensors_of


class Member(NamedTuple):
    """One axis of one layer: of each of its ``places``, the channel of the group that it belongs to.

    A layer that passes channels on, as a norm or a depthwise convolution, is there once, by its outputs. ``axis`` is
    "outputs" or "inputs"; for a tensor that is in no layer the number of a dimension, and ``layer`` is its name; for a
    block whose shortcut pads channels of zeros "padding", and the places are those in front, then those behind.
    """

    layer: str
    axis: str
    places: tuple[int, ...]
    channels: tuple[int, ...]
    transposed: bool = False
    """Whether the weight has inputs first, outputs second."""

    @property
    def tensors(self) -> dict[str, int]:
        """Names of what makes, scales, shifts or reads the channels, if it is there, and the dimension they are."""
        if self.axis == PADDING:
            return {}
        if self.axis.isdigit():
            return {self.layer: int(self.axis)}
        weight = {f"{self.layer}.weight": int((self.axis == INPUTS) != self.transposed)}
        return {**weight, f"{self.layer}.bias": 0, f"{self.layer}.running_mean": 0} if self.axis == OUTPUTS else weight

    def places_without(self, channels: Collection[int]) -> list[int]:
        """The places of all channels of the group but these."""
        return [place for place, channel in zip(self.places, self.channels, strict=True) if channel not in channels]


class Group(NamedTuple):
    """Channels each of which is cut with all that it is in; the first member is the layer that they are named after."""

    channels: int
    members: tuple[Member, ...]
    number: int = 1
    """Of several groups that are outputs of one layer and go different ways, which."""
    read_mixed: bool = False
    """Whether something else than its members reads the channels, all at once, as their sum or their maximum."""

    @property
    def name(self) -> str:
        """Path of the layer whose outputs they are, with its number behind it from the second on."""
        return self.members[0].layer if self.number == 1 else f"{self.members[0].layer}#{self.number}"


def channel_sums(group: Group, values: Mapping[str, Tensor]) -> Tensor:
    """For each channel of a group, (channels,), the sum of ``values`` over all parameters that go when it is cut.

    ``values`` are shaped as the parameters and named as they are; what has no value counts as 0.
    """
    total = torch.zeros(group.channels)
    for member in group.members:
        for name, dimension in member.tensors.items():
            value = values.get(name)
            if value is not None:
                sums = value.movedim(dimension, 0).flatten(1).sum(1) if value.dim() > 1 else value
                total.index_add_(0, torch.tensor(member.channels), sums[list(member.places)].to(total.dtype))
    return total


def strongest(scores: Mapping[str, Tensor], count: int, *, round_to: int = 1) -> dict[str, list[int]]:
    """The ``count`` channels with the greatest scores of all groups, to be kept; one at least of each group.

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


def cutting_edits(module: nn.Module, cuts: Sequence[tuple[Group, Collection[int]]]) -> tuple[dict[str, Any], ...]:
    """The edits that leave of each group only some channels, one for each layer that loses any."""
    lost: dict[str, dict[str, set[int]]] = {}
    for group, channels in cuts:
        for member in group.members:
            lost.setdefault(member.layer, {}).setdefault(member.axis, set()).update(member.places_without(channels))
    layers, tensors = dict(module.named_modules()), tensors_of(module)
    made: list[dict[str, Any]] = []
    for path, axes in lost.items():
        gone = {axis: places for axis, places in axes.items() if places}
        if gone.keys() & {OUTPUTS, INPUTS}:
            kept = {axis: _rest(length(layers[path], axis), gone.get(axis)) for axis in (OUTPUTS, INPUTS)}
            made.append({"edit": "keep_channels", "layer": path, **kept})
        if PADDING in gone:
            before, after = padded_channels(layers[path]) or (0, 0)
            front = sum(place < before for place in gone[PADDING])
            sizes = {"before": before - front, "after": after - (len(gone[PADDING]) - front)}
            made.append({"edit": "pad_channels", "block": path, **sizes})
        for axis in filter(str.isdigit, gone):
            rest = _rest(tensors[path].shape[int(axis)], gone[axis])
            made.append({"edit": "keep_entries", "tensor": path, "dimension": int(axis), "kept": rest})
    return tuple(made)


def _rest(size: int, gone: Collection[int] | None) -> list[int] | None:
    return [place for place in range(size) if place not in gone] if gone else None
