"""The loss of one net against another, from their scores: paired over rows, seeds pooled, by the task's metric."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from joulemark.judging.metrics.metric import Metric, Pairs, metric
from joulemark.judging.packed import unpack_bits
from joulemark.judging.statistics import loss_bound
from joulemark.judging.truths import groups_of, labels_of, predicted_of
from joulemark.record import Score, Truth

Truths: TypeAlias = Mapping[str, Truth]
"""What is true, by key: scores name theirs."""

_Scores: TypeAlias = tuple[Score, ...]
_Known: TypeAlias = tuple[Truth | None, ...]


def pooled_loss(
    baseline: Sequence[Score | None], candidate: Sequence[Score | None], truths: Truths, *, level: float = 0.95
) -> tuple[float, float]:
    """Loss and its one-sided upper bound in points of the metric, paired seed by seed.

    Raises ``ValueError`` if a score is missing, or where scores are of other rows, metrics or truths.
    """
    sides = _whole(baseline), _whole(candidate)
    if sides[0][0].rows != sides[1][0].rows:
        raise ValueError("the scores are of different rows: only nets that saw the same rows can be compared")
    return _pooled_loss(*sides, *(_known(side, truths) for side in sides), level)


def pooled_interval(
    baseline: Sequence[Score | None], candidate: Sequence[Score | None], truths: Truths, *, level: float = 0.95
) -> tuple[float, float]:
    """Two-sided interval of the loss in points: each side is the bound of :func:`pooled_loss` at half the error."""
    side = 0.5 + level / 2
    _, gain = pooled_loss(candidate, baseline, truths, level=side)
    return -gain, pooled_loss(baseline, candidate, truths, level=side)[1]


def right_rows(score: Score, truths: Truths) -> NDArray[np.bool_]:
    """Which rows of a score are right. ``ValueError`` if its metric cannot say so, or its truth is missing."""
    return _right(score, None if score.truth is None else truths.get(score.truth))


def scored_by(scores: Sequence[Score]) -> Metric:
    """The one metric of some scores. ``ValueError`` if they have several."""
    names = sorted({score.metric for score in scores})
    if len(names) > 1:
        raise ValueError(f"the scores are of different metrics, {' and '.join(names)}: run the suite again")
    return metric(names[0])


@functools.lru_cache(maxsize=1 << 15)  # a page asks for the same losses on every board and limit
def _pooled_loss(
    baseline: _Scores, candidate: _Scores, before: _Known, after: _Known, level: float
) -> tuple[float, float]:
    by = scored_by([*baseline, *candidate])
    if any(score.predicted is None for score in (*baseline, *candidate)):
        sides = [
            np.stack([_right(score, truth) for score, truth in zip(scores, known, strict=True)])
            for scores, known in ((baseline, before), (candidate, after))
        ]
        return loss_bound(*sides, level=level)
    return by.loss(_pairs(baseline, candidate, before, after), level)


def _pairs(baseline: _Scores, candidate: _Scores, before: _Known, after: _Known) -> Pairs:
    keys = [[score.truth for score in scores] for scores in (baseline, candidate)]
    if keys[0] != keys[1]:
        raise ValueError("the scores are judged by different truths: only nets that saw the same rows can be compared")
    known = [_present(score, truth) for score, truth in zip(baseline, before, strict=True)]
    return Pairs(
        true=np.stack([labels_of(truth) for truth in known]),
        baseline=np.stack([predicted_of(score) for score in baseline]),
        candidate=np.stack([predicted_of(score) for score in candidate]),
        groups=groups_of(known[0]),
    )


def _right(score: Score, truth: Truth | None) -> NDArray[np.bool_]:
    by = metric(score.metric)
    if by.right is None:
        raise ValueError(f"{by.title} is no share of right rows")
    if score.correct is not None:
        return unpack_bits(score.correct, score.rows)
    return by.right(labels_of(_present(score, truth)), predicted_of(score))


def _present(score: Score, truth: Truth | None) -> Truth:
    if truth is None:
        raise ValueError(f"truths/{score.truth}.json, by which a score was judged, is not there or cannot be read")
    if truth.rows != score.rows:
        raise ValueError(f"a score of {score.rows} rows is judged by a truth of {truth.rows}")
    return truth


def _whole(scores: Sequence[Score | None]) -> _Scores:
    whole = tuple(score for score in scores if score is not None)
    if not whole or len(whole) < len(scores):
        raise ValueError("a score is missing: only finished attempts can be compared")
    if len({score.rows for score in whole}) > 1:
        raise ValueError("the scores are of different rows: seeds can be pooled over the same rows only")
    return whole


def _known(scores: _Scores, truths: Truths) -> _Known:
    return tuple(None if score.truth is None else truths.get(score.truth) for score in scores)
