"""Energy of a window from the raw readings of a trace; pure arithmetic, so that the file gives the same number again.

The time of a source falls into spans, from each reading to the next. A span of a counter has the joules of its
:class:`~joulemark.meters.counter.CounterTrack` step. A span of a power sensor has the area of the trapezoid, and its
first and last reading are held towards the edges. Between two readings p and q of power, T seconds apart, nobody
looked: a standard uncertainty of T |p - q| / sqrt(2), the readings' own scatter by their successive differences (von
Neumann 1941, doi:10.1214/aoms/1177731677, recalled). A span whose energy is not known is lost time. A reading that
failed costs nothing if a later one of the counter works.

A span that crosses an edge of the window counts by its share f of the time. If the power of its two parts differs by
as much as its mean, that is wrong by f (1 - f) of its joules, which is taken as its standard uncertainty. An edge
within one update period of a reading is set on it: the phase error below covers that.

The energy of a window with lost time is unknown (``None``). What is known of it stands in ``low``: it used at least
that. ``high`` adds the most that the part can have used in the lost time. Both are as the sensor counts, without gain.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import msgspec

from joulemark.meters.agreement import cross_checked
from joulemark.meters.counter import CounterTrack, Gap, Implausible, Plain, Reset, Step, Stuck, Wrapped
from joulemark.meters.trace import Line, SourceFacts, Trace, read_trace
from joulemark.record import Kind, Quantity, Reading, Record

SHORTEST_UPDATES = 20
"""Below this many update periods a window is flagged ``too_short``: its phase error passes 2 % (1 / (20 sqrt 6))."""

HELD_UPDATES = 4
"""A power reading speaks for the time to the next if that comes within so many periods of updates or of the sampler.

Ours: far above the jitter of a sampler, and short beside any window that is not too short.
"""

STARVED_SHARE = 0.9
"""A sampler that read in less than this share of its slots is flagged (ours)."""

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


def joules_of_all(trace: Trace, start_ns: int, stop_ns: int) -> list[Quantity]:
    """Joules of every source between two instants, in the order of the header; counters are held against powers."""
    sources = trace.header.sources
    return cross_checked(sources, [joules_of(trace, place, start_ns, stop_ns) for place in range(len(sources))])


def joules_of(trace: Trace, source: int, start_ns: int, stop_ns: int) -> Quantity:
    """Joules of one source (its place in the header) between two instants, by all that the trace holds of it."""
    facts = trace.header.sources[source]
    readings = _around(trace.readings(source), start_ns, stop_ns)
    failed = [words for _, words in trace.failed[source][-1:]]
    power = facts.kind == "power"
    if power:
        spans, bad = _integrated(facts, trace, readings, start_ns, stop_ns)
        left_ns, right_ns = start_ns, stop_ns
    else:
        spans, bad = _counted(facts, trace.sleeps, readings)
        left_ns, right_ns = _on_readings(facts, readings, start_ns, stop_ns)
    unread = ("unread", next(iter([*bad, *failed]), "it was not read at the edges of the window"))
    tally = _tally(spans, left_ns, right_ns, unread)
    slept_ns = sum(slept for before, after, slept in trace.sleeps if before < stop_ns and after > start_ns)
    share = polled_share(trace, source, start_ns, stop_ns)
    flags = ("starved",) if share is not None and share < STARVED_SHARE else ()
    return _quantity(facts, tally, (stop_ns - start_ns) / 1e9, slept_ns / 1e9, flags)


def ticks_of(trace: Trace, source: int, start_ns: int, stop_ns: int) -> list[tuple[int, float]]:
    """When a counter was seen to have changed between two instants (ns), and its joules since the first reading.

    For :func:`joulemark.meters.slope.joules_per_iteration`. Time that was lost has no joules here.
    """
    readings = _around(trace.readings(source), start_ns, stop_ns)
    spans, _ = _counted(trace.header.sources[source], trace.sleeps, readings)
    sums = accumulate(span.joules for span in spans)
    return [(span.stop_ns, joules) for span, joules in zip(spans, sums, strict=True) if span.joules > 0]


def track_of(facts: SourceFacts) -> CounterTrack:
    """A new track of a counter. Raises ``ValueError`` for facts that cannot be."""
    return CounterTrack(
        unit_joules=facts.unit,
        modulus=facts.modulus,
        max_watts=facts.max_watts,
        update_seconds=facts.update_seconds,
    )


def polled_share(trace: Trace, source: int, start_ns: int, stop_ns: int) -> float | None:
    """Share of the sampler's slots in which it came to read the source; ``None`` without a sampler or under 5 slots.

    Slots are numbered, so a sampler that was kept from running, or killed, left a hole. A read that failed was tried.
    """
    period = trace.header.period_seconds
    slots = int((stop_ns - start_ns) / 1e9 / period) if period else 0
    if slots < 5:
        return None
    tried = {slot for slot, reading in trace.polled[source] if start_ns <= reading.before_ns < stop_ns}
    failed = sum(start_ns <= at_ns < stop_ns for at_ns, _ in trace.failed[source])
    return min((len(tried) + failed) / slots, 1.0)


def _around(readings: list[Reading], start_ns: int, stop_ns: int) -> list[Reading]:
    """Readings within, the last one before and the first one after."""
    first = max((i for i, one in enumerate(readings) if one.after_ns <= start_ns), default=0)
    last = next((i for i in range(first, len(readings)) if readings[i].before_ns >= stop_ns), len(readings))
    return readings[first : last + 1]


def _instant(reading: Reading) -> int:
    return (reading.before_ns + reading.after_ns) // 2


def _on_readings(facts: SourceFacts, readings: Sequence[Reading], start_ns: int, stop_ns: int) -> tuple[int, int]:
    """The edges, each set on its reading if that is at most one update period away."""
    if not readings:
        return start_ns, stop_ns
    reach_ns = facts.update_seconds * 1e9
    first, last = readings[0], readings[-1]
    if 0 <= start_ns - first.after_ns <= reach_ns:
        start_ns = _instant(first)
    if 0 <= last.before_ns - stop_ns <= reach_ns:
        stop_ns = _instant(last)
    return start_ns, stop_ns


def _counted(
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
            spans.append(_span(step, _instant(previous), _instant(reading), slept > 0))
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


def _integrated(
    facts: SourceFacts, trace: Trace, readings: Sequence[Reading], start_ns: int, stop_ns: int
) -> tuple[list[Span], list[str]]:
    """Spans of a power sensor, from edge to edge as far as its readings may be held."""
    held_ns = round(HELD_UPDATES * 1e9 * max(facts.update_seconds, trace.header.period_seconds or 0.0))
    bad = [f"{r.raw * facts.unit:.4g} W is no power of this part" for r in readings if not _possible(facts, r)]
    good = [reading for reading in readings if _possible(facts, reading)]
    spans = []
    for left, right in pairwise(good):
        before, after = _instant(left), _instant(right)
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
        first, last = _instant(good[0]), _instant(good[-1])
        lead, rest = min(max(first - start_ns, 0), held_ns), min(max(stop_ns - last, 0), held_ns)
        spans.append(Span(first - lead, first, good[0].raw * facts.unit * lead / 1e9))
        spans.append(Span(last, last + rest, good[-1].raw * facts.unit * rest / 1e9))
    return spans, bad


def _possible(facts: SourceFacts, reading: Reading) -> bool:
    return 0 <= reading.raw * facts.unit <= facts.max_watts


def _tally(spans: Sequence[Span], start_ns: int, stop_ns: int, unread: tuple[str, str]) -> Tally:
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
    lost += [(a, b, unread) for a, b in ((start_ns, first), (last, stop_ns)) if min(b, stop_ns) > a]
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


def _quantity(
    facts: SourceFacts, tally: Tally, seconds: float, slept_seconds: float, flags: tuple[str, ...]
) -> Quantity:
    counter = facts.kind == "counter"
    # A trailing average brings the power of an earlier time, which at both edges works as a longer period does.
    period = facts.update_seconds + (0.0 if counter else facts.averaging_seconds or 0.0)
    too_short = ("too_short",) if seconds < SHORTEST_UPDATES * period else ()
    wrapped = ("wrapped",) if tally.wrapped else ()
    unknown_gain = ("gain_unknown",) if facts.gain_uncertainty is None else ()
    lost_seconds = tally.lost_ns / 1e9 + slept_seconds
    known = not tally.reasons
    value = tally.joules
    told = "; ".join(why for _, why in tally.reasons)
    reason = f"{facts.scope}: {told} ({lost_seconds:.3g} s lost of {seconds + slept_seconds:.4g} s)"
    phase = value * period / (max(seconds, 1e-9) * math.sqrt(6))
    return Quantity(
        value=value if known else None,
        unit="J",
        kind=Kind.MEASURED,
        method="energy counter" if counter else "integrated power",
        scope=facts.scope,
        source=f"{facts.name} ({facts.citation})",
        low=None if known else value,
        high=None if known else value + facts.max_watts * lost_seconds,
        random=math.hypot(phase, tally.random) if known else None,
        systematic=value * facts.gain_uncertainty if known and facts.gain_uncertainty is not None else None,
        flags=(
            *too_short,
            *dict.fromkeys(flag for flag, _ in tally.reasons),
            *wrapped,
            *flags,
            *facts.flags,
            *unknown_gain,
        ),
        reason=None if known else reason,
        paths=(facts.path,) if facts.path else (),
        gain=facts.path or facts.scope,
        lost_seconds=lost_seconds,
        coverage=max(1 - lost_seconds / (seconds + slept_seconds), 0.0) if seconds > 0 else None,
    )


def unknown_joules(facts: SourceFacts, reason: str) -> Quantity:
    """Joules of a source in a window that has none, and why."""
    tally = Tally(0.0, 0.0, 0, (("", reason),), wrapped=False)
    quantity = _quantity(facts, tally, math.inf, 0.0, ())
    return msgspec.structs.replace(
        quantity, low=None, high=None, reason=reason, flags=(), lost_seconds=None, coverage=None
    )


class Replayed(Record, frozen=True, kw_only=True):
    """One source in one window: what was stored, what its raw readings give, and whether that is the same."""

    window: str
    sensor: str = ""
    scope: str
    seconds: float
    stored: Quantity | None  # None: the window closed without a result
    recomputed: Quantity
    same: bool


def replay(path: Path) -> list[Replayed]:
    """Compute every closed window of a trace again, each from the lines before its closing edge.

    Raises ``OSError`` if the file cannot be read, ``ValueError`` if it is no trace.
    """
    header, lines = read_trace(path)
    trace = Trace(header)
    opened: dict[int | None, int] = {}
    stored = {line.k: line.q for line in lines if line.w == "result"}
    found: list[Replayed] = []
    for number, line in enumerate(lines, 2):
        try:
            trace.add(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        if line.w == "open" and line.t is not None:
            opened[line.k] = line.t
        elif line.w == "close" and line.t is not None and line.k in opened:
            found += _window(trace, line, opened.pop(line.k), line.t, stored.get(line.k))
    return found


def _window(
    trace: Trace, line: Line, start_ns: int, stop_ns: int, stored: tuple[Quantity, ...] | None
) -> Iterator[Replayed]:
    every = zip(trace.header.sources, joules_of_all(trace, start_ns, stop_ns), strict=True)
    for source, (facts, recomputed) in enumerate(every):
        before = stored[source] if stored is not None and source < len(stored) else None
        yield Replayed(
            window=line.name or "",
            sensor=facts.name,
            scope=facts.scope,
            seconds=(stop_ns - start_ns) / 1e9,
            stored=before,
            recomputed=recomputed,
            same=before == recomputed,
        )
