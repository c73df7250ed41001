"""Energy of a window from the raw readings of a trace; pure arithmetic, so that the file gives the same number again.

What lies between the readings is in :mod:`joulemark.meters.spans`. An edge within one update period of a reading is set
on it: the phase error below covers that.

The energy of a window with lost time is unknown (``None``). What is known of it stands in ``low``: it used at least
that. ``high`` adds the most that the part can have used in the lost time. Both are as the sensor counts, without gain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import msgspec

from joulemark.meters.cross_check import cross_checked
from joulemark.meters.mirrors import mirrored
from joulemark.meters.spans import Tally, counted, instant, integrated, tally_of
from joulemark.meters.trace import Line, SourceFacts, Trace, read_trace
from joulemark.record import Kind, Quantity, Reading, Record

SHORTEST_UPDATES = 20
"""Below this many update periods a window is flagged ``too_short``: its phase error passes 2 % (1 / (20 sqrt 6))."""

EDGE_SECONDS = 1.0
"""A read that failed this near to a window is why its edge is not known (ours: reads take milliseconds)."""

STARVED_SHARE = 0.9
"""A sampler that read in less than this share of its slots is flagged (ours)."""


def joules_of_all(trace: Trace, start_ns: int, stop_ns: int) -> list[Quantity]:
    """Joules of every source between two instants, in the order of the header.

    Counters are held against powers, and against those of other dies, which may be the same ones.
    """
    sources = trace.header.sources
    joules = [joules_of(trace, place, start_ns, stop_ns) for place in range(len(sources))]
    checked = cross_checked(sources, joules)
    return mirrored(sources, checked, lambda place: _around(trace.readings(place), start_ns, stop_ns))


def joules_of(trace: Trace, source: int, start_ns: int, stop_ns: int) -> Quantity:
    """Joules of one source (its place in the header) between two instants, by all that the trace holds of it."""
    facts = trace.header.sources[source]
    readings = _around(trace.readings(source), start_ns, stop_ns)
    reach_ns = 1e9 * max(facts.update_seconds, EDGE_SECONDS)  # edges are read a moment before and after the window
    failed = [words for at_ns, words in trace.failed[source] if start_ns - reach_ns <= at_ns <= stop_ns + reach_ns][-1:]
    power = facts.kind == "power"
    if power:
        spans, bad = integrated(facts, trace, readings, start_ns, stop_ns)
        left_ns, right_ns = start_ns, stop_ns
    else:
        spans, bad = counted(facts, trace.sleeps, readings)
        left_ns, right_ns = _on_readings(facts, readings, start_ns, stop_ns)
    unread = ("unread", next(iter([*bad, *failed]), "it was not read at the edges of the window"))
    tally = tally_of(spans, left_ns, right_ns, unread)
    slept_ns = sum(slept for before, after, slept in trace.sleeps if before < stop_ns and after > start_ns)
    share = polled_share(trace, source, start_ns, stop_ns)
    flags = ("starved",) if share is not None and share < STARVED_SHARE else ()
    return _quantity(facts, tally, (stop_ns - start_ns) / 1e9, slept_ns / 1e9, flags)


def ticks_of(trace: Trace, source: int, start_ns: int, stop_ns: int) -> list[tuple[int, float]]:
    """When a counter was seen to have changed between two instants (ns), and its joules since the first reading.

    For :func:`joulemark.meters.slope.joules_per_iteration`. Time that was lost has no joules here.
    """
    readings = _around(trace.readings(source), start_ns, stop_ns)
    spans, _ = counted(trace.header.sources[source], trace.sleeps, readings)
    sums = accumulate(span.joules for span in spans)
    return [(span.stop_ns, joules) for span, joules in zip(spans, sums, strict=True) if span.joules > 0]


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


def _on_readings(facts: SourceFacts, readings: Sequence[Reading], start_ns: int, stop_ns: int) -> tuple[int, int]:
    """The edges, each set on its reading if that is at most one update period away."""
    if not readings:
        return start_ns, stop_ns
    reach_ns = facts.update_seconds * 1e9
    first, last = readings[0], readings[-1]
    if 0 <= start_ns - first.after_ns <= reach_ns:
        start_ns = instant(first)
    if 0 <= last.before_ns - stop_ns <= reach_ns:
        stop_ns = instant(last)
    return start_ns, stop_ns


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
