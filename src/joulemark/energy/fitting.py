"""The regressions behind a device profile: Lasso with 10-fold cross-validation on NeuralPower's features.

NeuralPower fits seconds by a plain Lasso: squared errors in milliseconds, signs free, the penalty of the least
cross-validated error (:func:`_plain`). Layers span five decades of time, so the largest decide such a fit alone, and
where layers differ from those measured it can predict less than nothing; the released code then takes 0.105 ms. What a
profile uses (:func:`fit`, ours) keeps features, Lasso and folds, and changes four things:

* errors are relative: row i weighs 1 / t_i^2, so that the error summed is that of the RMSPE which is reported;
* coefficients are not negative, since more work takes no less time;
* the terms that the Lasso kept are fitted again without its penalty, which would shrink each of them;
* a few terms are added that no polynomial of sizes can express (:func:`joulemark.energy.features.own_terms`).

Watts span a factor of a few and do fall with size here and there: they are fitted as in the paper. All features are
scaled to a mean square of 1 beforehand (MATLAB's ``lasso`` standardises, scikit-learn's does not). The element-wise
operators of ours have a handful of features and need no Lasso: least squares of relative errors, nothing negative.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemark.energy.features import PAPER, Layer, features, own_terms
from joulemark.record import Record

FOLDS = 10
"""Of the cross-validation that chooses the penalty, and of the one that judges the fit."""

FEWEST = 3 * FOLDS
"""Rows of a type that a Lasso needs here; with fewer there is no fit."""

FEWEST_ELEMENTWISE = 6
"""Rows that the few features of an element-wise operator need."""

PENALTIES = 40
SMALLEST_PENALTY = 1e-4
"""Penalties tried, from the one that leaves no term down to this share of it (as MATLAB's ``lasso``)."""

MOST_ITERATIONS = 1000

Array = NDArray[np.float64]


class Fit(Record, frozen=True, kw_only=True):
    """One regression: ``quantity`` ("seconds" or "watts") of layers of one type."""

    type: str
    quantity: str
    method: str  # "lasso" or "least squares"
    intercept: float
    coefficients: tuple[tuple[int, float], ...]  # (place among the features, per unit of that feature)
    rows: int
    rmspe: float | None  # on rows that were held out; None: not judged
    median_error: float | None  # the median of the relative errors of the same rows, sign dropped
    paper_rmspe: float | None = None  # the same by the plain Lasso of the paper

    def predict(self, layer: Layer) -> float:
        """Seconds or watts of a layer, never below 0."""
        row = _terms(layer, self.quantity)
        return max(0.0, self.intercept + math.fsum(value * row[place] for place, value in self.coefficients))


def fit(layers: Sequence[Layer], values: Sequence[float], quantity: str, *, seed: int, judge: bool = True) -> Fit:
    """Fit one layer type; with ``judge``, its errors on rows held out in ten folds stand with it.

    Deterministic by ``seed``, which shuffles rows into folds. Raises ``ValueError`` for too few rows.

    >>> layers = [Layer(type="relu", batch=1, input=(n,), output=(n,)) for n in range(100, 1000, 100)]
    >>> found = fit(layers, [1e-6 + 2e-9 * layer.moved for layer in layers], "seconds", seed=0)
    >>> f"{found.predict(layers[4]):.6g}"  # 1 us + 2 ns for each of 500 elements
    '2e-06'
    """
    kind = layers[0].type if layers else "no"
    if len(layers) < fewest(kind):
        raise ValueError(f"{len(layers)} measured layers of type {kind} are too few for a fit: it needs {fewest(kind)}")
    x, y = np.array([_terms(layer, quantity) for layer in layers]), np.array(values, dtype=float)
    lasso = kind in PAPER
    how: Solver = (_plain if quantity == "watts" else _relative) if lasso else _least_squares
    intercept, coefficients = how(x, y, seed)
    judged = _held_out(x, y, how, seed) if judge else None
    plain = np.array([features(layer, quantity) for layer in layers])  # without terms of ours
    paper = _held_out(plain, y, _plain, seed) if judge and lasso and how is not _plain else None
    return Fit(
        type=kind,
        quantity=quantity,
        method="lasso" if lasso else "least squares",
        intercept=intercept,
        coefficients=tuple((place, float(value)) for place, value in enumerate(coefficients) if value),
        rows=len(y),
        rmspe=None if judged is None else rmspe(judged, y),
        median_error=None if judged is None else float(np.median(np.abs(judged / y - 1.0))),
        paper_rmspe=None if paper is None else rmspe(paper, y),
    )


def fewest(kind: str) -> int:
    """Rows that a fit of a layer type needs.

    >>> fewest("conv"), fewest("relu")
    (30, 6)
    """
    return FEWEST if kind in PAPER else FEWEST_ELEMENTWISE


def rmspe(predicted: Array, measured: Array) -> float:
    """Root of the mean square of the relative error, the figure of NeuralPower's tables (there in percent).

    >>> round(rmspe(np.array([1.1, 1.8]), np.array([1.0, 2.0])), 6)
    0.1
    """
    return float(np.sqrt(np.mean((predicted / measured - 1.0) ** 2)))


def _terms(layer: Layer, quantity: str) -> list[float]:
    """The features of a fit: the paper's, and for seconds those of ours behind them."""
    own = own_terms(layer) if quantity == "seconds" else []
    return [*features(layer, quantity), *own]


Solver = Callable[[Array, Array, int], tuple[float, Array]]
"""Features (rows, terms), values (rows,) and a seed -> intercept and coefficients (terms,)."""


def _plain(x: Array, y: Array, seed: int) -> tuple[float, Array]:
    """The Lasso of the released code: squared errors, free signs, the penalty of least cross-validated error."""
    scale = _scale(x)
    unit = float(np.mean(np.abs(y)))  # so that the solver's tolerance means the same for seconds and watts
    found = _lasso_cv(x / scale, y / unit, None, seed, positive=False)
    return float(found.intercept_) * unit, found.coef_ / scale * unit


def _relative(x: Array, y: Array, seed: int) -> tuple[float, Array]:
    """Ours: relative errors, nothing negative, the kept terms fitted again without the penalty."""
    weights = 1.0 / y**2
    scale = _scale(x / y[:, None])
    found = _lasso_cv(x / scale, y, weights / weights.mean(), seed, positive=True)
    kept = np.flatnonzero(found.coef_)
    intercept, again = _least_squares(x[:, kept], y, seed)
    coefficients = np.zeros(x.shape[1])
    coefficients[kept] = again
    return intercept, coefficients


def _least_squares(x: Array, y: Array, _seed: int) -> tuple[float, Array]:
    """Least squares of relative errors; intercept and coefficients are not negative (Lawson and Hanson 1974)."""
    from sklearn.linear_model import LinearRegression

    design = np.column_stack([np.ones(len(y)), x]) / y[:, None]
    scale = _scale(design)
    solved = LinearRegression(positive=True, fit_intercept=False).fit(design / scale, np.ones(len(y)))
    values = solved.coef_ / scale
    return float(values[0]), values[1:]


def _lasso_cv(x: Array, y: Array, weights: Array | None, seed: int, *, positive: bool) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LassoCV
    from sklearn.model_selection import KFold

    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    model = LassoCV(
        eps=SMALLEST_PENALTY, alphas=PENALTIES, cv=folds, positive=positive, max_iter=MOST_ITERATIONS, random_state=seed
    )
    with warnings.catch_warnings():
        # The smallest penalties may stop early; the folds judge what was reached, and the kept terms are fitted again.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y, sample_weight=weights)


def _held_out(x: Array, y: Array, how: Solver, seed: int) -> Array:
    """Predictions (rows,) for every row by a fit that has not seen it, in ten folds."""
    from sklearn.model_selection import KFold

    predicted = np.empty(len(y))
    folds = KFold(min(FOLDS, len(y)), shuffle=True, random_state=seed + 1)  # others than those that chose the penalty
    for known, unknown in folds.split(x):
        intercept, coefficients = how(x[known], y[known], seed)
        predicted[unknown] = np.maximum(0.0, intercept + x[unknown] @ coefficients)
    return predicted


def _scale(x: Array) -> Array:
    """Root mean square of each column; 1 for a column of zeros."""
    scale: Array = np.sqrt(np.mean(x**2, axis=0))
    scale[scale == 0.0] = 1.0
    return scale
