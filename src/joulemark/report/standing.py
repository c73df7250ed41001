"""How rows of one board stand to each other: ratios seed by seed, ranks with ties, who is certainly cheaper.

The ratios are those the board ranks by, over windows of its fastest fp32 baseline in the very blocks of the candidate:
between two rows that denominator cancels and adds no error but its own noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from joulemark.judging.rules import BASELINE, Board
from joulemark.judging.statistics import ranks
from joulemark.record import Ratio, Trial
from joulemark.report.costs import seed_ratio

ITSELF = Ratio(value=1.0, low=1.0, high=1.0, count=1)
"""The baseline's ratio to itself, by definition."""


def by_seed(
    baselines: Mapping[int, Trial], trials: Sequence[Trial], board: Board, batch_size: int
) -> list[Ratio | None]:
    """The ratios of one row's trials, a place for each seed of the baselines in order."""
    mine = {trial.seed: trial for trial in trials}
    return [_of_seed(baselines[seed], mine.get(seed), board, batch_size) for seed in sorted(baselines)]


def _of_seed(baseline: Trial, trial: Trial | None, board: Board, batch_size: int) -> Ratio | None:
    if trial is None:
        return None
    return ITSELF if trial.technique == BASELINE else seed_ratio(baseline, trial, board, batch_size)


def margin_of(control: Ratio | None) -> float:
    """How far from 1 a ratio must lie to say anything: the A/A control's farther end; 1 where there is no control."""
    return 1.0 if control is None else max(1.0, control.high, 1.0 / control.low)


def places(rows: Sequence[Sequence[Ratio | None]], controls: Sequence[Ratio | None]) -> list[tuple[int, int]]:
    """Best and worst rank of each row; those that the wider of their controls cannot tell apart share a place."""
    return ranks(rows, margin=[margin_of(control) for control in controls])
