"""What an idle machine uses, with its spread, and what is left of a window's joules without it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import msgspec

from joulemark.record import Kind, Quantity

IDLE_BLOCKS = 10
"""An idle window is cut into so many blocks of equal length, whose spread is what idle power varied by."""

T_IDLE = 2.262
"""Two-sided 95 % quantile of Student's t with IDLE_BLOCKS - 1 degrees of freedom (from tables)."""

SHORTEST_BLOCK_SECONDS = 0.1
"""An idle window of shorter blocks is not cut: the phase of the counter's updates would be most of their spread."""


def idle_of(seconds: Sequence[Quantity], joules: Sequence[Quantity], *, too_short: bool) -> dict[str, Quantity]:
    """Sums over idle blocks. The random uncertainty of the joules is what the spread of the blocks' power tells.

    That is n * s / sqrt(n) for n blocks with standard deviation s of their joules; the phase error of a counter is in
    s. With one block nothing is known of the spread, and its own uncertainty stands. Unknown if one block is.
    ``too_short`` says whether all of them together are; each alone may be.
    """
    if len(joules) == 1:
        return {"seconds": seconds[0], "joules": joules[0]}
    total_seconds = math.fsum(one.value or 0.0 for one in seconds)
    told = dict.fromkeys(flag for one in joules for flag in one.flags if flag != "too_short")
    flags = (("too_short",) if too_short else ()) + tuple(told)
    values = [one.value for one in joules if one.value is not None]
    length = msgspec.structs.replace(seconds[0], value=total_seconds)
    if len(values) < len(joules):
        reason = next(one.reason for one in joules if one.value is None)
        return {
            "seconds": length,
            "joules": msgspec.structs.replace(
                joules[0], value=None, random=None, systematic=None, flags=flags, reason=reason
            ),
        }
    total = math.fsum(values)
    powers = [value / one.value for value, one in zip(values, seconds, strict=True) if one.value]
    random = statistics.stdev(powers) / math.sqrt(len(powers)) * total_seconds
    gain = _gain(joules[0])
    systematic = None if gain is None else abs(total) * gain
    whole = msgspec.structs.replace(
        joules[0], value=total, random=random, systematic=systematic, flags=flags, count=len(values)
    )
    return {"seconds": length, "joules": whole}


def net_of(joules: Quantity, seconds: Quantity, idle: dict[str, Quantity]) -> Quantity:
    """Gross joules less the idle power times the seconds; unknown, with the reason, where one of them is.

    Errors of both windows are independent and make the interval, T_IDLE standard uncertainties to either side. The gain
    of a counter scales gross and idle alike, hence the net; it is not in the interval. Never cut off at 0.
    """

    def net(value: float | None, random: float | None, systematic: float | None, reason: str | None) -> Quantity:
        half = None if value is None or random is None else T_IDLE * random
        return Quantity(
            value=value, unit="J", kind=Kind.MEASURED, method="energy counter, less idle power times seconds",
            scope=joules.scope, source=joules.source, random=random, systematic=systematic, reason=reason,
            paths=joules.paths, gain=joules.gain,
            flags=tuple(dict.fromkeys([*joules.flags, *(idle["joules"].flags if idle else ())])),
            low=None if value is None or half is None else value - half,
            high=None if value is None or half is None else value + half,
        )  # fmt: skip

    if not idle:
        return net(None, None, None, "no idle window was asked for (--idle SECONDS)")
    rest, length = idle["joules"], idle["seconds"]
    if joules.value is None or rest.value is None or not length.value or seconds.value is None:
        return net(None, None, None, joules.reason or rest.reason or "a window has no seconds")
    share = seconds.value / length.value
    value = joules.value - rest.value * share
    random = math.hypot(joules.random or 0.0, (rest.random or 0.0) * share)
    gain = _gain(joules)
    return net(value, random, abs(value) * gain if gain is not None else None, None)


def _gain(joules: Quantity) -> float | None:
    """Standard uncertainty of the scale, as a share."""
    return joules.systematic / joules.value if joules.systematic is not None and joules.value else None


def with_idle(net: Quantity, seconds: Quantity, idle: dict[str, Quantity]) -> Quantity:
    """The median of net joules with an interval that holds the idle power's error, too: it is the same in every run."""
    if net.count is None or net.value is None or net.low is None or net.high is None or not idle["seconds"].value:
        return net
    half = T_IDLE * (idle["joules"].random or 0.0) * (seconds.value or 0.0) / idle["seconds"].value
    low, high = net.value - math.hypot(net.value - net.low, half), net.value + math.hypot(net.high - net.value, half)
    return msgspec.structs.replace(net, low=low, high=high)
