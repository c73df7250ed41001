"""Small marks inside tables, as coordinates for inline SVG: interval whiskers and strips of raw windows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from joulemark.record import Ratio, Record, Timing

WIDTH = 120.0


class Whisker(Record, frozen=True, kw_only=True):
    """One interval on a board's common log scale, in pixels of a 120 wide drawing."""

    one: float  # where ratio 1 lies
    low: float
    value: float
    high: float


class Dot(Record, frozen=True, kw_only=True):
    """One raw window of a strip: time runs to the right, cost upwards."""

    x: float
    y: float
    baseline: bool


def whiskers(ratios: Sequence[Ratio | None]) -> list[Whisker | None]:
    """Place the intervals of one board on one log scale that always holds ratio 1."""
    known = [ratio for ratio in ratios if ratio is not None]
    low = math.log(min([1.0, *(ratio.low for ratio in known)]) / 1.08)
    high = math.log(max([1.0, *(ratio.high for ratio in known)]) * 1.08)

    def place(value: float) -> float:
        return round(4 + (WIDTH - 8) * (math.log(value) - low) / (high - low), 1)

    return [
        None
        if ratio is None
        else Whisker(one=place(1.0), low=place(ratio.low), value=place(ratio.value), high=place(ratio.high))
        for ratio in ratios
    ]


def strip(timing: Timing, *, width: float = 240.0, height: float = 44.0) -> list[Dot]:
    """Place every raw window of a timing in time order; the vertical scale starts at zero, so noise looks its size."""
    flat = [(value, side != 1) for block in timing.blocks for side, value in enumerate(block)]
    if not flat:
        return []
    top = 1.08 * max(value for value, _ in flat)
    step = (width - 8) / max(1, len(flat) - 1)
    return [
        Dot(x=round(4 + step * place, 1), y=round((height - 4) * (1 - value / top) + 2, 1), baseline=baseline)
        for place, (value, baseline) in enumerate(flat)
    ]
