"""Whether the bounds keep their promise: synthetic classifiers whose true loss is known, at the limit exactly.

One seed is counted out, over every outcome of (images lost, images won); several seeds are simulated.
docs/statistics.md quotes these figures.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

from joulemark.judging.statistics import (
    certainly,
    combine_ratios,
    loss_bound,
    loss_interval,
    mean_bound,
    paired_ratio,
    ratio_of_ratios,
)
from joulemark.record import Ratio

TASKS = 1500
THREE_ERRORS = 3 * math.sqrt(0.05 * 0.95 / TASKS)


def binomial(n: int, p: float) -> np.ndarray:
    """Probabilities of 0 to n successes, by logarithms."""
    k = np.arange(n + 1)
    ways = math.lgamma(n + 1) - np.array([math.lgamma(i + 1) + math.lgamma(n - i + 1) for i in range(n + 1)])
    return np.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))


def exact_false_rate(images: int, limit: float, won: float, level: float) -> float:
    """P(the bound is at most the limit) of a net that wins ``won`` of the images and truly loses ``limit`` more."""
    gains = binomial(images, won) if won else np.array([1.0])
    total = 0.0
    for wins in np.flatnonzero(gains > 1e-5):
        losses = np.cumsum(binomial(images - wins, (limit + won) / (1 - won)))
        below, above = -1, images - wins + 1  # most losses that pass, fewest that do not
        while above - below > 1:
            middle = (below + above) // 2
            counts = [wins, images - wins - middle, middle]
            passes = middle - wins < limit * images and mean_bound([-1, 0, 1], counts, level=level) <= limit
            below, above = (middle, above) if passes else (below, middle)
        total += gains[wins] * losses[below] if below >= 0 else 0.0
    return total


@pytest.mark.parametrize("won", [0.0, 0.001, 0.01])
@pytest.mark.parametrize(
    ("images", "limit"), [(500, 0.01), (500, 0.02), (1000, 0.005), (1000, 0.02), (2000, 0.005), (2000, 0.01)]
)
def test_a_net_at_the_limit_is_falsely_eligible_in_at_most_one_case_of_twenty(images, limit, won):
    rate = exact_false_rate(images, limit, won, 0.95)
    assert 0.02 < rate <= 0.05  # a percentile bootstrap: up to 13 %


def test_a_bound_of_ten_thousand_images_is_nearly_exact():
    assert 0.04 < exact_false_rate(10_000, 0.005, 0.0, 0.95) <= 0.05


@functools.cache
def passes(counts: tuple[int, ...], limit: float, level: float) -> bool:
    seeds = len(counts) // 2
    shares = np.arange(-seeds, seeds + 1) / seeds
    if shares @ np.array(counts) >= limit * sum(counts):
        return False  # the bound is never below the loss seen
    return mean_bound(shares, counts, level=level) <= limit


def shares_of_images(limit: float, won: float, seeds: int, shared: float) -> np.ndarray:
    """How likely each sum of lost (1) and won (-1) over the seeds is; some images share their fate in all."""
    one = np.array([won, 1 - 2 * won - limit, won + limit])
    independent = functools.reduce(np.convolve, [one] * seeds)
    together = np.zeros(2 * seeds + 1)
    together[[0, seeds, 2 * seeds]] = one
    return shared * together + (1 - shared) * independent


@pytest.mark.parametrize("limit", [0.005, 0.01, 0.02])
@pytest.mark.parametrize("images", [500, 1000, 10_000])
@pytest.mark.parametrize("seeds", [2, 3])
def test_pooled_seeds_are_falsely_eligible_in_at_most_one_case_of_twenty(seeds, images, limit):
    rng = np.random.default_rng(int(1000 * limit) + images + seeds)
    rates = []
    for won, shared in [(0.0, 0.0), (0.002, 0.5), (0.02, 0.5), (0.005, 1.0)]:
        likely = shares_of_images(limit, won, seeds, shared)
        tasks = rng.multinomial(images, likely, size=TASKS)
        rates.append(np.mean([passes(tuple(map(int, task)), limit, 0.95) for task in tasks]))
    assert max(rates) <= 0.05 + THREE_ERRORS
    assert np.mean(rates) <= 0.05


@pytest.mark.parametrize(("images", "lost"), [(50, 0), (50, 7), (500, 0), (500, 3), (1000, 20), (10_000, 1)])
@pytest.mark.parametrize("level", [0.95, 0.9833])
def test_losses_alone_have_the_bound_of_clopper_and_pearson(images, lost, level):
    bound = mean_bound([0, 1], [images - lost, lost], level=level)
    # By definition, the share of which so few or fewer losses would be seen once in twenty (or sixty) times.
    assert binomial(images, bound)[: lost + 1].sum() == pytest.approx(1 - level, rel=0.025)


@pytest.mark.parametrize("counts", [(2, 495, 3), (10, 970, 20), (30, 965, 5), (0, 293, 7), (50, 9850, 100)])
def test_the_saddlepoint_equals_a_drawn_bootstrap(counts):
    weights = np.random.default_rng(0).standard_gamma(np.add(counts, (0, 0, 1)), size=(400_000, 3))
    means = (weights[:, 2] - weights[:, 0]) / weights.sum(axis=1)
    width = np.quantile(means, 0.95) - means.mean()
    assert mean_bound([-1, 0, 1], counts) == pytest.approx(np.quantile(means, 0.95), abs=0.02 * width)


def test_the_bound_grows_with_the_level_and_ends_at_one():
    bounds = [mean_bound([0, 1], [99, 1], level=level) for level in (0.6, 0.9, 0.95, 0.99, 0.9999)]
    assert bounds == sorted(bounds)
    assert mean_bound([1.0], [7]) == 1.0
    with pytest.raises(ValueError, match=r"above 0\.5"):
        mean_bound([0, 1], [5, 5], level=0.05)


def test_the_two_sided_interval_holds_the_loss_and_is_made_of_both_sides():
    rng = np.random.default_rng(4)
    baseline, candidate = rng.random((2, 800)) < 0.9, rng.random((2, 800)) < 0.88
    low, high = loss_interval(baseline, candidate)
    loss, _ = loss_bound(baseline, candidate)
    assert low < loss < high
    assert high == loss_bound(baseline, candidate, level=0.975)[1]
    assert loss_interval(candidate, baseline) == pytest.approx((-high, -low))


def measured(
    rng: np.random.Generator, truth: float, seeds: int, blocks: int, noise: float, spread: float
) -> list[Ratio]:
    """Ratios of several seeds: each seed has its own truth, each window its own noise."""
    found = []
    for _ in range(seeds):
        mine = truth * math.exp(rng.normal(0, spread))
        found.append(paired_ratio(np.exp(rng.normal(0, noise, (blocks, 3))) * (mine, 1.0, mine)))
    return found


@pytest.mark.parametrize(
    ("seeds", "blocks", "noises", "spread"),
    [(1, 3, (0.1, 0.1), 0.0), (1, 4, (0.1, 0.01), 0.0), (2, 3, (0.1, 0.05), 0.0), (3, 5, (0.05, 0.05), 0.05)],
)
def test_a_ratio_of_ratios_holds_the_truth_in_19_of_20_cases(seeds, blocks, noises, spread):
    rng = np.random.default_rng(seeds + blocks)
    cases, held = 600, 0
    for _ in range(cases):
        ours, theirs = (
            measured(rng, t, seeds, blocks, noise, spread) for t, noise in zip((3.0, 2.0), noises, strict=True)
        )
        found = ratio_of_ratios(ours, theirs)
        held += found.low <= 1.5 <= found.high
    assert held / cases >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / cases)


def test_equal_techniques_are_told_apart_in_at_most_one_case_of_twenty():
    rng = np.random.default_rng(9)
    cases = 600
    wrong = sum(
        certainly(ratio_of_ratios(*(measured(rng, 2.0, 2, 3, 0.05, 0.0) for _ in range(2)))) != 0 for _ in range(cases)
    )
    assert wrong / cases <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / cases)


def test_a_ratio_of_ratios_is_narrower_than_what_non_overlapping_intervals_ask_for():
    rng = np.random.default_rng(2)
    ours, theirs = measured(rng, 2.0, 3, 5, 0.05, 0.0), measured(rng, 1.9, 3, 5, 0.05, 0.0)
    a, b, both = combine_ratios(ours), combine_ratios(theirs), ratio_of_ratios(ours, theirs)
    assert both.value == pytest.approx(a.value / b.value)
    assert math.log(both.high / both.low) < math.log(a.high / a.low) + math.log(b.high / b.low)
