"""Joules per iteration by regression, for work shorter than the update period of a counter.

A counter refreshed every T seconds and read at two arbitrary moments lags by a time that is uniform over 0..T at each
edge. At P watts their difference is off by P (U1 - U2), triangular with variance 2 (P T)^2 / 12, so by a standard
deviation of P T / sqrt(6). Right after a refresh the lag is always the same. So the joules are taken at the moments
the counter changed (its ticks), the iterations done by then are interpolated, and the slope of joules over iterations
is the cost of one; the constant lag and whatever starting cost go into the intercept.

The residuals of such a line are strongly autocorrelated, since the joules at a tick hold the noise of all power drawn
before. Least squares is still unbiased, but its usual standard error is many times too small. With weights
c_k = (n_k - mean n) / sum (n_k - mean n)^2 the error of the slope is sum c_k e_k; by the increments
d_j = e_j - e_(j-1), one a tick, it is sum C_j d_j with C_j = c_j + c_(j+1) + ... . The increments are noise of the
power alone, stationary if not independent, so the variance of that sum is sum C_j^2 times their long-run variance. For
it the increments are first made whiter, d_j - r d_(j-1) (Andrews and Monahan 1992, doi:10.2307/2951574, recalled): it
is 1 / (1 - r)^2 times the mean square of their projections on the K slowest cosines, with Student's t of K degrees of
freedom and K = 0.4 m^(2/3) for m increments (Lazarus, Lewis, Stock and Watson 2018, doi:10.1080/07350015.2018.1506926,
recalled). A shared mean, which is what an error of the slope does to them, is no part of any cosine. Noise of the
ticks' own times cancels between neighbours; the interval is then too wide, never too narrow. How often it holds the
truth is simulated in tests/meters/test_slope.py: 95 %, unless the power remembers for half the window or longer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from joulemark.judging.statistics import t_quantile
from joulemark.meters.replay import SHORTEST_UPDATES
from joulemark.record import Quantity

LONGEST_MEMORY = 0.97
"""No longer memory is corrected for: nearer to 1 the correction explodes (Andrews and Monahan 1992, recalled)."""

DRIFT_LEVEL = 0.99
"""The halves of a window differ by more than chance: the flag ``drift`` comes by itself in about 1 % of windows."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """Joules over iterations at ``ticks`` counter changes, ``intercept + slope * iterations``."""

    slope_joules: float  # per iteration
    error_joules: float  # standard error of the slope
    degrees: int  # of Student's t for its interval
    intercept_joules: float  # at iteration 0: fixed starting costs, less the energy of the counter's constant lag
    ticks: int


def joules_per_iteration(
    ticks: Sequence[tuple[int, float]], iterations: Sequence[tuple[int, float]], *, window: Quantity
) -> Quantity:
    """Joules of one iteration, with its standard error, a 95 % interval and the counter's gain as systematic part.

    ``ticks`` are (ns, joules since any start) at the moments the counter changed, ``iterations`` (ns, iterations done)
    by the same clock, at least two; ticks outside their times are left out. ``window`` is the joules of the same
    counter over the same time: it gives scope, source, gain and flags, and if it is unknown so is the answer. Fewer
    than 20 ticks are refused: unknown, flag ``too_short``. The flag ``drift`` says that the second half cost another
    amount per iteration than the first. Raises ``ValueError`` for times or joules that do not increase, and for
    iterations that decrease or never increase.
    """
    inside = _inside(ticks, iterations)
    told = msgspec.structs.replace(
        window, value=None, unit="J/iteration", method="energy counter, regression on iterations at its ticks",
        low=None, high=None, random=None, systematic=None, count=len(inside) or None,
    )  # fmt: skip
    if window.value is None:
        return told
    if len(inside) < SHORTEST_UPDATES:
        reason = f"{window.scope}: {len(inside)} updates of the counter while iterations ran, {SHORTEST_UPDATES} needed"
        return _flagged(msgspec.structs.replace(told, reason=reason), "too_short")
    done, joules = inside[:, 0], inside[:, 1]
    line = fit(done, joules)
    half = line.error_joules * t_quantile(0.975, line.degrees)
    gain = window.systematic / window.value if window.systematic is not None and window.value else None
    known = msgspec.structs.replace(
        told,
        value=line.slope_joules,
        low=line.slope_joules - half,
        high=line.slope_joules + half,
        random=line.error_joules,
        systematic=None if gain is None else abs(line.slope_joules * gain),
    )
    return _flagged(known, "drift") if drifts(done, joules) else known


def _flagged(quantity: Quantity, flag: str) -> Quantity:
    return msgspec.structs.replace(quantity, flags=tuple(dict.fromkeys((*quantity.flags, flag))))


def fit(iterations: Floats, joules: Floats) -> Line:
    """Ordinary least squares of joules on iterations, both of shape (ticks,), with the standard error told above.

    Raises ``ValueError`` for fewer than four ticks or if no iteration was done between them.
    """
    count = len(iterations)
    centred = iterations - iterations.mean()
    spread = float(centred @ centred)
    if count < 4 or spread == 0.0:
        raise ValueError(f"a line needs four ticks and iterations between them, not {count} ticks")
    weights = centred / spread
    slope = float(weights @ joules)
    intercept = float(joules.mean()) - slope * float(iterations.mean())
    sums = np.cumsum(weights[::-1])[-2::-1]
    increments = np.diff(joules - slope * iterations)
    error = math.sqrt(float(sums @ sums) * _long_run_variance(increments, degrees := _cosines(len(increments))))
    return Line(slope, error, degrees, intercept, count)


def _cosines(increments: int) -> int:
    """How many cosines: few enough to be slower than the memory of the noise; at least three, or t explodes."""
    return max(3, round(0.4 * math.pow(increments, 2.0 / 3.0)))


def _long_run_variance(increments: Floats, cosines: int) -> float:
    """Variance that a sum of stationary increments grows by with each, from their slowest ``cosines`` but the mean."""
    memory = _memory(increments)
    whiter = increments[1:] - memory * increments[:-1]
    count = len(whiter)
    waves = np.cos(np.pi * np.outer(np.arange(1, cosines + 1), np.arange(count) + 0.5) / count)
    return float(np.mean((math.sqrt(2.0 / count) * waves @ whiter) ** 2)) / (1.0 - memory) ** 2


def _memory(increments: Floats) -> float:
    """Correlation of neighbours, at least 0; rather too long than too short.

    The estimate r of m increments is too small by about (1 + 3 r) / m, since their mean is estimated, too (Kendall
    1954, doi:10.1093/biomet/41.3-4.403, recalled). That is added, and one standard error sqrt((1 - r^2) / m) (ours: so
    that an interval made with it holds the truth as often as it says; tests/meters/test_slope.py).
    """
    count = len(increments)
    centred = increments - increments.mean()
    square = float(centred @ centred)
    if square == 0.0:
        return 0.0
    told = float(centred[1:] @ centred[:-1]) / square
    told = max(min(told + (1.0 + 3.0 * told) / count, LONGEST_MEMORY), -LONGEST_MEMORY)
    return min(max(told + math.sqrt((1.0 - told * told) / count), 0.0), LONGEST_MEMORY)


def drifts(iterations: Floats, joules: Floats) -> bool:
    """Whether the second half of the ticks has another slope than the first, by Welch's test at 99 %."""
    middle = len(iterations) // 2
    first, second = fit(iterations[:middle], joules[:middle]), fit(iterations[middle:], joules[middle:])
    error = math.hypot(first.error_joules, second.error_joules)
    degrees = min(first.degrees, second.degrees)
    return abs(second.slope_joules - first.slope_joules) > error * t_quantile((1.0 + DRIFT_LEVEL) / 2.0, degrees)


def _inside(ticks: Sequence[tuple[int, float]], iterations: Sequence[tuple[int, float]]) -> Floats:
    """Iterations done and joules at every tick within the times of ``iterations``, shape (ticks, 2)."""
    if len(iterations) < 2:
        raise ValueError(f"need the iterations done at two moments at least, not {len(iterations)}")
    at, joules = _columns("ticks", ticks)
    when, done = _columns("iterations", iterations)
    if (np.diff(joules) <= 0).any():
        raise ValueError("the joules at the ticks must increase: a tick is a moment when the counter changed")
    if (np.diff(done) < 0).any() or done[-1] == done[0]:
        raise ValueError("the iterations done must not decrease, and some must be done")
    start = int(when[0])  # nanoseconds since the start are exact in floats, absolute ones are not
    kept = (at >= when[0]) & (at <= when[-1])
    moments, known = (at[kept] - start).astype(np.float64), (when - start).astype(np.float64)
    return np.column_stack([np.interp(moments, known, done), joules[kept]])


def _columns(name: str, rows: Sequence[tuple[int, float]]) -> tuple[NDArray[np.int64], Floats]:
    times = np.array([row[0] for row in rows], dtype=np.int64)
    if (np.diff(times) <= 0).any():
        raise ValueError(f"the times of the {name} must increase")
    return times, np.array([row[1] for row in rows], dtype=np.float64)
