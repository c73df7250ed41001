"""Intervals and ratios: bounds over images, intervals over blocks, ranks with ties, Kendall's tau.

Everything is deterministic: the same data give the same interval.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from joulemark.record import Ratio

RESAMPLES = 4000
ROUNDING = 1e-9
"""Logarithms nearer than this are equal: an interval that ends at 1 still holds 1."""


def loss_bound(
    baseline: NDArray[np.bool_], candidate: NDArray[np.bool_], *, level: float = 0.95
) -> tuple[float, float]:
    """Accuracy loss in points and its one-sided upper bound, paired over images, seeds pooled.

    ``baseline`` and ``candidate`` have shape (seeds, images): correct or not, row i of both from the same seed and
    column j the same image. Images are reweighted, all seeds of an image together, because the seeds share the images
    and so are not independent; the bound is of these nets' loss on new images, not of nets trained anew. Returns
    ``(loss, bound)`` in percentage points, a loss being positive. Raises ``ValueError`` for arrays that are not paired.

    The bound is that of :func:`mean_bound`: of a net with nothing lost it is the "rule of three", 3 / images.

    >>> import numpy as np
    >>> same = np.ones((1, 100), dtype=bool)
    >>> loss, bound = loss_bound(same, same)
    >>> loss, round(bound, 1)
    (0.0, 3.0)
    """
    values, counts = lost_shares(baseline, candidate)
    return 100.0 * float(values @ counts) / float(counts.sum()), 100.0 * mean_bound(values, counts, level=level)


def loss_interval(
    baseline: NDArray[np.bool_], candidate: NDArray[np.bool_], *, level: float = 0.95
) -> tuple[float, float]:
    """Two-sided interval of the accuracy loss in points: each side is :func:`loss_bound` at half the error."""
    values, counts = lost_shares(baseline, candidate)
    side = 0.5 + level / 2
    low, high = -mean_bound(-values[::-1], counts[::-1], level=side), mean_bound(values, counts, level=side)
    return 100.0 * low, 100.0 * high


def lost_shares(
    baseline: NDArray[np.bool_], candidate: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The share of the seeds that lost an image, from -1 (all gained it) to 1, and how many images each value has."""
    if baseline.shape != candidate.shape or baseline.ndim != 2 or not baseline.size:
        raise ValueError(f"need two (seeds, images) arrays of one shape, got {baseline.shape} and {candidate.shape}")
    seeds = baseline.shape[0]
    lost = baseline.sum(axis=0, dtype=np.int64) - candidate.sum(axis=0, dtype=np.int64)
    return np.arange(-seeds, seeds + 1) / seeds, np.bincount(lost + seeds, minlength=2 * seeds + 1)


def mean_bound(values: ArrayLike, counts: ArrayLike, *, level: float = 0.95) -> float:
    """One-sided upper bound of the mean of a quantity that is at most 1, from how often each value was seen.

    The Bayesian bootstrap (Rubin 1981) with one observation more, at the worst value 1: a bootstrap alone knows nothing
    of what it has not seen, and calls twice to thrice too many rare losses small (docs/statistics.md has the figures).
    This is the bound that Learned-Miller and Thomas conjecture to hold for every bounded quantity (2019,
    arXiv:1905.06208); of a share of ones among zeros it is that of Clopper and Pearson (1934). The other sources are
    recalled, not seen; what the bound promises is checked in tests/judging/test_statistics_coverage.py.

    The bootstrap's distribution is not drawn: P(mean <= t) is P(sum of (value - t) times its gamma weight <= 0). Of
    that, the saddlepoint approximation (Lugannani and Rice 1980, in Barndorff-Nielsen's form r* = w + ln(u / w) / w)
    is right to 2 % of the distance between bound and mean.

    >>> round(mean_bound([0, 1], [998, 2]), 5)  # Clopper and Pearson: 0.00628
    0.00629
    """
    if not 0.5 < level < 1.0:
        raise ValueError(f"a level is above 0.5 and below 1, not {level}")
    seen = [(float(v), float(n)) for v, n in zip(np.asarray(values), np.asarray(counts), strict=True) if n and v < 1.0]
    if not seen:
        return 1.0
    cells = [*seen, (1.0, float(np.sum(counts)) - sum(n for _, n in seen) + 1.0)]
    target = NormalDist().inv_cdf(level)
    low, high = 0.0, 1.0 - 1e-12  # of the tilt, which is 0 at the mean and 1 at the largest value
    while high - low > 1e-7 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _signed_root(cells, middle)[1] < target else (low, middle)
    return _signed_root(cells, high)[0]


def _signed_root(cells: Sequence[tuple[float, float]], tilt: float) -> tuple[float, float]:
    """The mean t to which a tilt leads, and r* of it: the standard normal quantile of P(bootstrap mean <= t).

    With K(s) = -sum n ln(1 - s (v - t)) the saddlepoint solves K'(s) = 0. Written with tilt = s / (1 + s t) that
    equation is linear in t, so no second search is needed.
    """
    weights = [n / (1.0 - tilt * v) for v, n in cells]
    t = sum(weight * v for weight, (v, _) in zip(weights, cells, strict=True)) / sum(weights)
    s = tilt / (1.0 - tilt * t)
    deviance = 2.0 * sum(n * math.log1p(-s * (v - t)) for v, n in cells)
    w = math.sqrt(max(deviance, 0.0))
    if w < 1e-6:
        return t, 0.0
    u = s * math.sqrt(sum(n * ((v - t) / (1.0 - s * (v - t))) ** 2 for v, n in cells))
    return t, w + math.log(u / w) / w


def paired_ratio(blocks: ArrayLike, *, level: float = 0.95) -> Ratio | None:
    """Ratio baseline / candidate over blocks of (baseline, candidate, baseline), with an interval over blocks.

    The ratio of a block divides the geometric mean of its two baselines by its candidate, so that a slow drift of the
    machine cancels to first order. Over the logarithms of the blocks goes the midmean: the lowest and the highest
    quarter are left out, because interference makes a few blocks wildly wrong, and the interval is that of Tukey and
    McLaughlin (1963) for trimmed means, Student's t with the winsorised deviation. Of fewer than eight blocks all are
    kept, which is the plain mean with Student's t. How honest the interval is under noise is simulated in
    tests/benchmarking/test_measuring.py. ``None`` with fewer than three blocks. Raises ``ValueError`` for a window that
    took no time, or no number of it.

    >>> paired_ratio([(2.0, 1.0, 2.0)] * 5).value
    2.0
    """
    rows = np.asarray(blocks, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[0] < 3:
        return None
    if not (np.isfinite(rows).all() and (rows > 0).all()):
        raise ValueError("a window is no positive number, so there is no ratio")
    logs = np.sort(0.5 * (np.log(rows[:, 0]) + np.log(rows[:, 2])) - np.log(rows[:, 1]))
    count, cut = len(logs), _trimmed(len(logs))
    kept = count - 2 * cut
    centre = float(logs[cut : count - cut].mean())
    deviation = float(logs.clip(logs[cut], logs[count - cut - 1]).std(ddof=1))
    error = deviation * math.sqrt((count - 1) / (kept * (kept - 1)))
    half = t_quantile(0.5 + level / 2, ratio_degrees(count)) * error
    return Ratio(value=math.exp(centre), low=math.exp(centre - half), high=math.exp(centre + half), count=count)


def _trimmed(blocks: int) -> int:
    """How many blocks are left out at either end."""
    return blocks // 4 if blocks >= 8 else 0


def ratio_degrees(blocks: int) -> int:
    """Degrees of freedom of the interval of :func:`paired_ratio` over so many blocks; at least 1."""
    return max(1, blocks - 2 * _trimmed(blocks) - 1)


@functools.cache
def t_quantile(p: float, degrees: int) -> float:
    """Quantile of Student's t, p in (0.5, 1), by bisection of its distribution function (no SciPy at import).

    For whole degrees of freedom the distribution function is a finite sum (Abramowitz and Stegun 26.7.3 and 26.7.4).

    >>> round(t_quantile(0.975, 3), 3)
    3.182
    """
    low, high = 0.0, 1e6
    while high - low > 1e-9 * max(high, 1.0):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_distribution(middle, degrees) < p else (low, middle)
    return high


def _t_distribution(t: float, degrees: int) -> float:
    angle = math.atan(t / math.sqrt(degrees))
    cosine, odd = math.cos(angle), degrees % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(2 + odd, degrees + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    within = math.sin(angle) * total
    return 0.5 + ((angle + within) / math.pi if odd else within / 2)


def bootstrap_median(values: ArrayLike, *, level: float = 0.95) -> tuple[float, float]:
    """Two-sided percentile bootstrap interval of the median."""
    data = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng(0).integers(0, data.size, size=(RESAMPLES, data.size))
    medians = np.median(data[picks], axis=1)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(medians, [tail, 1.0 - tail])
    return float(low), float(high)


def combine_ratios(ratios: Sequence[Ratio]) -> Ratio | None:
    """Geometric mean of the ratios of several seeds, from :func:`paired_ratio`, combined in the log domain.

    Standard errors of the seeds are independent, and their degrees of freedom are pooled (Welch and Satterthwaite,
    rounded down), so few blocks in each of several seeds do nearly as well as many in one. The spread between the seeds
    counts too: the half-width is never below Student's t times the standard error over seeds or, of two seeds, which
    say too little for that, half their distance. ``None`` for no ratio.
    """
    return _combined(tuple(ratios)) if ratios else None


@functools.lru_cache(maxsize=1 << 15)  # a page asks for the same ratios on every board and limit
def _combined(ratios: tuple[Ratio, ...]) -> Ratio:
    return _ratio(_log_moments(ratios), sum(ratio.count for ratio in ratios))


def ratio_of_ratios(ours: Sequence[Ratio | None], theirs: Sequence[Ratio | None]) -> Ratio | None:
    """How many times cheaper ours are than theirs: ratios to the same baselines, seed by seed, ours over theirs.

    Place i of both is the same seed; a seed that either lacks is left out. Each ratio has blocks and baseline windows
    of its own, so the errors of the two add; the rest is as in :func:`combine_ratios`. ``None`` without a common seed.

    >>> half = Ratio(value=2.0, low=2.0, high=2.0, count=5)
    >>> third = Ratio(value=3.0, low=3.0, high=3.0, count=5)
    >>> round(ratio_of_ratios([third], [half]).value, 6)
    1.5
    """
    shared = [(our, their) for our, their in zip(ours, theirs, strict=True) if our is not None and their is not None]
    if not shared:
        return None
    count = sum(our.count + their.count for our, their in shared)
    return _ratio(_quotients(_log_moments(ours), _log_moments(theirs)), count)


def ranks(rows: Sequence[Sequence[Ratio | None]], *, margin: float | Sequence[float] = 1.0) -> list[tuple[int, int]]:
    """Rank of each row as a range, rows being ratios to the same baselines seed by seed. Higher ratio, lower rank.

    A row is certainly cheaper than another if the interval of :func:`ratio_of_ratios` lies above ``margin``: one
    number, or one a row, of which the wider of the two counts. The best possible rank counts those certainly cheaper,
    the worst those not certainly dearer, so that rows which cannot be told apart share a place.

    >>> a, b, c = (Ratio(value=v, low=v / 1.1, high=v * 1.1, count=5) for v in (3.0, 2.9, 1.0))
    >>> ranks([[a], [b], [c]])
    [(1, 2), (1, 2), (3, 3)]
    """
    moments = np.stack([_log_moments(row) for row in rows], axis=1) if rows else np.empty((3, 0, 0))
    limits, places = np.broadcast_to(np.log(margin) + ROUNDING, len(rows)), []
    for own, mine in zip(limits, np.moveaxis(moments, 1, 0), strict=True):
        limit = np.maximum(limits, own)
        centre, half = _log_interval(_quotients(mine[:, None, :], moments))
        cheaper, dearer = int((centre + half < -limit).sum()), int((centre - half > limit).sum())
        places.append((1 + cheaper, len(rows) - dearer))
    return places


def certainly(ratio: Ratio, *, margin: float = 1.0) -> int:
    """1 if the whole interval lies above ``margin``, -1 if it lies below 1 / ``margin``, 0 if nobody can say."""
    limit = math.log(margin) + ROUNDING
    return int(math.log(ratio.low) > limit) - int(math.log(ratio.high) < -limit)


def _log_moments(ratios: Sequence[Ratio | None]) -> NDArray[np.float64]:
    """Of each ratio its logarithm, the variance of that, and variance squared / degrees; shape (3, seeds).

    All three are NaN where there is no ratio.
    """
    columns = []
    for ratio in ratios:
        if ratio is None:
            columns.append((math.nan, math.nan, math.nan))
            continue
        degrees = ratio_degrees(ratio.count)
        error = (math.log(ratio.high) - math.log(ratio.low)) / 2 / t_quantile(0.975, degrees)
        columns.append((math.log(ratio.value), error**2, error**4 / degrees))
    return np.array(columns, dtype=np.float64).reshape(-1, 3).T


def _quotients(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Moments of ours over theirs: logarithms subtract, variances and their squares add."""
    return np.stack([ours[0] - theirs[0], ours[1] + theirs[1], ours[2] + theirs[2]])


def _log_interval(moments: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre and half-width over seeds, the last axis; NaN where there is no seed."""
    logs = moments[0]
    seeds = (~np.isnan(logs)).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = np.where(seeds > 0, np.nansum(logs, axis=-1) / seeds, np.nan)
        variance, squares = np.nansum(moments[1], axis=-1), np.nansum(moments[2], axis=-1)
        degrees = np.where(squares > 0, variance**2 / squares + 1e-9, 1.0)
        deviation = np.sqrt(np.nansum((logs - centre[..., None]) ** 2, axis=-1) / (seeds - 1))
        within = _t_975(degrees) * np.sqrt(variance) / seeds
        between = np.where(seeds > 2, _t_975(seeds - 1) * deviation / np.sqrt(seeds), deviation / math.sqrt(2))
        # Of two seeds the deviation is their distance / sqrt(2), of one it is 0 / 0.
        return centre, np.where(seeds > 1, np.fmax(within, between), within)


def _t_975(degrees: NDArray[Any]) -> NDArray[np.float64]:
    """Student's t for a 95 % interval, whole degrees of freedom (rounded down, at most 1,000)."""
    whole, where = np.unique(np.clip(np.floor(degrees), 1, 1000).astype(int), return_inverse=True)
    return np.array([t_quantile(0.975, int(d)) for d in whole])[where].reshape(np.shape(degrees))


def _ratio(moments: NDArray[np.float64], count: int) -> Ratio:
    centre, half = (float(value) for value in _log_interval(moments))
    return Ratio(value=math.exp(centre), low=math.exp(centre - half), high=math.exp(centre + half), count=count)


def kendall_tau(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Kendall's tau-a of two rankings: (concordant - discordant) / pairs. ``None`` with fewer than two items.

    >>> kendall_tau([1, 2, 3], [1, 3, 2])
    0.3333333333333333
    """
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if x.size < 2:
        return None
    upper = np.triu_indices(x.size, 1)
    signs = np.sign((x[:, None] - x[None, :])[upper]) * np.sign((y[:, None] - y[None, :])[upper])
    return float(signs.mean())
