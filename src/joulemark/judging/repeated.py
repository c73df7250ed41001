"""What a record repeats of the one that it comes from: both say the same, or one of them is of another run."""

from __future__ import annotations

import math
from collections.abc import Iterator

from joulemark.record import Attempt, Made, Trial

AGREE = 1e-9
"""Relative difference up to which two ways of computing one number agree (ours: far above rounding of doubles)."""
OF_BOTH = ("task", "task_key", "technique", "knobs", "seed", "net")


def same(stated: float | None, found: float | None) -> bool:
    """Whether two numbers agree; two unknown ones do.

    >>> same(0.1 + 0.2, 0.3), same(None, 0.0), same(None, None)
    (True, False, True)
    """
    if stated is None or found is None:
        return stated is found
    return math.isclose(stated, found, rel_tol=AGREE, abs_tol=1e-300)


def unlike_its_making(attempt: Attempt, made: Made) -> list[str]:
    """Names of what an attempt says otherwise than the record of its making."""
    return [name for name in (*OF_BOTH, "notes", "making") if getattr(attempt, name) != getattr(made, name)]


def unlike_its_attempt(trial: Trial, attempt: Attempt) -> Iterator[str]:
    """What a trial says otherwise than its attempt: models, proxies and the backend see the same net twice."""
    for name in OF_BOTH:
        if getattr(trial, name) != getattr(attempt, name):
            yield f"{name} differs from its attempt, attempts/{attempt.key}.json"
    for report in trial.models:
        before = attempt.models.get(report.model)
        if before is not None and not same(before.value, report.joules.value):
            yield f"models: {report.model} says other joules than in its attempt"
    if {report.model for report in trial.models} != set(attempt.models):
        yield "models are others than those of its attempt"
    if trial.proxies != attempt.proxies:
        yield "proxies differ from those of its attempt"
    for timing in trial.timings:
        home = timing.backend == attempt.backend
        if home and (timing.execution, timing.reason) != (attempt.execution, attempt.reason):
            yield f"is {timing.execution} on {timing.backend}, {attempt.execution} there in its attempt"
    if trial.timings and (attempt.execution == "real") != any(one.execution == "real" for one in trial.timings):
        yield f"is {attempt.execution} in its attempt, and its timings say otherwise"
