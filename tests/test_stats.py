"""Statistics against published tables, closed forms, simulation and naive second implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.record import Ratio
from joulemark.stats import bootstrap_median, combine_ratios, kendall_tau, loss_bound, paired_ratio, ranks, t_quantile

# NIST/SEMATECH e-Handbook, section 1.3.6.7.2, upper critical values of Student's t distribution.
T_TABLE = {
    1: (3.078, 6.314, 12.706, 31.821, 63.657),
    2: (1.886, 2.920, 4.303, 6.965, 9.925),
    3: (1.638, 2.353, 3.182, 4.541, 5.841),
    4: (1.533, 2.132, 2.776, 3.747, 4.604),
    5: (1.476, 2.015, 2.571, 3.365, 4.032),
    7: (1.415, 1.895, 2.365, 2.998, 3.499),
    10: (1.372, 1.812, 2.228, 2.764, 3.169),
    15: (1.341, 1.753, 2.131, 2.602, 2.947),
    30: (1.310, 1.697, 2.042, 2.457, 2.750),
    100: (1.290, 1.660, 1.984, 2.364, 2.626),
}
LEVELS = (0.90, 0.95, 0.975, 0.99, 0.995)


@pytest.mark.parametrize("degrees", T_TABLE)
def test_t_quantile_equals_the_published_table(degrees):
    assert [round(t_quantile(p, degrees), 3) for p in LEVELS] == list(T_TABLE[degrees])


def test_t_quantile_closed_forms_of_one_and_two_degrees():
    for p in (0.6, 0.9, 0.9999):
        assert t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-8)
        assert t_quantile(p, 2) == pytest.approx((2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p))), rel=1e-8)


def test_loss_bound_of_equal_nets_is_the_rule_of_three():
    right = np.ones((2, 1000), dtype=bool)
    loss, bound = loss_bound(right, right)
    assert loss == 0.0
    assert bound == pytest.approx(100 * -math.log(0.05) / 1000)  # 0.2996: just under 3 / n


def test_loss_bound_by_hand():
    baseline = np.ones((1, 400), dtype=bool)
    candidate = baseline.copy()
    candidate[0, :40] = False
    loss, bound = loss_bound(baseline, candidate)
    # One in ten is lost: the normal limit is 10 + 1.645 sqrt(0.1 * 0.9 / 400) * 100 = 12.47 points.
    assert loss == pytest.approx(10.0)
    assert bound == pytest.approx(12.47, abs=0.26)  # one image is 0.25 points


def test_a_gain_is_a_negative_loss():
    candidate = np.ones((1, 200), dtype=bool)
    baseline = candidate.copy()
    baseline[0, :20] = False
    loss, bound = loss_bound(baseline, candidate)
    assert loss == pytest.approx(-10.0)
    assert -10.0 < bound < -5.0


def test_seeds_of_one_image_are_resampled_together():
    rng = np.random.default_rng(1)
    base, cand = rng.random((1, 500)) < 0.9, rng.random((1, 500)) < 0.85
    one = loss_bound(base, cand)
    copies = loss_bound(np.repeat(base, 5, axis=0), np.repeat(cand, 5, axis=0))
    assert copies == pytest.approx(one)  # the same seed five times is no more evidence than once


def test_loss_bound_does_not_depend_on_the_order_of_images():
    rng = np.random.default_rng(2)
    base, cand = rng.random((3, 300)) < 0.9, rng.random((3, 300)) < 0.8
    order = rng.permutation(300)
    assert loss_bound(base, cand) == loss_bound(base[:, order], cand[:, order])


@pytest.mark.parametrize(("lost", "won"), [(0.0, 0.0), (0.005, 0.0), (0.02, 0.01), (0.1, 0.05), (0.01, 0.05)])
@pytest.mark.parametrize("images", [200, 1000])
def test_loss_bound_covers_the_true_loss_of_synthetic_classifiers(lost, won, images):
    rng = np.random.default_rng(int(1000 * lost + 10 * won + images))
    trials, covered = 200, 0
    for _ in range(trials):
        fate = rng.random((1, images))  # paired: right by the baseline only, by the candidate only, by both
        baseline, candidate = fate >= won, ~((fate >= won) & (fate < won + lost))
        covered += loss_bound(baseline, candidate)[1] >= 100 * (lost - won)
    # 95 % nominal; three standard errors of 200 trials are 4.6 %, and a bootstrap of few events may be 1 % short.
    assert covered / trials >= 0.89


def test_loss_bound_is_not_needlessly_wide():
    rng = np.random.default_rng(5)
    short = 0
    for _ in range(200):
        fate = rng.random((1, 2000))
        short += loss_bound(fate >= 0.05, ~((fate >= 0.05) & (fate < 0.15)))[1] < 5.0
    assert 1 <= short <= 24  # about one in twenty falls short


@pytest.mark.parametrize("shapes", [((2, 5), (2, 6)), ((5,), (5,))])
def test_loss_bound_refuses_what_is_not_paired(shapes):
    with pytest.raises(ValueError, match=r"need two \(seeds, images\) arrays"):
        loss_bound(*(np.ones(shape, dtype=bool) for shape in shapes))


def test_paired_ratio_by_hand():
    # Ratios of the blocks: sqrt(4 * 9) / 3 = 2, sqrt(1 * 4) / 0.5 = 4, sqrt(16 * 4) / 1 = 8. Logs of base 2: 1, 2, 3.
    found = paired_ratio([(4, 3, 9), (1, 0.5, 4), (16, 1, 4)])
    half = 4.30265273 / math.sqrt(3)  # t of two degrees, deviation 1
    assert found.count == 3
    assert (found.value, found.low, found.high) == pytest.approx((4.0, 2 ** (2 - half), 2 ** (2 + half)), rel=1e-6)


def test_paired_ratio_is_blind_to_a_steady_exponential_drift():
    blocks = [tuple(cost * 1.01 ** (3 * i + j) for j, cost in enumerate((2.0, 1.0, 2.0))) for i in range(6)]
    found = paired_ratio(blocks)
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))


@pytest.mark.parametrize("blocks", [[], [(1.0, 1.0, 1.0)], [(1.0, 1.0, 1.0)] * 2])
def test_paired_ratio_of_fewer_than_three_blocks_is_unknown(blocks):
    assert paired_ratio(blocks) is None


def test_interval_of_paired_ratio_covers_the_truth():
    rng = np.random.default_rng(3)
    found = [paired_ratio(np.exp(rng.normal(0, 0.1, (4, 3))) * (3.0, 2.0, 3.0)) for _ in range(400)]
    covered = sum(ratio.low <= 1.5 <= ratio.high for ratio in found) / 400
    assert 0.917 <= covered <= 0.983  # 95 % within three standard errors


def test_bootstrap_median_holds_the_median_and_repeats():
    data = np.arange(101.0)
    low, high = bootstrap_median(data)
    # Binomial order statistics: the 95 % interval of the median of 101 is from the 41st to the 61st value.
    assert (low, high) == pytest.approx((40.0, 60.0), abs=1.0)
    assert bootstrap_median(data) == (low, high)
    assert bootstrap_median([7.0]) == (7.0, 7.0)


def test_combine_ratios_by_hand():
    def ratio(value: float, half: float) -> Ratio:
        return Ratio(value=value, low=value / math.exp(half), high=value * math.exp(half), count=4)

    assert combine_ratios([]) is None
    alone = combine_ratios([ratio(2.0, 0.3)])
    assert (alone.value, alone.low) == pytest.approx((2.0, 2.0 / math.exp(0.3)))
    # Standard errors 0.3 / 3.182 and 0.4 / 3.182 (t, 3 degrees); together 0.5 / 3.182 / 2, times 2.447 (t, 6 degrees).
    within = combine_ratios([ratio(2.0, 0.3), ratio(2.0, 0.4)])
    assert (within.value, within.count) == pytest.approx((2.0, 8))
    assert math.log(within.high / 2.0) == pytest.approx(2.447 * 0.5 / 3.182 / 2, rel=1e-3)
    between = combine_ratios([ratio(1.0, 0.01), ratio(4.0, 0.01)])  # two seeds: their range
    assert (between.value, between.low, between.high) == pytest.approx((2.0, 1.0, 4.0))
    three = combine_ratios([ratio(1.0, 0.01), ratio(2.0, 0.01), ratio(4.0, 0.01)])  # sd ln 2, t 4.303 (2 degrees)
    assert math.log(three.high / 2.0) == pytest.approx(4.303 * math.log(2) / math.sqrt(3), rel=1e-3)


def test_ranks_by_hand():
    assert ranks([5.0, 1.0, 3.0], [6.0, 2.0, 4.0]) == [(3, 3), (1, 1), (2, 2)]
    assert ranks([1.0, 1.0], [1.0, 1.0]) == [(1, 2), (1, 2)]
    # a overlaps b, b overlaps c, a is certainly below c.
    assert ranks([1.0, 2.0, 4.0], [3.0, 5.0, 6.0]) == [(1, 2), (1, 3), (2, 3)]
    assert ranks([], []) == []


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=8))
def test_ranks_hold_every_order_that_the_intervals_allow(pairs):
    rng = np.random.default_rng(0)
    lows, highs = [float(low) for low, _ in pairs], [float(low + width) for low, width in pairs]
    found = ranks(lows, highs)
    for _ in range(10):
        costs = [low + (high - low) * rng.random() for low, high in zip(lows, highs, strict=True)]
        places = [sum(other < cost for other in costs) + 1 for cost in costs]
        assert all(best <= place <= worst for place, (best, worst) in zip(places, found, strict=True))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=12))
def test_kendall_tau_equals_a_naive_double_loop(pairs):
    score = count = 0
    for i in range(len(pairs)):
        for j in range(i):
            (a, b), (c, d) = pairs[i], pairs[j]
            score += ((a > c) - (a < c)) * ((b > d) - (b < d))
            count += 1
    assert kendall_tau(*zip(*pairs, strict=True)) == pytest.approx(score / count)


def test_kendall_tau_ends():
    assert kendall_tau([1, 2, 3, 4], [10, 20, 30, 40]) == 1.0
    assert kendall_tau([1, 2, 3, 4], [4, 3, 2, 1]) == -1.0
    assert kendall_tau([1], [1]) is None
