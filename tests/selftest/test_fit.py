"""A straight line through points: against numpy, against textbook figures, and where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from joulemark.selftest.fit import line


def test_a_line_is_that_of_numpy() -> None:
    x, y = [1.0, 2.0, 4.0, 8.0], [3.1, 4.9, 9.2, 16.7]
    fitted = line(x, y)
    (slope, intercept), covariance = np.polyfit(x, y, 1, cov=True)
    assert (fitted.slope, fitted.intercept) == pytest.approx((slope, intercept))
    assert fitted.slope_error == pytest.approx(math.sqrt(covariance[0, 0]))
    assert fitted.r_squared == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
    assert fitted.residuals == pytest.approx(np.asarray(y) - np.polyval([slope, intercept], x))


def test_a_line_is_that_of_the_textbook() -> None:
    """Anscombe 1973, the first of four data sets: y = 3.00 + 0.500 x, R2 0.667, standard error of the slope 0.118."""
    x = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
    y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]
    fitted = line(x, y)
    assert (round(fitted.intercept, 2), round(fitted.slope, 3)) == (3.0, 0.5)
    assert (round(fitted.r_squared or 0.0, 3), round(fitted.slope_error, 3)) == (0.667, 0.118)


def test_points_on_a_line_have_no_error() -> None:
    fitted = line([3, 1, 2, 10], [7, 3, 5, 21])
    assert (fitted.slope, fitted.intercept, fitted.r_squared) == pytest.approx((2.0, 1.0, 1.0))
    assert fitted.slope_error == pytest.approx(0.0, abs=1e-12)
    assert fitted.residuals == pytest.approx([0.0] * 4, abs=1e-12)


def test_of_equal_values_nothing_is_explained_and_the_slope_is_0() -> None:
    fitted = line([1, 2, 3], [5, 5, 5])
    assert (fitted.slope, fitted.intercept, fitted.r_squared, fitted.slope_error) == (0.0, 5.0, None, 0.0)


@pytest.mark.parametrize(
    ("x", "y"),
    [([], []), ([1], [1]), ([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [1, 2]), ([1, 2], [1, 2, 3])],
)
def test_fewer_than_three_points_or_one_place_make_no_line(x: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match="a line needs three points with different x"):
        line(x, y)


POINTS = st.lists(st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)), min_size=3, max_size=30)


@given(POINTS, st.floats(-100, 100), st.floats(-100, 100))
def test_no_other_line_is_nearer_in_squares_and_the_misses_are_even(
    points: list[tuple[int, int]], tilt: float, shift: float
) -> None:
    x, y = (np.array(side, dtype=float) for side in zip(*points, strict=True))
    assume(len(set(x)) > 1)
    fitted = line(x, y)
    misses = np.array(fitted.residuals)
    scale = 1e-9 * (1 + np.abs(x).max()) * (1 + np.abs(y).max()) * len(x)
    assert misses.sum() == pytest.approx(0.0, abs=scale)
    assert (misses * x).sum() == pytest.approx(0.0, abs=scale * 1000)
    other = y - (fitted.intercept + shift) - (fitted.slope + tilt) * x
    assert (misses**2).sum() <= (other**2).sum() * (1 + 1e-9) + 1e-9
    assert fitted.r_squared is None or -1e-9 <= fitted.r_squared <= 1
