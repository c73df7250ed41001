"""The rules of the comparison as code: who is eligible, who wins, what may be compared.

Used by the benchmark (to choose what is tested) and by the report (to show why), so that both say the same.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from joulemark.judging.losses import Truths, pooled_loss
from joulemark.judging.settings import setting_key
from joulemark.record import Attempt, Record, Score
from joulemark.task import BASELINE

NO_LOSS_POINTS = 0.2
"""An upper bound of the loss at or below this is called "no loss"."""
ERROR = 0.05
"""How often a winner may lose more than its limit, over all settings that one technique tried."""
MOST_IMAGES = 1_000_000
"""Nobody is told to label more images than this."""


class Board(Record, frozen=True, kw_only=True):
    """What a board ranks by. ``cost`` names the attempt's figure: "joules", "seconds" or "model:<name>"."""

    name: str
    title: str
    cost: str
    needs_real: bool  # simulated executions never enter a measured board


def boards(models: Sequence[str]) -> tuple[Board, ...]:
    """The boards of a suite: measured joules, measured seconds, and one for each energy model."""
    measured = (
        Board(name="joules", title="measured joules per input", cost="joules", needs_real=True),
        Board(name="seconds", title="measured seconds per input", cost="seconds", needs_real=True),
    )
    modelled = tuple(
        Board(name=model, title=f"modelled joules per input ({model})", cost=f"model:{model}", needs_real=False)
        for model in models
    )
    return measured + modelled


class Candidate(Record, frozen=True, kw_only=True):
    """One setting of one technique, seeds pooled, with its place on the validation images."""

    technique: str
    knobs: tuple[dict[str, Any], ...]  # of each link
    attempts: tuple[str, ...]  # keys
    seeds: tuple[int, ...]
    settings: int  # of this technique, tried on the same images: each is held to the error / settings
    rows: int
    value: float  # of the metric, mean over seeds, 0 to 1
    loss_points: float
    bound_points: float  # one-sided upper bound of the loss
    floor_points: float  # one-sided lower bound of the loss
    costs: dict[str, float | None]  # board -> mean cost over seeds
    real: bool
    reason: str | None


def cost_of(attempt: Attempt, board: Board) -> float | None:
    """The cost an attempt is ranked by on a board; ``None`` if unknown."""
    if board.cost == "joules":
        return attempt.joules.value
    if board.cost == "seconds":
        return attempt.seconds.value
    quantity = attempt.models.get(board.cost.removeprefix("model:"))
    return None if quantity is None else quantity.value


def level_of(settings: int) -> float:
    """One-sided level that each of several settings is held to, so that the cheapest that passes errs 5 % at most.

    Bonferroni's correction: the settings are judged on the same images, and whichever passes by luck would be chosen.
    Without it three settings, all of them over the limit, give a false winner in up to 14 % of runs, with it in 5 %
    (docs/statistics.md).

    >>> level_of(1), round(level_of(3), 4)
    (0.95, 0.9833)
    """
    return 1.0 - ERROR / settings


def candidates(
    attempts: Iterable[Attempt], all_boards: Sequence[Board], *, truths: Truths, tries: int = 1
) -> list[Candidate]:
    """Pool attempts of one task over seeds, each against the baseline of its own seed (baselines are not returned).

    A setting is pooled over the seeds for which it and their baselines exist. It is judged as one of all settings of
    its technique among the attempts, or of ``tries`` if that is more: how many a search that goes on will try.
    """
    attempts = sorted(attempts, key=lambda attempt: attempt.seed)
    references = {a.seed: a.score for a in attempts if a.technique == BASELINE and a.score is not None}
    groups: dict[str, dict[tuple[str, str], list[Attempt]]] = defaultdict(lambda: defaultdict(list))
    for attempt in attempts:
        if attempt.technique != BASELINE and attempt.score is not None and attempt.seed in references:
            groups[attempt.technique][setting_key(attempt.technique, attempt.knobs)].append(attempt)
    return [
        _pooled(group, [references[attempt.seed] for attempt in group], all_boards, truths, max(tries, len(settings)))
        for settings in groups.values()
        for group in settings.values()
    ]


def _pooled(
    group: Sequence[Attempt],
    references: Sequence[Score],
    all_boards: Sequence[Board],
    truths: Truths,
    settings: int,
) -> Candidate:
    """One setting; ``references`` are the scores of its attempts' baselines."""
    scores = [attempt.score for attempt in group if attempt.score is not None]
    loss, bound = pooled_loss(references, scores, truths, level=level_of(settings))
    _, gain = pooled_loss(scores, references, truths, level=level_of(settings))
    costs = {}
    for board in all_boards:
        values = [cost_of(attempt, board) for attempt in group]
        known = [value for value in values if value is not None]
        costs[board.name] = float(np.mean(known)) if len(known) == len(values) else None
    return Candidate(
        technique=group[0].technique,
        knobs=group[0].knobs,
        attempts=tuple(a.key for a in group),
        seeds=tuple(a.seed for a in group),
        settings=settings,
        rows=scores[0].rows,
        value=float(np.mean([score.value for score in scores])),
        loss_points=loss,
        bound_points=bound,
        floor_points=-gain,
        costs=costs,
        real=all(a.execution == "real" for a in group),
        reason=next((a.reason for a in group if a.reason), None),
    )


def why_ineligible(candidate: Candidate, board: Board, limit_points: float) -> str | None:
    """One sentence saying why a candidate may not win on a board, or ``None`` if it may."""
    if board.needs_real and not candidate.real:
        return f"simulated: {candidate.reason or 'no kernel runs it'}"
    if candidate.bound_points > limit_points:
        return why_not_within(candidate, limit_points)
    if candidate.costs.get(board.name) is None:
        return f"no {board.title} known here"
    return None


def why_not_within(candidate: Candidate, limit_points: float) -> str:
    """Say of a setting that is not certainly within the limit whether it is certainly over it or nobody can tell."""
    several = f" over {candidate.settings} settings" if candidate.settings > 1 else ""
    if candidate.floor_points > limit_points:
        return (
            f"loses at least {candidate.floor_points:.2f} points (95 % bound{several}; "
            f"{candidate.loss_points:.2f} seen), limit {limit_points:g}"
        )
    needed = images_needed(candidate, limit_points)
    return (
        f"the data cannot decide: {candidate.loss_points:.2f} points lost, at most {candidate.bound_points:.2f} "
        f"(95 % bound{several}), limit {limit_points:g}; "
        + (f"needs about {needed:,} images" if needed else f"needs over {MOST_IMAGES:,} images")
        + f" instead of {candidate.rows:,}"
    )


def images_needed(candidate: Candidate, limit_points: float) -> int | None:
    """About how many validation images would decide, if the loss seen is the true one; ``None`` above a million.

    A bound's distance from the loss shrinks with the square root of the images: they must be (distance / distance of
    the limit) squared times as many. Two digits are kept, rounded up.
    """
    gap = limit_points - candidate.loss_points
    distance = (
        candidate.bound_points - candidate.loss_points if gap > 0 else candidate.loss_points - candidate.floor_points
    )
    if abs(gap) * math.sqrt(MOST_IMAGES / candidate.rows) < distance:
        return None
    needed = max(candidate.rows * (distance / gap) ** 2, 1.0)
    unit = int(10.0 ** max(math.floor(math.log10(needed)) - 1, 0))
    return math.ceil(needed / unit) * unit


def winner(pool: Sequence[Candidate], technique: str, board: Board, limit_points: float) -> Candidate | None:
    """The cheapest eligible setting of a technique on a board, chosen on validation."""
    eligible = [c for c in pool if c.technique == technique and why_ineligible(c, board, limit_points) is None]
    return min(eligible, key=lambda c: c.costs[board.name] or 0.0, default=None)


def chosen(
    pool: Sequence[Candidate], all_boards: Sequence[Board], limits_points: Sequence[float]
) -> dict[str, list[Candidate]]:
    """Settings of each technique to measure and test: the winner of each board and limit, each once.

    A technique that wins nowhere is shown by its nearest setting.
    """
    found: dict[str, list[Candidate]] = {}
    for name in dict.fromkeys(candidate.technique for candidate in pool):
        won = [winner(pool, name, board, limit) for board in all_boards for limit in limits_points]
        shown = [candidate for candidate in won if candidate is not None]
        closest = nearest(pool, name)
        shown = shown or ([closest] if closest is not None else [])
        found[name] = list({candidate.attempts: candidate for candidate in shown}.values())
    return found


def nearest(pool: Sequence[Candidate], technique: str) -> Candidate | None:
    """The setting with the smallest bound: what an ineligible row shows."""
    return min((c for c in pool if c.technique == technique), key=lambda c: c.bound_points, default=None)
