"""Counters that are one counter: some processors show that of the whole socket in the zone of every die.

Seen on a Threadripper 1950X (public report, recalled): two dies, each zone at 68 W, with 125 W at the plug. The dies of
other packages (Cascade Lake AP) have counters of their own, which must be added. Names do not tell them apart; what is
read does. Read in turn, two views of one counter never go back and rise no faster than the part can draw power;
counters of their own would have to stand within a joule or two of each other, of a quarter of a million that they count
to.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec

from joulemark.meters.trace import SourceFacts
from joulemark.record import Quantity, Reading

FLAG = "mirrored"
"""On every counter that shows what another one counts already."""
_DIE = re.compile(r"(.*/(?:package|dram)-\d+)/die-\d+")


def mirrored(
    sources: Sequence[SourceFacts], joules: Sequence[Quantity], readings: Callable[[int], Sequence[Reading]]
) -> list[Quantity]:
    """Joules of one window, one a source, with a flag on every die whose counter is that of another one.

    ``readings`` gives those of a source around the window, by its place, in the order of time.
    """
    found = list(joules)
    for place, facts in enumerate(sources):
        for other in range(place):
            if (
                FLAG not in found[other].flags
                and _dies_of_one(sources[other], facts)
                and _one_counter(facts, readings(other), readings(place))
            ):
                # Of two views the one that is known counts.
                gone = other if found[other].value is None and found[place].value is not None else place
                found[gone] = msgspec.structs.replace(found[gone], flags=(*found[gone].flags, FLAG))
                break
    return found


def _dies_of_one(one: SourceFacts, other: SourceFacts) -> bool:
    """Whether they are counters of the same form, of two dies in one package."""
    packages = [_DIE.fullmatch(facts.path) for facts in (one, other)]
    same_form = (one.kind, one.unit, one.modulus) == ("counter", other.unit, other.modulus)
    return same_form and all(packages) and len({match[1] for match in packages if match}) == 1


def _one_counter(facts: SourceFacts, *views: Sequence[Reading]) -> bool:
    """Whether the readings of two sources, taken together, are a plausible course of one counter."""
    if min(map(len, views)) < 2:
        return False
    course = sorted((one for view in views for one in view), key=lambda one: one.before_ns)
    for one, after in pairwise(course):
        rise = _rise(facts, one, after)
        if after.before_ns < one.after_ns:  # at the same time, so either may have come first
            rise = min(rise, _rise(facts, after, one))
        if rise > facts.max_watts * (_seconds(one, after) + facts.update_seconds):
            return False
    return True


def _rise(facts: SourceFacts, one: Reading, after: Reading) -> float:
    """Joules from one reading to another; a counter that went back went nearly all the way round, or cannot have."""
    rise = after.raw - one.raw
    if rise < 0:
        return (rise % facts.modulus) * facts.unit if facts.modulus else math.inf
    return rise * facts.unit


def _seconds(one: Reading, after: Reading) -> float:
    """The longest that two reads can have been apart."""
    return (max(one.after_ns, after.after_ns) - min(one.before_ns, after.before_ns)) / 1e9 or 1e-9
