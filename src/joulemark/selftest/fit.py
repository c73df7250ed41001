"""A straight line through points, and what an energy self-test asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """y = intercept + slope x by least squares, with the share of the variance that it explains."""

    slope: float
    slope_error: float  # standard error
    intercept: float
    r_squared: float | None  # None: all y are equal
    residuals: tuple[float, ...]


def line(x: Sequence[float], y: Sequence[float]) -> Line:
    """Fit a line. Raises ``ValueError`` with fewer than three points or if all ``x`` are equal.

    >>> fitted = line([0, 1, 2, 3], [5, 7, 9, 11])
    >>> round(fitted.slope, 9), round(fitted.intercept, 9), round(fitted.r_squared, 9)
    (2.0, 5.0, 1.0)
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    spread = float(((a - a.mean()) ** 2).sum()) if a.size else 0.0
    if a.size != b.size or a.size < 3 or spread == 0.0:
        raise ValueError(f"a line needs three points with different x, not {a.size} with a spread of {spread:g}")
    slope = float(((a - a.mean()) * (b - b.mean())).sum()) / spread
    intercept = float(b.mean() - slope * a.mean())
    residuals = b - intercept - slope * a
    total, left = float(((b - b.mean()) ** 2).sum()), float((residuals**2).sum())
    return Line(
        slope=slope,
        slope_error=(left / (a.size - 2) / spread) ** 0.5,
        intercept=intercept,
        r_squared=1.0 - left / total if total > 0 else None,
        residuals=tuple(float(one) for one in residuals),
    )
