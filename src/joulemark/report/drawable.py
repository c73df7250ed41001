"""What drawing needs of a record's numbers: those that a logarithm, a root or a bit mask would fail on.

``joulemark check`` judges far more; this only keeps one odd record from taking down the board.
"""

from __future__ import annotations

import re
from typing import Any

from joulemark.judging.fields import values_in
from joulemark.judging.losses import Truths
from joulemark.judging.metrics.metric import metric
from joulemark.judging.packed import unpack_bits
from joulemark.judging.truths import labels_of, predicted_of
from joulemark.record import Paced, Quantity, Ratio, Record, Score, Timing

BLOCK = re.compile(r"blocks\[\d+\]$")
"""Path of one block of windows."""


def why_undrawable(record: Record, truths: Truths) -> str | None:
    """What cannot be in a record, with the field's path; ``None`` if it can be drawn. Scores need their ``truths``."""
    faults = (
        (path, _why_unread(value, truths) if isinstance(value, Score) else _fault(path, value))
        for path, value in values_in(record)
    )
    return next((f"{path} {fault}".strip() for path, fault in faults if fault is not None), None)


def _fault(path: str, value: Any) -> str | None:
    if isinstance(value, Quantity):
        return f"is negative: {value.value:g}" if value.value is not None and value.value < 0 else None
    if isinstance(value, Ratio):
        numbers = [value.value, value.low, value.high]
    elif isinstance(value, Timing):
        numbers = list(value.screening.values())
    elif isinstance(value, Paced):
        numbers = [value.inputs_per_second, value.window_seconds, value.busy_ratio]
    elif isinstance(value, tuple) and BLOCK.search(path):
        numbers = list(value)
    else:
        numbers = []
    return None if all(number > 0 for number in numbers) else "is not positive"


def _why_unread(score: Score, truths: Truths) -> str | None:
    try:
        by = metric(score.metric)
        if score.correct is not None:
            unpack_bits(score.correct, score.rows)
        elif (truth := truths.get(score.truth or "")) is None:
            return f"is judged by truths/{score.truth}.json, which is not there or cannot be read"
        else:
            by.value(labels_of(truth), predicted_of(score))
    except ValueError as error:
        return str(error)
    return None
