"""Metrics that are a share of right rows: every row is right or wrong by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from joulemark.judging.bootstrap import Cells, bootstrap_bound
from joulemark.judging.metrics.metric import Classes, Logits, Metric, Pairs, require_one_class
from joulemark.judging.statistics import loss_bound


def share_of_right_rows(
    *,
    name: str,
    title: str,
    keep: Callable[[Logits], Classes],
    right: Callable[[Classes, Classes], NDArray[np.bool_]],
    truth: Literal["labels", "baseline"] = "labels",
    lost: str | None = None,
) -> Metric:
    """The metric whose value is the share of rows that ``right`` calls right.

    Its bound is :func:`joulemark.judging.statistics.loss_bound` over rows. Rows that come in groups are not
    independent: of them it is a bootstrap over groups.
    """

    def value(true: Classes, predicted: Classes) -> float:
        return float(right(true, predicted).mean())

    def loss(pairs: Pairs, level: float) -> tuple[float, float]:
        before, after = right(pairs.true, pairs.baseline), right(pairs.true, pairs.candidate)
        points, bound = loss_bound(before, after, level=level)
        return points, bound if pairs.groups is None else _over_groups(before, after, pairs.groups, level)

    return Metric(name=name, title=title, keep=keep, value=value, loss=loss, right=right, truth=truth, lost=lost)


def largest(logits: Logits) -> Classes:
    """The class with the largest logit of every row."""
    classes: Classes = logits.argmax(1)
    return classes


def same_class(true: Classes, predicted: Classes) -> NDArray[np.bool_]:
    """Whether the one class kept of a row is the true one."""
    require_one_class(true, predicted)
    right: NDArray[np.bool_] = true == predicted
    return right


def _over_groups(before: NDArray[np.bool_], after: NDArray[np.bool_], groups: NDArray[np.int64], level: float) -> float:
    """Upper bound of the loss in points, groups resampled; the row more of the bootstrap is lost by every seed."""
    lost = before.mean(axis=0) - after.mean(axis=0)
    cells, where = Cells.of(np.round(lost * len(before)).astype(np.int64)[:, None], groups)
    values = np.append(lost[where], 1.0)
    return 100.0 * bootstrap_bound(cells, lambda weights: weights @ values / weights.sum(axis=1), level=level)
