"""The search of a technique's knob: the benchmark's work, the same for every technique."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from joulemark.techniques.technique import Technique


def next_knobs(technique: Technique, history: Sequence[tuple[dict[str, Any], bool]]) -> dict[str, Any] | None:
    """Knobs of the next attempt, or ``None`` when there is nothing to search.

    ``history`` holds (knobs, accuracy kept) of the attempts so far. The first is the technique's default. Then the
    searched knob is bisected: between the most aggressive setting that kept the accuracy and the gentlest that lost it,
    or half-way to the end of its range where one of the two is not known yet.
    """
    knobs = dict(technique.knobs)
    name = technique.knob
    if not history:
        return knobs
    if name is None:
        return None
    span = technique.ranges[name]
    sign = 1.0 if span.gentle == "low" else -1.0  # order values from gentle to aggressive
    good = sorted((float(settings[name]) for settings, kept in history if kept), key=lambda v: sign * v)
    bad = sorted((float(settings[name]) for settings, kept in history if not kept), key=lambda v: sign * v)
    gentle, aggressive = span.ends
    if not good:
        ends = bad[0], gentle
    elif not bad or sign * bad[0] < sign * good[-1]:
        ends = good[-1], aggressive
    else:
        ends = good[-1], bad[0]
    low, high = sorted(ends)
    rounded = min(max(float(f"{span.between(*ends):.4g}"), low), high)  # four digits, never out of the bracket
    chosen = type(technique.knobs[name])(rounded)  # a whole number stays one
    if any(settings[name] == chosen for settings, _ in history):
        return None
    return {**knobs, name: chosen}
