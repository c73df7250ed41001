"""Whole channels of a net: which of a group go, by the outputs of the layers that read them, and taking them out.

The steps are those for single weights (:mod:`joulemark.techniques.pruning.reconstruction`), a channel at a time: the
largest are kept, the outputs of the readers say which others come back, and the readers are refitted to what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from joulemark.nets.dependencies import keep
from joulemark.nets.groups import Group
from joulemark.nets.net import Net
from joulemark.techniques.pruning.layerwise import Layer
from joulemark.techniques.pruning.reconstruction import MAGNITUDE_SHARE, Moments, Sums, error, largest, refit


class Reader(NamedTuple):
    """A layer that reads a group: moments, weights (1, filters, inputs), and the channel of each input.

    Inputs that are not of the group have the channel -1.
    """

    moments: Moments
    weights: Tensor
    channel: Tensor  # (inputs,)

    def columns(self, kept: Tensor) -> Tensor:
        """Which inputs are left if of the channels those ``kept`` (channels,) are."""
        return (self.channel < 0) | kept[self.channel]

    def lost(self, kept: Tensor) -> float:
        """Squared error without refitting, relative to the outputs, if only the channels ``kept`` are read."""
        gram, gone = self.moments.gram, self.weights * ~self.columns(kept)
        power = float(((self.weights @ gram) * self.weights).sum())
        return float(((gone @ gram) * gone).sum()) / power if power else 0.0


def input_channels(group: Group, layers: Mapping[str, Layer]) -> dict[str, Tensor]:
    """Of each layer that reads ``group``, by path, the channel of each input (inputs,), -1 where it is not of it."""
    found = {}
    for member in group.members:
        if member.axis == "inputs" and member.layer in layers:
            weight = layers[member.layer].layer.weight
            channel = torch.full(weight.shape[1:2], -1)
            channel[list(member.places)] = torch.tensor(member.channels)
            found[member.layer] = channel.repeat_interleave(weight[0, 0].numel())
    return found


def all_readers_in(group: Group, layers: Mapping[str, Layer]) -> bool:
    """Whether all that reads ``group`` is in ``layers``: what another kind of layer loses is not known."""
    reading = {member.layer for member in group.members if member.axis == "inputs"}
    return bool(reading) and reading <= layers.keys() and not group.read_mixed


def readers(group: Group, layers: Mapping[str, Layer], sums: Mapping[str, Sums]) -> list[Reader]:
    """The layers that read ``group``, in the order of :func:`input_channels`, as ``sums`` saw them."""
    return [
        Reader(layers[path].moments(sums[path]), layers[path].weights, channel)
        for path, channel in input_channels(group, layers).items()
    ]


def magnitudes(group: Group, layers: Mapping[str, Layer]) -> Tensor:
    """Sum of squares (channels,) of all weights that make or read a channel, as they are behind batch norm."""
    total = torch.zeros(group.channels, dtype=torch.float64)
    for member in group.members:
        if member.layer in layers:
            weights = layers[member.layer].weights
            squares = weights.view(layers[member.layer].layer.weight.shape).square().transpose(0, 1)
            squares = squares.transpose(0, 1) if member.axis == "outputs" else squares
            total.index_add_(0, torch.tensor(member.channels), squares.flatten(1).sum(1)[list(member.places)])
    return total


def chosen(sizes: Tensor, reading: Sequence[Reader], count: int) -> Tensor:
    """Mask (channels,) of the ``count`` channels to keep: what :func:`restored` finds, or the largest.

    Whichever makes the smaller error when the readers are refitted.
    """
    few = largest(sizes, round(MAGNITUDE_SHARE * count))
    ways = [restored(reading, few, count - int(few.sum())), largest(sizes, count)]

    def wrong(kept: Tensor) -> float:
        total = 0.0
        for one in reading:
            support = one.columns(kept).expand(one.weights.shape) & (one.weights != 0)
            power = float(one.moments.square.sum())
            total += float(error(one.moments, refit(one.moments, one.weights, support)).sum()) / (power or 1.0)
        return total

    return min(ways, key=wrong)


def restored(reading: Sequence[Reader], kept: Tensor, count: int) -> Tensor:
    """``kept`` (channels,) with ``count`` more channels, each the one that reduces the readers' relative errors most.

    A channel comes back at its trained weights w_c, which changes the error by -(2 w_c r_c - w_c mean(x_c x_c^T) w_c).
    """
    kept = kept.clone()
    inside = [one.channel >= 0 for one in reading]
    powers = [float(one.moments.square.sum()) or 1.0 for one in reading]
    residuals = [one.moments.cross[0] - (one.weights[0] * one.columns(kept)) @ one.moments.gram[0] for one in reading]
    own = []  # w_c mean(x_c x_c^T) w_c of each channel
    for one in reading:
        alike = one.channel[:, None] == one.channel
        own.append(((one.weights[0] @ (one.moments.gram[0] * alike)) * one.weights[0]).sum(0))
    for _ in range(count):
        gain = torch.zeros(len(kept), dtype=torch.float64)
        for one, where, power, residual, square in zip(reading, inside, powers, residuals, own, strict=True):
            by_input = (2.0 * one.weights[0] * residual).sum(0) - square
            gain.index_add_(0, one.channel[where], by_input[where] / power)
        best = int(gain.masked_fill(kept, -torch.inf).argmax())
        kept[best] = True
        for one, residual in zip(reading, residuals, strict=True):
            back = one.channel == best
            residual -= one.weights[0][:, back] @ one.moments.gram[0][back]
    return kept


def without(
    net: Net,
    module: nn.Module,
    layers: Mapping[str, Layer],
    sums: Mapping[str, Sums],
    groups: Iterable[Group],
    kept: Mapping[str, Tensor],
) -> Net:
    """``net`` with only the channels ``kept`` of each group, readers as they are but for the mean of their outputs.

    ``module`` stays as it is.
    """
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for group in groups:
        for path, channel in input_channels(group, layers).items():
            columns = (channel < 0) | kept[group.name][channel]
            layers[path].put(layers[path].weights * columns, sums[path])
    made = taken_out(net.with_state(module), groups, kept)
    module.load_state_dict(before)
    return made


def taken_out(net: Net, groups: Iterable[Group], kept: Mapping[str, Tensor]) -> Net:
    """``net`` cut to the channels ``kept`` (channels,) of each group that loses some."""
    groups = list(groups)
    return keep(net, {name: mask.nonzero()[:, 0].tolist() for name, mask in kept.items() if not mask.all()}, groups)
