"""Joules per iteration from a counter that is refreshed each 100 ms: error and intervals on simulated counters."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from joulemark.judging.statistics import t_quantile
from joulemark.meters.slope import drifts, fit, joules_per_iteration
from joulemark.record import Kind, Quantity

PERIOD = 0.1  # seconds
WATTS = 200.0
ITERATION = 0.0123  # seconds
TRUTH = WATTS * ITERATION
WINDOW = Quantity(
    value=1000.0, unit="J", kind=Kind.MEASURED, method="energy counter", scope="board", source="made up",
    systematic=50.0, gain="board", flags=("wrapped",), paths=("wall/board",), low=990.0, high=1010.0,
)  # fmt: skip


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


def ticks(count: int, *, origin: float = 1_000_000.0, watts: float = WATTS) -> list[tuple[int, float]]:
    """(ns, joules) of a counter that shows with each tick what was used until 30 ms before it."""
    times = 0.013 + PERIOD * np.arange(count)
    return [(ns(origin + t), 500.0 + watts * (t - 0.03)) for t in times]


def iterations(seconds: float, *, origin: float = 1_000_000.0) -> list[tuple[int, float]]:
    times = np.arange(0, seconds, ITERATION)
    return [(ns(origin + t), float(number)) for number, t in enumerate(times)]


def noisy(rng: np.random.Generator, count: int, *, memory: float = 0.0, share: float = 0.1, jitter: float = 0.0):
    """Iterations and joules at ``count`` ticks: power with noise that remembers, ticks seen up to ``jitter`` s late."""
    noise = rng.standard_normal(count)
    noise[0] /= math.sqrt(1.0 - memory**2)
    for at in range(1, count):
        noise[at] += memory * noise[at - 1]
    joules = np.cumsum(WATTS * (1.0 + share * math.sqrt(1.0 - memory**2) * noise) * PERIOD)
    return (PERIOD * np.arange(1, count + 1) + rng.uniform(0, jitter, count)) / ITERATION, joules


def test_a_steady_load_gives_the_joules_of_an_iteration_whatever_the_lag_of_the_counter():
    told = joules_per_iteration(ticks(100), iterations(10.0), window=WINDOW)
    assert told.value == pytest.approx(TRUTH, rel=1e-6)
    assert told.low <= told.value <= told.high
    assert (told.unit, told.count, told.kind, told.scope, told.paths) == (
        "J/iteration", 100, Kind.MEASURED, "board", ("wall/board",),
    )  # fmt: skip
    assert told.systematic == pytest.approx(0.05 * TRUTH, rel=1e-6)
    assert (told.gain, told.flags) == ("board", ("wrapped",))


def test_the_slope_is_that_of_numpy_and_the_intercept_holds_what_came_first():
    rng = np.random.default_rng(3)
    done, joules = noisy(rng, 60)
    slope, intercept = np.polyfit(done, joules, 1)
    line = fit(done, joules + 35.0)  # a start that cost 35 J
    assert line.slope_joules == pytest.approx(slope, rel=1e-9)
    assert line.intercept_joules == pytest.approx(intercept + 35.0, rel=1e-6)


def test_of_independent_increments_the_error_is_the_spread_of_the_slope():
    """Of accumulated white noise a line through m ticks has the variance 6 / (5 m) of one increment; see the module."""
    rng = np.random.default_rng(5)
    lines = [fit(*noisy(rng, 100)) for _ in range(400)]
    slopes = np.array([line.slope_joules for line in lines])
    expected = TRUTH * 0.1 * math.sqrt(6.0 / 5.0 / 100)
    assert slopes.std() == pytest.approx(expected, rel=0.1)
    assert math.sqrt(np.mean([line.error_joules**2 for line in lines])) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    ("memory", "jitter", "least"),
    [
        (0.0, 0.0, 0.93),
        (0.5, 0.0, 0.93),  # neighbouring ticks correlate with 0.5
        (0.8, 0.0, 0.91),  # that of ten ticks ago still with 0.1
        (0.0, 0.005, 0.93),
    ],
    ids=["white", "correlated", "strongly correlated", "ticks seen late"],
)
@pytest.mark.parametrize("count", [20, 100])
def test_the_interval_holds_the_truth_as_often_as_it_says(memory, jitter, least, count):
    rng = np.random.default_rng(7)
    held, naive = [], []
    for _ in range(500):
        done, joules = noisy(rng, count, memory=memory, jitter=jitter)
        line = fit(done, joules)
        error = abs(line.slope_joules - TRUTH)
        held.append(error <= t_quantile(0.975, line.degrees) * line.error_joules)
        rest = joules - line.intercept_joules - line.slope_joules * done
        usual = math.sqrt(rest @ rest / (count - 2) / ((done - done.mean()) ** 2).sum())
        naive.append(error <= t_quantile(0.975, count - 2) * usual)
    assert np.mean(held) >= least
    assert np.mean(naive) < 0.75  # the usual standard error of least squares would not do


@pytest.mark.parametrize(("memory", "least"), [(0.9, 0.94), (0.95, 0.91)])
def test_of_power_that_remembers_for_seconds_a_window_of_ten_seconds_is_told_honestly(memory, least):
    """Ticks of 0.1 s, memory of 1 and 2 s: without whitening the interval would hold the truth in 81 and 64 %."""
    rng = np.random.default_rng(17)
    held = []
    for _ in range(500):
        line = fit(*noisy(rng, 100, memory=memory))
        held.append(abs(line.slope_joules - TRUTH) <= t_quantile(0.975, line.degrees) * line.error_joules)
    assert np.mean(held) >= least


def test_alternating_increments_and_none_at_all_have_an_error():
    line = fit(np.arange(30.0), np.arange(30.0) + 0.1 * (np.arange(30) % 2))
    assert 0 <= line.error_joules < 0.01
    assert fit(np.arange(4.0), np.array([0.0, 2.0, 2.0, 4.0])).error_joules >= 0
    assert fit(np.arange(30.0), 2 * np.arange(30.0)).error_joules == pytest.approx(0.0, abs=1e-9)


def test_ticks_seen_late_alone_make_the_interval_too_wide_and_never_too_narrow():
    rng = np.random.default_rng(9)
    held = 0
    for _ in range(300):
        line = fit(*noisy(rng, 40, share=0.0, jitter=0.01))
        held += abs(line.slope_joules - TRUTH) <= t_quantile(0.975, line.degrees) * line.error_joules
    assert held >= 290


def test_plain_differencing_errs_by_the_triangular_phase_and_regression_by_a_tenth_of_it():
    """sd(P (U1 - U2)) with U uniform over a period is P T / sqrt(6): 1.3 % of 3.2 s; ticks are seen up to 5 ms late."""
    rng = np.random.default_rng(11)
    plain, fitted, held = [], [], 0
    for _ in range(500):
        seconds, phase = 3.2 + rng.uniform(0, PERIOD), rng.uniform(0, PERIOD)
        shown = [WATTS * (math.floor((edge - phase) / PERIOD) * PERIOD + phase) for edge in (0.0, seconds)]
        plain.append((shown[1] - shown[0] - WATTS * seconds) / (WATTS * seconds))
        at = np.arange(phase, seconds - 0.005, PERIOD)
        line = fit((at + rng.uniform(0, 0.005, len(at))) / ITERATION, WATTS * at)
        fitted.append(line.slope_joules / TRUTH - 1)
        held += abs(fitted[-1]) <= t_quantile(0.975, line.degrees) * line.error_joules / TRUTH
    assert np.std(plain) == pytest.approx(PERIOD / math.sqrt(6) / 3.25, rel=0.1)
    assert np.std(fitted) < np.std(plain) / 10
    assert held >= 475


def test_work_much_shorter_than_a_period_is_told_apart():
    """Two kinds of work of 12.3 ms, 1 % apart in joules: eight times less than a period each."""
    one = joules_per_iteration(ticks(100), iterations(10.0), window=WINDOW)
    other = joules_per_iteration(ticks(100, watts=1.01 * WATTS), iterations(10.0), window=WINDOW)
    assert other.value / one.value == pytest.approx(1.01, rel=1e-5)


def test_fewer_than_twenty_updates_are_refused():
    told = joules_per_iteration(ticks(19), iterations(10.0), window=WINDOW)
    assert (told.value, told.random, told.systematic, told.low) == (None, None, None, None)
    assert told.flags == ("wrapped", "too_short")
    assert "19 updates" in told.reason
    assert joules_per_iteration(ticks(20), iterations(10.0), window=WINDOW).value is not None


def test_ticks_while_nothing_was_counted_are_left_out():
    told = joules_per_iteration(ticks(200), iterations(10.0), window=WINDOW)
    assert told.count == 100
    assert told.value == pytest.approx(TRUTH, rel=1e-6)


def test_a_window_that_lost_its_joules_gives_none():
    lost = msgspec.structs.replace(WINDOW, value=None, systematic=None, reason="its counter was reset")
    told = joules_per_iteration(ticks(100), iterations(10.0), window=lost)
    assert (told.value, told.reason) == (None, "its counter was reset")


def test_a_gain_of_unknown_size_stays_unknown():
    told = joules_per_iteration(ticks(50), iterations(5.0), window=msgspec.structs.replace(WINDOW, systematic=None))
    assert (told.systematic, told.gain) == (None, "board")


def test_drift_is_flagged_and_noise_is_not():
    at = np.arange(100) * PERIOD
    rising = WATTS * (at + 0.005 * at**2)  # the power rises by a tenth over the window
    when = [(ns(t), float(t / ITERATION)) for t in at]
    told = joules_per_iteration([(ns(t), float(e) + 1.0) for t, e in zip(at, rising, strict=True)], when, window=WINDOW)
    assert "drift" in told.flags
    rng = np.random.default_rng(13)
    assert sum(drifts(*noisy(rng, 100)) for _ in range(300)) <= 9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, i: ([t[1], t[0], *t[2:]], i), "times of the ticks must increase"),
        (lambda t, i: ([t[0], (t[1][0], t[0][1]), *t[2:]], i), "joules at the ticks must increase"),
        (lambda t, i: (t, i[::-1]), "times of the iterations must increase"),
        (lambda t, i: (t, i[:1]), "two moments at least"),
        (lambda t, i: (t, [(at, 3.0) for at, _ in i]), "some must be done"),
        (lambda t, i: (t, [(at, -done) for at, done in i]), "must not decrease"),
    ],
)
def test_what_cannot_be_a_counter_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        joules_per_iteration(*change(ticks(30), iterations(3.0)), window=WINDOW)
