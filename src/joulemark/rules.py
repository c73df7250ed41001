"""The rules of the comparison as code: who is eligible, who wins, what may be compared.

Used by the benchmark (to choose what is tested) and by the report (to show why), so that both say the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from joulemark.record import Attempt, Record, Score
from joulemark.stats import loss_bound

BASELINE = "baseline"
NO_LOSS_POINTS = 0.2
"""An upper bound of the loss at or below this is called "no loss"."""


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
    knobs: dict[str, object]
    attempts: tuple[str, ...]  # keys
    seeds: tuple[int, ...]
    loss_points: float
    bound_points: float  # one-sided 95 % upper bound of the loss
    costs: dict[str, float | None]  # board -> mean cost over seeds
    real: bool
    reason: str | None


def correct_bits(score: Score) -> NDArray[np.bool_]:
    """Which images of a score are right, as booleans of shape (images,)."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(score.correct), np.uint8))[: score.images].astype(bool)


def pack_bits(correct: NDArray[np.bool_]) -> str:
    """Inverse of :func:`correct_bits`."""
    return np.packbits(correct).tobytes().hex()


def cost_of(attempt: Attempt, board: Board) -> float | None:
    """The cost an attempt is ranked by on a board; ``None`` if unknown."""
    if board.cost == "joules":
        return attempt.joules.value
    if board.cost == "seconds":
        return attempt.seconds.value
    quantity = attempt.models.get(board.cost.removeprefix("model:"))
    return None if quantity is None else quantity.value


def candidates(attempts: Iterable[Attempt], all_boards: Sequence[Board]) -> list[Candidate]:
    """Pool attempts of one task over seeds, each against the baseline of its own seed (baselines are not returned).

    A setting is pooled over the seeds for which it and their baselines exist.
    """
    attempts = sorted(attempts, key=lambda attempt: attempt.seed)
    references = {a.seed: a for a in attempts if a.technique == BASELINE and a.score is not None}
    groups: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        if attempt.technique != BASELINE and attempt.score is not None and attempt.seed in references:
            groups[f"{attempt.technique} {sorted(attempt.knobs.items())}"].append(attempt)
    pooled = []
    for group in groups.values():
        loss, bound = pooled_loss([references[a.seed].score for a in group], [a.score for a in group])
        costs = {}
        for board in all_boards:
            values = [cost_of(attempt, board) for attempt in group]
            known = [value for value in values if value is not None]
            costs[board.name] = float(np.mean(known)) if len(known) == len(values) else None
        pooled.append(
            Candidate(
                technique=group[0].technique,
                knobs=group[0].knobs,
                attempts=tuple(a.key for a in group),
                seeds=tuple(a.seed for a in group),
                loss_points=loss,
                bound_points=bound,
                costs=costs,
                real=all(a.execution == "real" for a in group),
                reason=next((a.reason for a in group if a.reason), None),
            )
        )
    return pooled


def pooled_loss(baseline: Sequence[Score | None], candidate: Sequence[Score | None]) -> tuple[float, float]:
    """Loss and one-sided bound in points; scores paired seed by seed. See :func:`joulemark.stats.loss_bound`."""
    if any(score is None for score in (*baseline, *candidate)):
        raise ValueError("a score is missing: only finished attempts can be compared")
    rows = [np.stack([correct_bits(score) for score in side if score is not None]) for side in (baseline, candidate)]
    return loss_bound(rows[0], rows[1])


def why_ineligible(candidate: Candidate, board: Board, limit_points: float) -> str | None:
    """One sentence saying why a candidate may not win on a board, or ``None`` if it may."""
    if board.needs_real and not candidate.real:
        return f"simulated: {candidate.reason or 'no kernel runs it'}"
    if candidate.bound_points > limit_points:
        return (
            f"may lose {candidate.bound_points:.2f} points (95 % bound; {candidate.loss_points:+.2f} seen), "
            f"limit {limit_points:g}"
        )
    if candidate.costs.get(board.name) is None:
        return f"no {board.title} known here"
    return None


def winner(pool: Sequence[Candidate], technique: str, board: Board, limit_points: float) -> Candidate | None:
    """The cheapest eligible setting of a technique on a board, chosen on validation."""
    eligible = [c for c in pool if c.technique == technique and why_ineligible(c, board, limit_points) is None]
    return min(eligible, key=lambda c: c.costs[board.name] or 0.0, default=None)


def nearest(pool: Sequence[Candidate], technique: str) -> Candidate | None:
    """The setting with the smallest bound: what an ineligible row shows."""
    return min((c for c in pool if c.technique == technique), key=lambda c: c.bound_points, default=None)
