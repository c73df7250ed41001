"""How rows of one board stand to each other: ranks with ties, and how far from 1 a ratio says anything.

The ratios are those the board ranks by, over windows of its fastest fp32 baseline in the very blocks of the candidate:
between two rows that denominator cancels and adds no error but its own noise.
"""

from __future__ import annotations

from collections.abc import Sequence

from joulemark.judging.statistics import ranks
from joulemark.record import Ratio


def margin_of(control: Ratio | None) -> float:
    """How far from 1 a ratio must lie to say anything: the A/A control's farther end; 1 where there is no control."""
    return 1.0 if control is None else max(1.0, control.high, 1.0 / control.low)


def places(rows: Sequence[Sequence[Ratio | None]], controls: Sequence[Ratio | None]) -> list[tuple[int, int]]:
    """Best and worst rank of each row; those that the wider of their controls cannot tell apart share a place."""
    return ranks(rows, margin=[margin_of(control) for control in controls])
