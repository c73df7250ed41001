"""How rows of one board stand to each other: ratios seed by seed, ranks with ties, who is certainly cheaper.

The ratios are within one backend, baseline windows beside the candidate's in every block, so a common denominator of
the board (its fastest baseline) cancels and adds no error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from joulemark.record import Ratio, Trial
from joulemark.report.costs import modelled_ratio, timing_at
from joulemark.rules import BASELINE, Board
from joulemark.stats import ranks

ITSELF = Ratio(value=1.0, low=1.0, high=1.0, count=1)
"""The baseline's ratio to itself, by definition."""


def seed_ratio(baseline: Trial, candidate: Trial, board: Board, backend: str, batch_size: int) -> Ratio | None:
    """Cost ratio on a board of one seed, baseline over candidate on the same backend; ``None`` where it is unknown."""
    if candidate.technique == BASELINE:
        return ITSELF
    if board.cost.startswith("model:"):
        return modelled_ratio(baseline, candidate, board.cost.removeprefix("model:"))
    timing = timing_at(candidate, backend, batch_size)
    if timing is None:
        return None
    return timing.ratio if board.cost == "seconds" else timing.joules_ratio


def by_seed(
    baselines: Mapping[int, Trial], trials: Sequence[Trial], board: Board, backend: str, batch_size: int
) -> list[Ratio | None]:
    """The ratios of one row's trials, a place for each seed of the baselines in order."""
    mine = {trial.seed: trial for trial in trials}
    return [
        seed_ratio(baselines[seed], mine[seed], board, backend, batch_size) if seed in mine else None
        for seed in sorted(baselines)
    ]


def margin_of(control: Ratio | None) -> float:
    """How far from 1 a ratio must lie to say anything: the A/A control's farther end; 1 where there is no control."""
    return 1.0 if control is None else max(1.0, control.high, 1.0 / control.low)


def places(rows: Sequence[Sequence[Ratio | None]], control: Ratio | None) -> list[tuple[int, int]]:
    """Best and worst rank of each row; those that cannot be told apart share a place."""
    return ranks(rows, margin=margin_of(control))
