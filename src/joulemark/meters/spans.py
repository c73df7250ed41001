"""Spans: the time between two readings of a source, and its joules, or why they are not known.

The time of a source falls into spans, from each reading to the next. A span of a counter has the joules of its
:class:`~joulemark.meters.counter.CounterTrack` step. A span of a power sensor has the area of the trapezoid, and its
first and last reading are held towards the edges. Between two readings p and q of power, T seconds apart, nobody
looked: a standard uncertainty of T |p - q| / sqrt(2), the readings' own scatter by their successive differences (von
Neumann 1941, doi:10.1214/aoms/1177731677, recalled). A span whose energy is not known is lost time. A reading that
failed costs nothing if a later one of the counter works.

A span that crosses an edge of the window counts by its share f of the time. If the power of its two parts differs by
as much as its mean, that is wrong by f (1 - f) of its joules, which is taken as its standard uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from joulemark.meters.counter import CounterTrack, Gap, Implausible, Plain, Reset, Step, Stuck, Wrapped
from joulemark.meters.trace import SourceFacts, Trace
from joulemark.record import Reading

HELD_UPDATES = 4
"""A power reading speaks for the time to the next if that comes within so many periods of updates or of the sampler.

Ours: far above the jitter of a sampler, and short beside any window that is not too short.
"""

_LOST = {
    Reset: ("reset", "its counter was reset"),
    Gap: ("gap", "its counter was not read for so long that it may have wrapped unseen; take a shorter window"),
    Implausible: ("implausible", "its counter rose faster than the part can use energy"),
    Stuck: ("stuck", "its counter stood still"),
}
_SLEPT = ("suspended", "the machine slept")


@dataclass(frozen=True)
class Span:
    """Time between two readings: its joules, or why they are not known (a flag and words)."""

    start_ns: int
    stop_ns: int
    joules: float = 0.0
    random: float = 0.0  # standard uncertainty
    lost: tuple[str, str] | None = None
    wrapped: bool = False


@dataclass(frozen=True)
class Tally:
    """What the spans say of a window."""

    joules: float  # of the time that is known
    random: float  # standard uncertainty of the spans and of what was cut at the edges
    lost_ns: int
    reasons: tuple[tuple[str, str], ...]
    wrapped: bool


def track_of(facts: SourceFacts) -> CounterTrack:
    """A new track of a counter. Raises ``ValueError`` for facts that cannot be."""
    return CounterTrack(
        unit_joules=facts.unit,
        modulus=facts.modulus,
        max_watts=facts.max_watts,
        update_seconds=facts.update_seconds,
    )


def instant(reading: Reading) -> int:
    """The middle of the read, in nanoseconds."""
    return (reading.before_ns + reading.after_ns) // 2


def counted(
    facts: SourceFacts, sleeps: Sequence[tuple[int, int, int]], readings: Sequence[Reading]
) -> tuple[list[Span], list[str]]:
    """Spans of a counter, and the words for readings that cannot be."""
    track = track_of(facts)
    spans: list[Span] = []
    bad: list[str] = []
    previous: Reading | None = None
    for reading in readings:
        slept = 0 if previous is None else _slept_ns(sleeps, previous, reading)
        try:
            step = track.update(reading, suspended_seconds=slept / 1e9)
        except ValueError as error:
            bad.append(str(error))
            continue
        if previous is not None:
            spans.append(_span(step, instant(previous), instant(reading), slept > 0))
        previous = reading
    return spans, bad


def _span(step: Step, start_ns: int, stop_ns: int, slept: bool) -> Span:
    if isinstance(step, Plain | Wrapped):
        return Span(start_ns, stop_ns, step.joules, wrapped=isinstance(step, Wrapped))
    if isinstance(step, Stuck):  # it takes back the time that was called plain before
        start_ns = min(start_ns, stop_ns - round(step.lost_seconds * 1e9))
    return Span(start_ns, stop_ns, lost=_SLEPT if slept else _LOST[type(step)])


def _slept_ns(sleeps: Iterable[tuple[int, int, int]], previous: Reading, reading: Reading) -> int:
    return sum(ns for before, after, ns in sleeps if before < reading.after_ns and after > previous.before_ns)


def integrated(
    facts: SourceFacts, trace: Trace, readings: Sequence[Reading], start_ns: int, stop_ns: int
) -> tuple[list[Span], list[str]]:
    """Spans of a power sensor, from edge to edge as far as its readings may be held."""
    held_ns = round(HELD_UPDATES * 1e9 * max(facts.update_seconds, trace.header.period_seconds or 0.0))
    bad = [f"{r.raw * facts.unit:.4g} W is no power of this part" for r in readings if not _possible(facts, r)]
    good = [reading for reading in readings if _possible(facts, reading)]
    spans = []
    for left, right in pairwise(good):
        before, after = instant(left), instant(right)
        seconds = (after - before) / 1e9
        joules = 0.5 * (left.raw + right.raw) * facts.unit * seconds
        if _slept_ns(trace.sleeps, left, right):
            spans.append(Span(before, after, lost=_SLEPT))
        elif after - before > held_ns:
            spans.append(
                Span(before, after, lost=("unread", "its power was not read often enough; it needs a sampler"))
            )
        else:
            random = abs(left.raw - right.raw) * facts.unit * seconds / math.sqrt(2)
            spans.append(Span(before, after, joules, random))
    if good:
        first, last = instant(good[0]), instant(good[-1])
        lead, rest = min(max(first - start_ns, 0), held_ns), min(max(stop_ns - last, 0), held_ns)
        spans.append(Span(first - lead, first, good[0].raw * facts.unit * lead / 1e9))
        spans.append(Span(last, last + rest, good[-1].raw * facts.unit * rest / 1e9))
    return spans, bad


def _possible(facts: SourceFacts, reading: Reading) -> bool:
    return 0 <= reading.raw * facts.unit <= facts.max_watts


def tally_of(spans: Sequence[Span], start_ns: int, stop_ns: int, unread: tuple[str, str]) -> Tally:
    """Sum over a window; time that no span covers is ``unread``."""
    known: list[float] = []
    randoms: list[float] = []
    wrapped = False
    lost: list[tuple[int, int, tuple[str, str]]] = []
    for span in spans:
        left, right = max(span.start_ns, start_ns), min(span.stop_ns, stop_ns)
        if left > right or (left == right and span.start_ns < span.stop_ns):
            continue
        if span.lost is not None:
            lost.append((left, right, span.lost))
            continue
        share = (right - left) / (span.stop_ns - span.start_ns) if span.stop_ns > span.start_ns else 1.0
        known.append(share * span.joules)
        randoms += [share * (1 - share) * span.joules, share * span.random]
        wrapped |= span.wrapped
    first = min((span.start_ns for span in spans), default=stop_ns)
    last = max((span.stop_ns for span in spans), default=stop_ns)
    edges = ((start_ns, min(first, stop_ns)), (max(last, start_ns), stop_ns))
    lost += [(left, right, unread) for left, right in edges if right > left]
    reasons = tuple(dict.fromkeys(why for _, _, why in lost))
    return Tally(math.fsum(known), math.hypot(*randoms), _union_ns(lost), reasons, wrapped)


def _union_ns(parts: Iterable[tuple[int, int, object]]) -> int:
    """Length of the union of intervals: stuck time takes back what was plain, and may overlap."""
    total, reached = 0, None
    for left, right, _ in sorted(parts, key=lambda part: part[:2]):
        left = left if reached is None else max(left, reached)
        total += max(right - left, 0)
        reached = right if reached is None else max(reached, right)
    return total
