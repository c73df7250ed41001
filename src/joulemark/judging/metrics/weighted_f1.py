"""Weighted F1: the F1 of every class, averaged with the classes' true rows as weights.

With n_c true rows of class c, p_c rows predicted as c and t_c of them right, F1 of a class is 2 t_c / (n_c + p_c), so
that the whole is (1 / N) sum of 2 n_c t_c / (n_c + p_c). No row is right or wrong by itself: the bound of a loss is a
paired bootstrap (:mod:`joulemark.judging.bootstrap`), over rows or over groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from joulemark.judging.bootstrap import Cells, Weights, bootstrap_bound
from joulemark.judging.metrics.metric import Classes, Metric, Pairs
from joulemark.judging.metrics.right_rows import largest

Counts = NDArray[np.float64]
"""Weights of rows summed by class: (draws, classes)."""


def value(true: Classes, predicted: Classes) -> float:
    """Weighted F1 of one net: scikit-learn's ``f1_score(average="weighted")``."""
    return float(_f1(np.ones((1, len(true))), true, predicted, 1 + int(max(true.max(), predicted.max())))[0])


def loss(pairs: Pairs, level: float) -> tuple[float, float]:
    """Points of F1 lost, the mean over seeds, and the bound of that.

    The row more of the bootstrap is one that the baseline has right and the candidate wrong, of the true and the
    predicted class that cost most.
    """
    seeds = len(pairs.true)
    columns = np.concatenate([pairs.true, pairs.baseline, pairs.candidate]).T
    cells, where = Cells.of(columns, pairs.groups)
    classes = max(2, 1 + int(columns.max()))  # a lost row is given another class than its own
    rows = columns[where].T
    true, before, after = rows[:seeds], rows[seeds : 2 * seeds], rows[2 * seeds :]
    seen = cells.counts[None].astype(np.float64)

    def lost(weights: Weights) -> NDArray[np.float64]:
        per_seed = [
            _f1(weights, true[s], before[s], classes) - _f1(weights, true[s], after[s], classes) for s in range(seeds)
        ]
        mean: NDArray[np.float64] = np.mean(per_seed, axis=0)
        return mean

    points = 100.0 * float(lost(seen)[0])
    own, other = _dearest(seen, true, before, after, classes)
    true, before, after = (
        np.pad(part, ((0, 0), (0, 1)), constant_values=extra)
        for part, extra in ((true, own), (before, own), (after, other))
    )
    return points, max(points, 100.0 * bootstrap_bound(cells, lost, level=level))


def _f1(weights: Weights, true: Classes, predicted: Classes, classes: int) -> NDArray[np.float64]:
    return _whole(*_counts(weights, true, predicted, classes))


def _counts(weights: Weights, true: Classes, predicted: Classes, classes: int) -> tuple[Counts, Counts, Counts]:
    """n, p and t of every class."""
    right = np.flatnonzero(true == predicted)
    return (
        _by_class(weights, true, classes),
        _by_class(weights, predicted, classes),
        _by_class(weights[:, right], true[right], classes),
    )


def _by_class(weights: Weights, labels: Classes, classes: int) -> Counts:
    sums = np.zeros((len(weights), classes))
    if len(labels):
        order = np.argsort(labels, kind="stable")
        present, starts = np.unique(labels[order], return_index=True)
        sums[:, present] = np.add.reduceat(weights[:, order], starts, axis=1)
    return sums


def _terms(n: Counts, p: Counts, t: Counts) -> Counts:
    """2 n t / (n + p) of every class; 0 of a class that is neither true nor predicted."""
    both = n + p
    return np.divide(2.0 * n * t, both, out=np.zeros_like(both), where=both > 0)


def _whole(n: Counts, p: Counts, t: Counts) -> NDArray[np.float64]:
    total: NDArray[np.float64] = _terms(n, p, t).sum(axis=-1) / n.sum(axis=-1)
    return total


def _dearest(seen: Weights, true: Classes, before: Classes, after: Classes, classes: int) -> tuple[int, int]:
    """The true and the predicted class of the one row more that costs the candidate most.

    Only the terms of those two classes change, so that every pair of classes is tried at once.
    """
    cost = np.zeros((classes, classes))
    for s in range(len(true)):
        n, p, t = (part[0] for part in _counts(seen, true[s], before[s], classes))
        cost += (_terms(n + 1, p + 1, t + 1) - _terms(n, p, t))[:, None]
        n, p, t = (part[0] for part in _counts(seen, true[s], after[s], classes))
        terms = _terms(n, p, t)
        cost -= (_terms(n + 1, p, t) - terms)[:, None] + (_terms(n, p + 1, t) - terms)[None]
    np.fill_diagonal(cost, -np.inf)
    own, other = divmod(int(cost.argmax()), classes)
    return own, other


weighted_f1 = Metric(name="weighted-f1", title="weighted F1", keep=largest, value=value, loss=loss)
