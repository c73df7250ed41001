"""Idle power with its spread, and joules without it: by hand, against Student's t, and against a simulated machine."""

from __future__ import annotations

import math
import statistics

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quantities import joules, seconds

from joulemark.meters.idle import IDLE_BLOCKS, T_BEFORE, T_BOTH, Block, idle_of, net_of, quantile, with_idle


def blocks(*watts: float) -> list[Block]:
    return [Block(seconds(2.0), joules(2.0 * one, random=0.0)) for one in watts]


def test_the_quantiles_are_those_of_students_t() -> None:
    """Its density is integrated up to them: 97.5 % lie below."""
    for degrees, bound in ((9, T_BEFORE), (19, T_BOTH)):
        grid = np.linspace(0.0, bound, 20_001)
        norm = math.gamma((degrees + 1) / 2) / math.gamma(degrees / 2) / math.sqrt(degrees * math.pi)
        density = norm * (1 + grid**2 / degrees) ** (-(degrees + 1) / 2)
        below = 0.5 + float((density[1:] + density[:-1]).sum()) / 2 * (grid[1] - grid[0])
        assert below == pytest.approx(0.975, abs=2e-5)


def test_the_spread_of_idle_blocks_is_the_uncertainty_of_their_sum() -> None:
    values = [10.0, 12.0, 11.0, 9.0]
    idle = idle_of([Block(seconds(1.0), joules(v, random=0.01, systematic=0.05 * v)) for v in values])
    assert (idle["seconds"].value, idle["joules"].value) == (4.0, 42.0)
    assert idle["joules"].random == pytest.approx(statistics.stdev(values) * math.sqrt(4))
    assert idle["joules"].systematic == pytest.approx(2.1)


def test_blocks_that_vary_less_than_their_own_uncertainty_have_that() -> None:
    idle = idle_of([Block(seconds(1.0), joules(10.0, random=2.0)) for _ in range(4)])
    assert (idle["joules"].random, idle["joules"].count) == (4.0, 4)


def test_idle_is_unknown_if_one_block_is_and_keeps_every_other_word() -> None:
    short = [
        Block(seconds(1.0), one, too_short=True) for one in (joules(1.0, flags=("gap", "too_short")), joules(None))
    ]
    lost = idle_of(short)["joules"]
    assert (lost.value, lost.random, lost.reason) == (None, None, "the counter was reset")
    assert lost.flags == ("too_short", "gap")
    assert idle_of(short)["seconds"].value == 2.0


def test_a_single_block_that_is_too_short_does_not_make_the_window_so() -> None:
    one = Block(seconds(1.0), joules(1.0, flags=("too_short", "wrapped")))
    assert idle_of([one, one])["joules"].flags == ("wrapped",)


def test_idle_before_and_after_are_one_power_and_a_drift_widens_it_and_is_flagged() -> None:
    steady = idle_of(blocks(9, 10, 11), blocks(11, 10, 9))
    assert (steady["seconds"].value, steady["joules"].value, steady["joules"].flags) == (12.0, 120.0, ())
    assert steady["joules"].random == pytest.approx(math.sqrt(0.8) / math.sqrt(6) * 12)  # s of 9 10 11 11 10 9
    drifted = idle_of(blocks(9, 10, 11), blocks(19, 20, 21))
    assert drifted["joules"].flags == ("idle_drift",)
    assert drifted["joules"].random > 5 * steady["joules"].random
    assert "idle_drift" in net_of(joules(100.0), steady["seconds"], drifted).flags
    assert idle_of(blocks(10, 10.1, 9.9), blocks(10.3, 10.4, 10.2))["joules"].flags == ()  # 3 %


@pytest.mark.parametrize("after", [(14, 26, 8), (26, 8, 14)])
def test_a_drift_within_the_spread_of_the_blocks_is_chance(after: tuple[float, ...]) -> None:
    assert idle_of(blocks(9, 3, 21), blocks(*after))["joules"].flags == ()  # 11 and 16 W


def test_of_short_idle_windows_the_uncertainties_add_in_squares() -> None:
    before, after = Block(seconds(2.0), joules(20.0, random=3.0)), Block(seconds(2.0), joules(24.0, random=4.0))
    one = idle_of([before], [after])["joules"]
    assert (one.value, one.random, one.count) == (44.0, 5.0, None)
    assert idle_of([before])["joules"].random == 3.0


def test_two_windows_of_ten_blocks_have_the_narrower_quantile() -> None:
    for after, bound in (([], 2.262), (blocks(*[9, 11] * 5), 2.093)):
        idle = idle_of(blocks(*[9, 11] * 5), after)
        net = net_of(joules(100.0), seconds(2.0), idle)
        assert quantile(idle) == bound
        assert net.random is not None
        assert net.high == pytest.approx(net.value + bound * net.random)
    assert quantile({"joules": joules(1.0)}) == T_BEFORE


def test_net_joules_by_hand() -> None:
    idle = {"seconds": seconds(2.0), "joules": joules(20.0, random=0.3, systematic=1.0)}
    net = net_of(joules(100.0, random=0.4, systematic=5.0), seconds(4.0), idle)  # 100 - 10 W * 4 s
    assert net.value == pytest.approx(60.0)
    assert net.random == pytest.approx(math.hypot(0.4, 0.6))
    assert net.systematic == pytest.approx(3.0)  # 5 % of it
    assert net.method == "energy counter, less idle power times seconds"


def test_net_joules_are_unknown_with_the_reason_of_what_is() -> None:
    idle = {"seconds": seconds(2.0), "joules": joules(20.0)}
    noticed = joules(None, reason="the machine slept")
    unknown = [
        (net_of(noticed, seconds(4.0), idle), "the machine slept"),
        (net_of(joules(1.0), seconds(4.0), {**idle, "joules": joules(None)}), "the counter was reset"),
        (net_of(noticed, seconds(4.0), {**idle, "joules": joules(None)}), "the machine slept"),
        (net_of(joules(1.0), seconds(4.0), {**idle, "seconds": seconds(0.0)}), "a window has no seconds"),
    ]
    for net, reason in unknown:
        assert (net.value, net.low, net.high, net.random, net.systematic, net.reason) == (*[None] * 5, reason)
    assert "--idle" in (net_of(joules(1.0), seconds(1.0), {}).reason or "")


def test_flags_of_both_windows_go_with_net_joules_once() -> None:
    idle = {"seconds": seconds(2.0), "joules": joules(20.0, flags=("wrapped", "idle_drift"))}
    gross = joules(100.0, flags=("starved", "wrapped"), paths=("wall/a",), gain="wall/a")
    net = net_of(gross, seconds(4.0), idle)
    assert (net.flags, net.paths, net.gain) == (("starved", "wrapped", "idle_drift"), ("wall/a",), "wall/a")


def test_net_joules_below_nothing_stay_below_it_with_their_interval() -> None:
    idle = {"seconds": seconds(2.0), "joules": joules(20.0, random=0.3)}
    net = net_of(joules(39.0, random=0.4), seconds(4.0), idle)
    half = 2.262 * math.hypot(0.4, 0.6)  # Student's t of ten blocks
    assert (net.value, net.low, net.high) == (-1.0, pytest.approx(-1 - half), pytest.approx(-1 + half))
    assert net_of(joules(39.0, systematic=3.9), seconds(4.0), idle).systematic == pytest.approx(0.1)


@given(st.floats(1.0, 1e4), st.floats(0.1, 500.0), st.floats(0.1, 1e4), st.floats(0.01, 100.0))
def test_a_machine_that_only_idles_has_nothing_left_whatever_the_lengths(
    gross_seconds: float, watts: float, idle_seconds: float, scale: float
) -> None:
    idle = {"seconds": seconds(idle_seconds), "joules": joules(watts * idle_seconds)}
    assert net_of(joules(watts * gross_seconds), seconds(gross_seconds), idle).value == pytest.approx(
        0.0, abs=1e-9 * watts * gross_seconds
    )
    worked = joules((watts + scale) * gross_seconds)
    net = net_of(worked, seconds(gross_seconds), idle).value
    assert net == pytest.approx(scale * gross_seconds, abs=1e-9 * worked.value)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """4000 machines that idle at 20 W give or take 2 W a block, and work 30 J beyond it in ten seconds."""
    rng = np.random.default_rng(3)
    held = 0
    for watts in rng.normal(20.0, 2.0, (4000, IDLE_BLOCKS)):
        net = net_of(joules(230.0, random=0.0), seconds(10.0), idle_of(blocks(*watts)))
        held += net.low <= 30.0 <= net.high
    assert 0.94 < held / 4000 < 0.96


def test_idle_power_is_wrong_by_the_same_in_every_run_so_the_median_does_not_narrow_it() -> None:
    idle = {"seconds": seconds(2.0), "joules": joules(20.0, random=0.5)}
    median = joules(12.5, low=10.0, high=16.0, count=6)
    net = with_idle(median, seconds(4.0), idle)
    half = 2.262 * 0.5 * 2
    assert net == msgspec.structs.replace(
        median, low=pytest.approx(12.5 - math.hypot(2.5, half)), high=pytest.approx(12.5 + math.hypot(3.5, half))
    )


@pytest.mark.parametrize(
    "median", [joules(12.5, low=10.0, high=16.0), joules(12.5, count=5), joules(None, low=1.0, high=2.0, count=6)]
)
def test_what_is_no_median_with_an_interval_stays_as_it_is(median: object) -> None:
    idle = {"seconds": seconds(2.0), "joules": joules(20.0, random=0.5)}
    assert with_idle(median, seconds(4.0), idle) is median
