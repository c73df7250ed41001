"""What a board shows: one row a technique, and the view that page and terminal both draw."""

from __future__ import annotations

from typing import Any

import msgspec

from joulemark.judging.rules import Board
from joulemark.record import Ratio, Record
from joulemark.report.costs import Loss, MakingTotal
from joulemark.report.words import in_points


class Row(Record, frozen=True, kw_only=True):
    """One technique on a board. ``ratios`` holds the same nets' ratios on every board, this one included."""

    technique: str
    status: str  # "ranked", "baseline", "untested", "ineligible" or "failed"
    knobs: tuple[dict[str, Any], ...]
    seeds: tuple[int, ...] = ()
    rank: tuple[int, int] | None = None  # best and worst place; equal unless tied
    ratio: Ratio | None = None  # baseline cost / this cost; measured boards: of the fastest fp32 baseline
    same_backend: Ratio | None = None  # measured boards: over the baseline on the row's own backend
    backend: str | None = None  # measured boards: where it ran
    cost: float | None = None  # per input
    ratios: dict[str, Ratio] = msgspec.field(default_factory=dict)
    test: Loss | None = None
    validation: Loss | None = None
    execution: str | None = None
    making: MakingTotal | None = None
    nets: tuple[str, ...] = ()
    trials: tuple[str, ...] = ()  # keys
    flags: tuple[str, ...] = ()
    reason: str | None = None  # why it is not ranked
    control: Ratio | None = None  # measured boards: the baseline against itself on the row's backend, at its batch

    @property
    def verdict(self) -> str | None:
        """Say "cheaper", "dearer", or "undecided" when the interval meets the A/A control's; ``None`` without a ratio.

        Without a control (a model has no noise) the interval is held against 1 alone.
        """
        if self.ratio is None or self.status != "ranked":
            return None
        low = min(1.0, self.control.low) if self.control else 1.0
        high = max(1.0, self.control.high) if self.control else 1.0
        if self.ratio.low <= high and self.ratio.high >= low:
            return "undecided"
        return "cheaper" if self.ratio.low > high else "dearer"

    @property
    def rank_text(self) -> str:
        """The rank as people write it: "1", or "2 to 4" when tied."""
        if self.rank is None:
            return "–"  # noqa: RUF001
        best, worst = self.rank
        return f"{best}" if best == worst else f"{best} to {worst}"


class BoardView(Record, frozen=True, kw_only=True):
    """A board at one limit, ready to draw. ``rows`` holds the baseline and the ranked, cheapest first."""

    board: Board
    limit_points: float
    backend: str
    batch_size: int
    baseline_cost: float | None
    reference: tuple[str, ...] = ()  # measured boards: backends of the baselines that ratios divide by
    controls: dict[str, Ratio] = {}  # measured boards: the baseline against itself on each backend (A/A)
    rows: tuple[Row, ...]
    ineligible: tuple[Row, ...]
    note: str | None = None  # why it is empty
    metric: str = "accuracy"  # what nets are judged by, in words
    lost: str = "accuracy"  # what points of its loss are of, in words
    task_file: str | None = None  # of a user's own task: what builds its nets; empty: objects of one session

    @property
    def limit_words(self) -> str:
        """The limit in words: "1 point of accuracy"."""
        return f"{in_points(self.limit_points)} of {self.lost}"

    @property
    def unit(self) -> str:
        """Unit of its costs."""
        return "s" if self.board.cost == "seconds" else "J"

    def elsewhere(self, row: Row) -> bool:
        """Whether a row ran on another backend than the baseline that its ratio divides by."""
        return row.same_backend is not None and bool(self.reference) and row.backend not in self.reference

    @property
    def ranked(self) -> tuple[Row, ...]:
        """The rows that compete, without the baseline."""
        return tuple(row for row in self.rows if row.status == "ranked")
