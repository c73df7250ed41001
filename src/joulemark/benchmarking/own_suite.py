"""How a user's own task is run: techniques, budget and measuring of its suite, and whether it has rows enough."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from joulemark.benchmarking.suite import Budget, Measuring, Suite
from joulemark.benchmarking.suite_files import narrowed
from joulemark.judging.metrics.metric import Pairs, metric
from joulemark.task import Task
from joulemark.vocabulary import unknown_name_message

TRAINED = ("int8", "group-magnitude", "energy-aware-pruning:structure=channels", "small-dense")
UNTRAINED = ("int8", "small-dense")
"""What is run unless the caller names others: with training rows, and without. The control stands on every board."""
LIMITS = (1.0,)
"""Points that may be lost, unless somebody says otherwise."""
ATTEMPTS = 4
"""Settings that a technique may try from the trained net; from scratch half as many, twice as long."""
USUAL_DISCORDANCE = 0.02
"""Share of the rows that a cheaper net may well answer otherwise: what the advice on rows is computed for."""


def own_suite(task: Task, stated: Mapping[str, Any], limit: float | None = None) -> Suite:
    """The suite of a user's task. ``stated`` are fields of a suite that he chose himself, of budget and measuring too.

    A ``limit`` in points takes the place of his and of the usual ones; the suite is named after it if it is another.

    Raises ``ValueError`` for a field that is none.
    """
    if not isinstance(stated, Mapping):
        raise ValueError(f"suite is a {type(stated).__name__}: give dict(seeds=[0, 1]), or other fields of a suite")
    own = task.own
    trains = own is not None and own.trains
    epochs = math.ceil(task.recipe.epochs / 2)
    usual = {
        "techniques": TRAINED if trains else UNTRAINED,
        "seeds": (0,),
        "limits_points": LIMITS,
        "backends": ("onnxruntime", "eager"),
        "batch_sizes": (1, 64),
        "home_only": (1, 64),
        "models": ("row-stationary",),
        "budget": Budget(
            trained_epochs=epochs, trained_attempts=ATTEMPTS, scratch_epochs=2 * epochs, scratch_attempts=ATTEMPTS // 2
        ),
        "measuring": Measuring(window_seconds=0.03, blocks=40, joules_window_seconds=2.0, screening_seconds=0.05),
    }
    fields = {field.name for field in msgspec.structs.fields(Suite)} - {"name", "task"}
    for name in stated:
        if name not in fields:
            raise ValueError(f"suite: {unknown_name_message('field', str(name), fields)}")
    try:
        plain = {name: msgspec.to_builtins(value) for name, value in {**usual, **stated}.items()}
        for name in ("budget", "measuring"):  # what is not stated of them is as usual
            if isinstance(plain[name], dict):
                plain[name] = {**msgspec.to_builtins(usual[name]), **plain[name]}
        whole = msgspec.convert({"name": task.name, "task": msgspec.to_builtins(task), **plain}, Suite)
        return narrowed(whole, limit=limit)
    except (msgspec.ValidationError, TypeError) as error:
        raise ValueError(f"suite: {error}") from error


def refuse_too_few(task: Task, limits: Sequence[float], groups: NDArray[np.str_] | None = None) -> None:
    """Raise ``ValueError`` if there are too few validation rows to show that a net loses less than the strictest limit.

    It says how many are needed. ``groups`` (rows,) are those of the validation rows, where they have some: then what
    counts is how many there are.
    """
    rows, limit = task.splits.validation, min(limits)
    asked = f"a limit of {limit:g} {'point' if limit == 1 else 'points'}"

    def shown(count: int) -> float:
        return shown_by(task.metric, count, task.classes, groups)

    if shown(rows) <= limit:
        return
    if groups is not None:
        number = len(np.unique(groups))
        raise ValueError(
            f"{rows} validation rows in {number} {'group' if number == 1 else 'groups'} are too few for {asked}: a net "
            f"that loses nothing could not show it. Give more groups, or a limit of {math.ceil(shown(rows))}"
        )
    least = rows
    while shown(least) > limit and least < 10**7:
        least = math.ceil(least * 1.1) + 1
    if task.own is not None and not task.own.trains:
        least *= 2  # of those that validation() gives, half may only calibrate
    raise ValueError(
        f"{rows} validation rows are too few for {asked}: a net that loses nothing could not show it. Give "
        f"{round(least, -1) + 10:,} or more, or a limit of {math.ceil(shown(rows))}"
    )


def shown_by(name: str, rows: int, classes: int = 10, groups: NDArray[Any] | None = None) -> float:
    """The least loss in points that so many rows can bound: that of a net which answers each like the original.

    ``groups`` (rows,) says which rows belong together, where some do.

    >>> round(shown_by("accuracy", 300), 2)
    1.0
    """
    by = metric(name)
    kept = np.repeat(by.keep(np.zeros((1, classes), np.float32)), rows, axis=0)[None]
    of_group = None if groups is None else np.unique(groups, return_inverse=True)[1].astype(np.int64)
    pairs = Pairs(true=np.zeros((1, rows), np.int64), baseline=kept, candidate=kept, groups=of_group)
    return by.loss(pairs, 0.95)[1]


def rows_advised(limit: float) -> int:
    """Rows by which a net with no true loss is shown to stay within ``limit`` points, of 2 % that it answers otherwise.

    (z sqrt(discordance) / limit)^2, z being the normal quantile of the one-sided 95 % bound.

    >>> rows_advised(1.0)
    542
    """
    return math.ceil((1.6449 * math.sqrt(USUAL_DISCORDANCE) / (limit / 100.0)) ** 2)
