"""Groups of channels of any net, and nets with some of them cut out: what a technique of yours prunes channels with.

A ``Net`` stays a ``Net``. A plain torch module gives a plain torch module: a smaller copy.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping, Sequence
from typing import Any, overload

from torch import nn

from joulemark.nets import dependencies
from joulemark.nets.answers import NetFailsError, copied
from joulemark.nets.axes import INPUTS, OUTPUTS
from joulemark.nets.groups import Group
from joulemark.nets.net import Net
from joulemark.vocabulary import tell

MOST_NAMES = 4
"""Layers that a group names before it only counts them."""


class ChannelGroup(Group):
    """A group that prints as a person reads it: how many channels, what else carries them, what reads them."""

    __slots__ = ()

    def __repr__(self) -> str:
        axes = {OUTPUTS: "with", INPUTS: "read by"}
        named = {
            words: dict.fromkeys(one.layer for one in self.members[1:] if one.axis == axis)
            for axis, words in axes.items()
        }
        others = dict.fromkeys(one.layer for one in self.members[1:] if one.axis not in axes)
        named["with"] |= others
        parts = [f"{words} {_listed([*layers])}" for words, layers in named.items() if layers]
        return ", ".join([f"{self.name}: {self.channels} channels", *parts])


def channel_groups(net: Net | nn.Module, *, input_shape: Sequence[int] | None = None) -> list[ChannelGroup]:
    """The groups of channels that can be cut from ``net``, in the order of its layers.

    A channel is made by one layer and read by others, so all that hangs together is one group; each is found by running
    the net (:mod:`joulemark.nets.dependencies`). A plain torch module needs the ``input_shape`` of one input, channels
    first; it stays as it is. Raises ``ValueError`` for a net that has exits, parts or number formats already, for one
    that does not run on such inputs, and for a missing or wrong ``input_shape``.

    >>> channel_groups(Net.new("lenet", (1, 28, 28), seed=0))[0]
    stage1.conv: 20 channels, read by stage2.conv
    >>> channel_groups(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)), input_shape=(3, 8, 8))
    [0: 8 channels, read by 2]
    """
    tell([__name__])  # the trace of a technique that calls this holds this module
    return [ChannelGroup(*group) for group in dependencies.channel_groups(_as_net(net, input_shape))]


@overload
def keep_channels(net: Net, kept: Mapping[str, Sequence[int]], groups: Sequence[Group] | None = None) -> Net: ...
@overload
def keep_channels(
    net: nn.Module, kept: Mapping[str, Sequence[int]], groups: Sequence[Group] | None = None
) -> nn.Module: ...
def keep_channels(
    net: Net | nn.Module, kept: Mapping[str, Sequence[int]], groups: Sequence[Group] | None = None
) -> Net | nn.Module:
    """``net`` with only the channels ``kept`` of the groups that it names; a group it does not name keeps all.

    ``kept`` maps the name of a group to numbers of channels, 0 to ``group.channels - 1``. ``groups`` are those of
    :func:`channel_groups`; for a ``Net`` they are found anew if not given. Weights, biases, norms and masks are cut,
    so the net is really smaller. A plain module is copied, and the copy is on the CPU. Raises ``ValueError`` for a
    name that is no group's, for channels that a group does not have, has twice or has none of, and for a plain module
    without ``groups``.

    >>> net = Net.new("lenet", (1, 28, 28), seed=0)
    >>> keep_channels(net, {"stage1.conv": range(5)}).module().stage1.conv
    Conv2d(1, 5, kernel_size=(5, 5), stride=(1, 1))
    """
    tell([__name__])
    if isinstance(net, Net):
        return dependencies.keep(net, kept, groups)
    if groups is None:
        raise ValueError(
            "a plain torch module is cut by its groups: give those of channel_groups(net, input_shape=...)"
        )
    modes = {path: layer.training for path, layer in net.named_modules()}
    smaller = dependencies.keep(_as_net(net, (1,)), kept, groups).module()  # the groups are known: nothing is run
    for path, layer in smaller.named_modules():
        layer.training = modes.get(path, net.training)
    return smaller


@dataclasses.dataclass(frozen=True)
class _ModuleNet(Net):
    """A torch module in the place of a net. It has no builder, so it can be searched and cut, and not be saved."""

    given: nn.Module = dataclasses.field(default_factory=nn.Identity)

    def module(self, *, formats: bool = True, training: bool = False) -> nn.Module:
        """A copy of the module on the CPU, in evaluation mode."""
        try:
            return copied(self.given).cpu().eval()
        except NetFailsError as error:
            raise ValueError(f"this torch module cannot be copied ({error}), so it is not cut") from error

    def with_state(self, module: nn.Module) -> Net:
        """The same with ``module`` in place of the module."""
        return dataclasses.replace(self, given=module)


def _as_net(net: Any, input_shape: Sequence[int] | None) -> Net:
    if isinstance(net, Net):
        if input_shape is not None and tuple(input_shape) != net.input_shape:
            raise ValueError(f"input_shape={tuple(input_shape)} does not fit the net, which takes {net.input_shape}")
        return net
    if not isinstance(net, nn.Module):
        raise ValueError(f"channels are those of a joulemark.Net or a torch module, not of {type(net).__name__}")
    if input_shape is None:
        raise ValueError("a plain torch module needs the shape of one input, as input_shape=(3, 224, 224)")
    try:
        shape = tuple(operator.index(size) for size in input_shape)
    except TypeError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ValueError(f"input_shape={input_shape!r} is no shape of one input: give whole numbers, as (3, 224, 224)")
    return _ModuleNet(builder="", input_shape=shape, given=net)


def _listed(layers: Sequence[str]) -> str:
    more = len(layers) - MOST_NAMES
    return ", ".join(layers) if more < 2 else f"{', '.join(layers[:MOST_NAMES])} and {more} more"
