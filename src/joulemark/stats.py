"""Intervals and ratios: bootstrap over images and over blocks, ranks with ties, Kendall's tau.

Everything is deterministic: the random generator is seeded with a constant, so the same data give the same interval.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from joulemark.record import Ratio

RESAMPLES = 4000


def loss_bound(
    baseline: NDArray[np.bool_], candidate: NDArray[np.bool_], *, level: float = 0.95
) -> tuple[float, float]:
    """Accuracy loss in points and its one-sided upper bound, paired over images, seeds pooled.

    ``baseline`` and ``candidate`` have shape (seeds, images): correct or not, row i of both from the same seed and
    column j the same image. Images are resampled with replacement, all seeds of an image together, because the seeds
    share the images and so are not independent. Returns ``(loss, bound)`` in percentage points, a loss being positive.

    Few disagreements make the bootstrap blind to the next one, so the bound is never below the loss plus the "rule of
    three" share -ln(1 - level) / images (Hanley and Lippman-Hand 1983).

    >>> import numpy as np
    >>> same = np.ones((1, 100), dtype=bool)
    >>> loss, bound = loss_bound(same, same)
    >>> loss, round(bound, 2)
    (0.0, 3.0)
    """
    if baseline.shape != candidate.shape or baseline.ndim != 2:
        raise ValueError(f"need two (seeds, images) arrays of one shape, got {baseline.shape} and {candidate.shape}")
    differences = (baseline.astype(np.float64) - candidate.astype(np.float64)).mean(axis=0)
    images = differences.size
    loss = 100.0 * float(differences.mean())
    # Resampling images is resampling the counts of each distinct difference: a multinomial, exact and fast.
    values, counts = np.unique(differences, return_counts=True)
    draws = np.random.default_rng(0).multinomial(images, counts / images, size=RESAMPLES)
    means = 100.0 * (draws @ values) / images
    unseen = -100.0 * math.log(1.0 - level) / images
    return loss, max(float(np.quantile(means, level)), loss + unseen)


def paired_ratio(blocks: ArrayLike, *, level: float = 0.95) -> Ratio | None:
    """Ratio baseline / candidate over blocks of (baseline, candidate, baseline), with an interval over blocks.

    The ratio of a block divides the geometric mean of its two baselines by its candidate, so that a slow drift of the
    machine cancels to first order. Blocks are averaged geometrically, and the interval is Student's t on the
    logarithms, which is honest for a handful of blocks where a bootstrap is too narrow.
    ``None`` with fewer than three blocks.

    >>> paired_ratio([(2.0, 1.0, 2.0)] * 5).value
    2.0
    """
    rows = np.asarray(blocks, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[0] < 3:
        return None
    logs = 0.5 * (np.log(rows[:, 0]) + np.log(rows[:, 2])) - np.log(rows[:, 1])
    centre = float(logs.mean())
    half = t_quantile(0.5 + level / 2, len(logs) - 1) * float(logs.std(ddof=1)) / math.sqrt(len(logs))
    return Ratio(value=math.exp(centre), low=math.exp(centre - half), high=math.exp(centre + half), count=len(logs))


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

    Standard errors of the seeds are independent and their degrees of freedom add, so few blocks in each of several
    seeds do as well as many in one. The spread between the seeds counts too: the half-width is never below
    Student's t times the standard error over seeds or, of two seeds, which say too little for that, half their
    distance. ``None`` for no ratio.
    """
    if not ratios:
        return None
    logs = np.log([ratio.value for ratio in ratios])
    degrees = [max(1, ratio.count - 1) for ratio in ratios]
    errors = [
        (math.log(ratio.high) - math.log(ratio.low)) / 2 / t_quantile(0.975, d)
        for ratio, d in zip(ratios, degrees, strict=True)
    ]
    within = t_quantile(0.975, sum(degrees)) * math.hypot(*errors) / len(ratios)
    between = float(np.ptp(logs)) / 2
    if len(ratios) > 2:
        between = t_quantile(0.975, len(ratios) - 1) * float(logs.std(ddof=1)) / math.sqrt(len(ratios))
    half, centre = max(within, between), float(logs.mean())
    return Ratio(
        value=math.exp(centre),
        low=math.exp(centre - half),
        high=math.exp(centre + half),
        count=sum(ratio.count for ratio in ratios),
    )


def ranks(lows: Sequence[float], highs: Sequence[float]) -> list[tuple[int, int]]:
    """Rank of each cost as a range: ties are costs whose intervals overlap. Lower cost, lower rank.

    The best possible rank counts the costs certainly below, the worst those not certainly above.

    >>> ranks([1.0, 1.5, 3.0], [2.0, 2.5, 4.0])
    [(1, 2), (1, 2), (3, 3)]
    """
    low, high = np.asarray(lows, dtype=float), np.asarray(highs, dtype=float)
    best = 1 + (high[None, :] < low[:, None]).sum(axis=1)
    worst = len(low) - (low[None, :] > high[:, None]).sum(axis=1)
    return [(int(a), int(b)) for a, b in zip(best, worst, strict=True)]


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
