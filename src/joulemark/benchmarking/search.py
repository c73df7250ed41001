"""The search of a technique's knob: the benchmark's work, the same for every technique."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from joulemark.techniques.technique import Technique


def next_knobs(
    technique: Technique, history: Sequence[tuple[dict[str, Any], float]], limits_points: Sequence[float]
) -> dict[str, Any] | None:
    """Knobs of the next attempt, or ``None`` when there is nothing to search.

    ``history`` holds (knobs, upper bound of the loss in points) of the attempts so far. The first is the technique's
    default. After it the limits take turns, the widest first, so that a few attempts serve all of them; a limit whose
    turn brings nothing new passes it on.
    """
    if not history:
        return dict(technique.knobs)
    if technique.knob is None:
        return None
    turns = sorted(limits_points, reverse=True)
    first = (len(history) - 1) % len(turns)
    for limit in turns[first:] + turns[:first]:
        found = bisected(technique, [(settings, bound <= limit) for settings, bound in history])
        if found is not None:
            return found
    return None


def bisected(technique: Technique, history: Sequence[tuple[dict[str, Any], bool]]) -> dict[str, Any] | None:
    """The technique's knobs with the searched one bisected; ``None`` if that setting was tried.

    It goes between the most aggressive setting that kept the accuracy and the gentlest that lost it, or half-way to the
    end of its range where one of the two is not known yet.
    """
    knobs, name = dict(technique.knobs), technique.knob
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
