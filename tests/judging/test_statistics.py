"""Statistics against published tables, closed forms, simulation and naive second implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.judging.statistics import (
    bootstrap_median,
    certainly,
    combine_ratios,
    kendall_tau,
    loss_bound,
    paired_ratio,
    ranks,
    ratio_of_ratios,
    t_quantile,
)
from joulemark.record import Ratio

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
    assert bound == pytest.approx(100 * -math.log(0.05) / 1000, rel=0.005)  # 0.2996: just under 3 / n


def test_loss_bound_by_hand():
    baseline = np.ones((1, 400), dtype=bool)
    candidate = baseline.copy()
    candidate[0, :40] = False
    loss, bound = loss_bound(baseline, candidate)
    # One in ten is lost: the normal limit is 10 + 1.645 sqrt(0.1 * 0.9 / 400) * 100 = 12.47 points; exact is 12.82.
    assert loss == pytest.approx(10.0)
    assert bound == pytest.approx(12.82, abs=0.01)


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
    assert covered / trials >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / trials)


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
    # Standard errors 0.3 / 3.182 and 0.4 / 3.182 (t, 3 degrees); together 0.5 / 3.182 / 2. Welch and Satterthwaite:
    # (9 + 16) ** 2 / (81 / 3 + 256 / 3) = 5.6 degrees, rounded down: t is 2.571.
    within = combine_ratios([ratio(2.0, 0.3), ratio(2.0, 0.4)])
    assert (within.value, within.count) == pytest.approx((2.0, 8))
    assert math.log(within.high / 2.0) == pytest.approx(2.571 * 0.5 / 3.182 / 2, rel=1e-3)
    between = combine_ratios([ratio(1.0, 0.01), ratio(4.0, 0.01)])  # two seeds: their range
    assert (between.value, between.low, between.high) == pytest.approx((2.0, 1.0, 4.0))
    three = combine_ratios([ratio(1.0, 0.01), ratio(2.0, 0.01), ratio(4.0, 0.01)])  # sd ln 2, t 4.303 (2 degrees)
    assert math.log(three.high / 2.0) == pytest.approx(4.303 * math.log(2) / math.sqrt(3), rel=1e-3)


def exactly(value: float) -> Ratio:
    return Ratio(value=value, low=value, high=value, count=5)


def within(value: float, factor: float) -> Ratio:
    return Ratio(value=value, low=value / factor, high=value * factor, count=5)


def test_ratio_of_ratios_by_hand():
    found = ratio_of_ratios([within(4.0, 1.3)], [within(2.0, 1.4)])
    # Errors add in squares: each half-width is t (4 degrees) times its standard error; Satterthwaite's degrees
    # (a + b)^2 / (a^2 / 4 + b^2 / 4) with a, b = ln(1.3)^2, ln(1.4)^2 are 7.4, rounded down.
    a, b = math.log(1.3) ** 2, math.log(1.4) ** 2
    assert int((a + b) ** 2 / (a**2 / 4 + b**2 / 4)) == 7
    half = 2.364624 / 2.776445 * math.sqrt(a + b)
    assert (found.value, found.count) == (pytest.approx(2.0), 10)
    assert (math.log(found.high / 2), math.log(2 / found.low)) == pytest.approx((half, half), rel=1e-5)


def test_ratio_of_ratios_pairs_the_seeds():
    ours, theirs = [exactly(2.0), exactly(4.0), exactly(8.0)], [exactly(1.0), exactly(2.0), exactly(4.0)]
    found = ratio_of_ratios(ours, theirs)
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))  # twice in every seed
    assert ratio_of_ratios([None, *ours[1:]], theirs).count == 20  # seed 0 is not shared
    assert ratio_of_ratios([None, exactly(2.0)], [exactly(2.0), None]) is None
    swapped = ratio_of_ratios(theirs[::-1], ours)
    assert certainly(swapped) == 0


def test_certainly_by_hand():
    assert [certainly(within(2.0, f)) for f in (1.9, 2.1)] == [1, 0]
    assert [certainly(within(0.5, f)) for f in (1.9, 2.1)] == [-1, 0]
    assert certainly(within(2.0, 2.0)) == 0  # the interval ends at 1
    assert certainly(within(1.1, 1.02), margin=1.05) == 1
    assert certainly(within(1.1, 1.05), margin=1.05) == 0


def test_ranks_by_hand():
    sure = [[exactly(5.0)], [exactly(1.0)], [exactly(3.0)]]
    assert ranks(sure) == [(1, 1), (3, 3), (2, 2)]
    assert ranks(sure, margin=2.0) == [(1, 2), (3, 3), (1, 2)]  # 5 / 3 is no more than the baseline differs from itself
    assert ranks([[exactly(1.0)], [exactly(1.0)]]) == [(1, 2), (1, 2)]
    assert ranks([]) == []
    # a cannot be told from b nor b from c, but a is certainly above c.
    assert ranks([[within(4.0, 1.3)], [within(3.2, 1.3)], [within(2.56, 1.3)]]) == [(1, 2), (1, 3), (2, 3)]
    assert ranks([[exactly(3.0), None], [None, exactly(1.0)]]) == [(1, 2), (1, 2)]  # no common seed


ratios = st.one_of(
    st.none(),
    st.builds(
        lambda value, width, count: Ratio(value=value, low=value / width, high=value * width, count=count),
        st.floats(0.1, 10.0),
        st.floats(1.0, 3.0),
        st.integers(1, 12),
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4).flatmap(lambda seeds: st.lists(st.lists(ratios, min_size=seeds, max_size=seeds), max_size=5)))
def test_ranks_agree_with_every_comparison_of_two(rows):
    expected = []
    for mine in rows:
        found = [ratio_of_ratios(mine, other) for other in rows]
        signs = [certainly(one, margin=1.1) if one is not None else 0 for one in found]
        expected.append((1 + signs.count(-1), len(rows) - signs.count(1)))
    assert ranks(rows, margin=1.1) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ratios, ratios), min_size=1, max_size=4))
def test_exchanging_the_two_turns_the_ratio_over(pairs):
    ours, theirs = zip(*pairs, strict=True)
    found, turned = ratio_of_ratios(ours, theirs), ratio_of_ratios(theirs, ours)
    if found is None:
        assert turned is None
        return
    assert (1 / turned.value, 1 / turned.high, 1 / turned.low) == pytest.approx((found.value, found.low, found.high))


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


@pytest.mark.parametrize("window", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_window_that_took_no_time_has_no_ratio(window, place):
    blocks = [[2.0, 1.0, 2.0] for _ in range(5)]
    blocks[3][place] = window
    with pytest.raises(ValueError, match="a window is no positive number"):
        paired_ratio(blocks)
