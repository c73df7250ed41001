"""What an idle machine uses, with its spread, and what is left of a window's joules without it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from joulemark.record import Kind, Quantity

IDLE_BLOCKS = 10
"""An idle window is cut into so many blocks of equal length, whose spread is what idle power varied by."""

SHORTEST_BLOCK_SECONDS = 0.1
"""An idle window of shorter blocks is not cut: the phase of the counter's updates would be most of their spread."""

T_BEFORE, T_BOTH = 2.262, 2.093
"""Two-sided 95 % quantiles of Student's t with 9 and 19 degrees of freedom (from tables): one idle window, and two."""

DRIFTED_SHARE = 0.05
"""Idle power that differs by more than this before and after, and by more than chance, is flagged ``idle_drift``.

Ours. The state of the machine has changed, and nobody knows when: net joules hold for neither.
"""


@dataclass(frozen=True)
class Block:
    """A part of an idle window. ``too_short``: the whole window is too short for its slowest sensor."""

    seconds: Quantity
    joules: Quantity
    too_short: bool = False


def idle_of(before: Sequence[Block], after: Sequence[Block] = ()) -> dict[str, Quantity]:
    """Seconds and joules of idle windows before and after some work, as the sums over their blocks.

    The random uncertainty of the joules is what the spread of the blocks' power tells: T s / sqrt(n) for n blocks of T
    seconds together, whose power has the standard deviation s; half of a drift from before to after is in s. It is at
    least the blocks' own uncertainties (the phase errors of a counter) added in squares, which is all there is with a
    single block a window. Unknown if one block is.
    """
    blocks = [*before, *after]
    first = blocks[0]
    seconds = math.fsum(one.seconds.value or 0.0 for one in blocks)
    length = msgspec.structs.replace(first.seconds, value=seconds)
    told = dict.fromkeys(flag for one in blocks for flag in one.joules.flags if flag != "too_short")
    flags = (*(("too_short",) if any(one.too_short for one in blocks) else ()), *told)
    values = [one.joules.value for one in blocks if one.joules.value is not None]
    if len(values) < len(blocks):
        reason = next(one.joules.reason for one in blocks if one.joules.value is None)
        lost = msgspec.structs.replace(
            first.joules, value=None, random=None, systematic=None, low=None, high=None, flags=flags, reason=reason
        )
        return {"seconds": length, "joules": lost}
    total = math.fsum(values)
    gain = _gain(first.joules)
    random = math.hypot(*(one.joules.random or 0.0 for one in blocks))
    if len(before) > 1:
        random = max(random, statistics.stdev(_watts(blocks)) / math.sqrt(len(blocks)) * seconds)
        flags += ("idle_drift",) if len(after) > 1 and _drifted(_watts(before), _watts(after)) else ()
    whole = msgspec.structs.replace(
        first.joules,
        value=total,
        random=random,
        systematic=None if gain is None else abs(total) * gain,
        flags=flags,
        count=len(blocks) if len(before) > 1 else None,
    )
    return {"seconds": length, "joules": whole}


def _watts(blocks: Sequence[Block]) -> list[float]:
    return [
        one.joules.value / one.seconds.value for one in blocks if one.joules.value is not None and one.seconds.value
    ]


def _drifted(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether two windows differ by more than both the spread of their blocks and ``DRIFTED_SHARE``."""
    one, other = statistics.mean(before), statistics.mean(after)
    error = math.hypot(*(statistics.stdev(watts) / math.sqrt(len(watts)) for watts in (before, after)))
    return abs(one - other) > max(T_BOTH * error, DRIFTED_SHARE * max(one, other))


def net_of(joules: Quantity, seconds: Quantity, idle: dict[str, Quantity]) -> Quantity:
    """Gross joules less the idle power times the seconds; unknown, with the reason, where one of them is.

    Errors of both windows are independent and make the interval, :func:`quantile` standard uncertainties to either
    side. The gain of a counter scales gross and idle alike, hence the net; it is not in the interval. Never cut off at
    0.
    """

    def net(value: float | None, random: float | None, systematic: float | None, reason: str | None) -> Quantity:
        half = None if value is None or random is None else quantile(idle) * random
        return Quantity(
            value=value, unit="J", kind=Kind.MEASURED, method=f"{joules.method}, less idle power times seconds",
            scope=joules.scope, source=joules.source, random=random, systematic=systematic, reason=reason,
            paths=joules.paths, gain=joules.gain,
            flags=tuple(dict.fromkeys([*joules.flags, *(idle["joules"].flags if idle else ())])),
            low=None if value is None or half is None else value - half,
            high=None if value is None or half is None else value + half,
        )  # fmt: skip

    if not idle:
        return net(None, None, None, "no idle window was asked for (--idle SECONDS, or measure(idle_seconds=...))")
    rest, length = idle["joules"], idle["seconds"]
    if joules.value is None or rest.value is None or not length.value or seconds.value is None:
        return net(None, None, None, joules.reason or rest.reason or "a window has no seconds")
    share = seconds.value / length.value
    value = joules.value - rest.value * share
    random = math.hypot(joules.random or 0.0, (rest.random or 0.0) * share)
    gain = _gain(joules)
    return net(value, random, abs(value) * gain if gain is not None else None, None)


def quantile(idle: dict[str, Quantity]) -> float:
    """How many standard uncertainties of idle joules to either side make 95 %."""
    return T_BOTH if (idle["joules"].count or 0) > IDLE_BLOCKS else T_BEFORE


def _gain(joules: Quantity) -> float | None:
    """Standard uncertainty of the scale, as a share."""
    return joules.systematic / joules.value if joules.systematic is not None and joules.value else None


def with_idle(net: Quantity, seconds: Quantity, idle: dict[str, Quantity]) -> Quantity:
    """The median of net joules with an interval that holds the idle power's error, too: it is the same in every run."""
    if net.count is None or net.value is None or net.low is None or net.high is None or not idle["seconds"].value:
        return net
    half = quantile(idle) * (idle["joules"].random or 0.0) * (seconds.value or 0.0) / idle["seconds"].value
    low, high = net.value - math.hypot(net.value - net.low, half), net.value + math.hypot(net.high - net.value, half)
    return msgspec.structs.replace(net, low=low, high=high)
