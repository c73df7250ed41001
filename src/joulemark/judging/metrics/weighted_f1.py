"""Weighted F1: the F1 of every class, averaged with the classes' true rows as weights.

With n_c true rows of class c, p_c rows predicted as c and t_c of them right, F1 of a class is 2 t_c / (n_c + p_c), so
that the whole is (1 / N) sum of 2 n_c t_c / (n_c + p_c). No row is right or wrong by itself: the bound of a loss is a
paired bootstrap (:mod:`joulemark.judging.bootstrap`), over rows or over groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from joulemark.judging.bootstrap import Cells, Weights, bootstrap_bound
from joulemark.judging.metrics.metric import Classes, Metric, Pairs, require_one_class
from joulemark.judging.metrics.right_rows import largest

Counts = NDArray[np.float64]
"""Weights of rows summed by class: (draws, classes)."""


def value(true: Classes, predicted: Classes) -> float:
    """Weighted F1 of one net: scikit-learn's ``f1_score(average="weighted")``."""
    require_one_class(true, predicted)
    (own, given), classes = _numbered(np.stack([true, predicted]))
    return float(_f1(np.ones((1, len(own))), own, given, classes)[0])


def loss(pairs: Pairs, level: float) -> tuple[float, float]:
    """Points of F1 lost, the mean over seeds, and the bound of that.

    The row more of the bootstrap is one that the baseline has right and the candidate wrong, of the true and the
    predicted class that cost most.
    """
    require_one_class(pairs.true, pairs.baseline)
    require_one_class(pairs.true, pairs.candidate)
    seeds = len(pairs.true)
    rows, classes = _numbered(np.concatenate([pairs.true, pairs.baseline, pairs.candidate]))
    cells, where = Cells.of(rows.T, pairs.groups)
    true, before, after = np.split(rows[:, where], 3)
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

    The terms of those two classes change, each by itself: what the row costs is a sum of one figure for each.
    """
    as_true, as_predicted = np.zeros(classes), np.zeros(classes)
    for s in range(len(true)):
        n, p, t = (part[0] for part in _counts(seen, true[s], before[s], classes))
        as_true += _terms(n + 1, p + 1, t + 1) - _terms(n, p, t)
        n, p, t = (part[0] for part in _counts(seen, true[s], after[s], classes))
        as_true -= _terms(n + 1, p, t) - _terms(n, p, t)
        as_predicted -= _terms(n, p + 1, t) - _terms(n, p, t)
    best = [np.argsort(-part, kind="stable")[:2].tolist() for part in (as_true, as_predicted)]
    pairs = [(own, other) for own in best[0] for other in best[1] if own != other]
    return max(pairs, key=lambda pair: as_true[pair[0]] + as_predicted[pair[1]])


def _numbered(classes: Classes) -> tuple[Classes, int]:
    """Classes numbered from 0 in their order, and how many: at least two, since a lost row is given another one."""
    present, numbers = np.unique(classes, return_inverse=True)
    return numbers.reshape(classes.shape), max(2, len(present))


weighted_f1 = Metric(name="weighted-f1", title="weighted F1", keep=largest, value=value, loss=loss)
