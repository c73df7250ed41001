"""Traces of one made-up source, from (seconds, raw) pairs."""

from __future__ import annotations

from typing import Any

from joulemark.meters.trace import Header, Line, SourceFacts, Trace

SECOND = 1_000_000_000


def facts(**more: Any) -> SourceFacts:
    """A counter of joules with 1000 W at most that is refreshed each 0.1 s."""
    given = {"name": "fake", "scope": "board", "kind": "counter", "unit": 1.0, "max_watts": 1000.0,
             "update_seconds": 0.1, "gain_uncertainty": 0.05, "citation": "a paper"}  # fmt: skip
    return SourceFacts(**{**given, **more})


def watts(**more: Any) -> SourceFacts:
    """A sensor of milliwatts, otherwise the same."""
    return facts(**{"kind": "power", "unit": 1e-3, **more})


def trace_of(
    source: SourceFacts, readings: list[tuple[float, int]], *lines: Line, period: float | None = None
) -> Trace:
    """What a sampler read, each in a slot of its own and in no time at all."""
    trace = Trace(Header(sources=(source,), period_seconds=period))
    for slot, (seconds, raw) in enumerate(readings):
        at = round(seconds * SECOND)
        trace.add(Line(s=0, n=slot, b=at, a=at, r=raw))
    for line in lines:
        trace.add(line)
    return trace
