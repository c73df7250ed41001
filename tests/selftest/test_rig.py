"""Bench, trace and clock of the self-tests, on a machine of known watts and on series written by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from fake_machine import CONTEXT, IDLE, STEP_SECONDS, WATTS, Machine, bench_of
from hypothesis import given
from hypothesis import strategies as st

from joulemark.meters.source import ReadError
from joulemark.selftest.rig import EVERY_SECONDS, Bench, Busy, Clock, Trace


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def bench(machine: Machine) -> Bench:
    return bench_of(machine, pace=1.0, average=1.0)


def by_hand(times: list[float], joules: list[float], **watts: list[float]) -> Trace:
    trace = Trace(bench_of(Machine()))
    trace.times, trace.joules, trace.watts_read = times, joules, watts
    return trace


def test_a_real_clock_goes_on() -> None:
    clock = Clock()
    before = clock.now()
    clock.sleep(-1.0)
    clock.sleep(0.001)
    assert clock.now() - before >= 0.001


def test_joules_count_from_the_first_look(machine: Machine, bench: Bench) -> None:
    machine.sleep(5.0)
    assert bench.joules() == 0.0
    machine.sleep(2.0)
    assert bench.joules() == pytest.approx(2 * IDLE)
    machine.run("cnn", 1000)
    assert bench.joules() == pytest.approx(2 * IDLE + WATTS["cnn"])


def test_a_counter_that_stands_or_fails_ends_the_experiment_with_its_name(machine: Machine, bench: Bench) -> None:
    bench.joules()
    machine.refresh = 1e9
    machine.sleep(1.0)
    with pytest.raises(ReadError, match=r"^rapl package-0: stuck, 1 s of the experiment are lost$"):
        bench.joules()
    machine.fails = True
    with pytest.raises(ReadError, match="gone"):
        bench.joules()


def test_idling_takes_its_seconds_times_the_pace_and_sees_idle_power(machine: Machine) -> None:
    trace = bench_of(machine, pace=0.5).idle(4.0)
    assert machine.now() == pytest.approx(2.0, abs=0.01)
    assert trace.watts() == pytest.approx(IDLE, rel=0.01)
    assert all(later - earlier >= trace.every for earlier, later in pairwise(trace.times))


@pytest.mark.parametrize(("seconds", "pace", "steps"), [(2.0, 1.0, 2000), (2.0, 0.25, 500), (1e-9, 1.0, 1)])
def test_steps_are_so_many_as_take_the_seconds_and_at_least_one(seconds: float, pace: float, steps: int) -> None:
    assert bench_of(Machine(), pace=pace).steps("cnn", seconds) == steps


def test_each_kind_of_work_is_calibrated_once(machine: Machine, bench: Bench) -> None:
    bench.steps("cnn", 1.0)
    after = machine.now()
    bench.steps("cnn", 9.0)
    assert machine.now() == after
    bench.steps("wide-cnn", 1.0)
    assert machine.now() > after


def test_work_is_a_fixed_number_of_steps_that_are_watched_all_the_time(machine: Machine, bench: Bench) -> None:
    busy = bench.work("cnn", 3.0, powers=True)
    assert (busy.iterations, busy.seconds) == (3000, pytest.approx(3.0))
    assert busy.trace.watts() == pytest.approx(WATTS["cnn"])
    assert busy.joules_per_step == pytest.approx(WATTS["cnn"] * STEP_SECONDS)
    assert busy.trace.integrated("average") == pytest.approx(WATTS["cnn"])
    assert busy.trace.times[-1] - busy.trace.times[0] == pytest.approx(3.0, abs=0.01)
    gaps = [later - earlier for earlier, later in pairwise(busy.trace.times)]
    assert EVERY_SECONDS - 1e-9 <= min(gaps) <= max(gaps) < 3 * EVERY_SECONDS
    assert bench.work("cnn", 1.0).trace.watts_read == {}


def test_work_too_short_for_two_updates_has_no_joules_of_a_step() -> None:
    busy = bench_of(Machine(update=5.0), pace=1.0).work("cnn", 3.0)
    assert (busy.trace.watts(), busy.joules_per_step) == (None, None)


def test_a_tick_is_the_next_update(machine: Machine, bench: Bench) -> None:
    machine.sleep(0.013)
    at, joules = bench.tick()
    assert at == pytest.approx(0.02, abs=2e-4)
    assert (joules, bench.joules()) == (pytest.approx(0.01 * IDLE), joules)
    assert bench.tick()[0] == pytest.approx(0.03, abs=2e-4)


@pytest.mark.parametrize(("promised", "words"), [(0.01, "stuck, 0.2 s"), (0.0, "the counter stands still")])
def test_a_tick_that_never_comes_is_told_and_not_waited_for_ever(machine: Machine, promised: float, words: str) -> None:
    machine.update_seconds, machine.refresh = promised, 1e9
    with pytest.raises(ReadError, match=f"rapl package-0: {words}"):
        bench_of(machine).tick()
    assert machine.now() < 2


def test_ticks_are_the_places_of_a_change() -> None:
    trace = by_hand([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 5.0, 5.0, 9.0])
    assert trace.ticks() == [2, 4]
    assert trace.ticks([1.0, 2.0, 2.0, 1.0, 1.0]) == [1, 3]
    assert by_hand([], []).ticks() == by_hand([0.0], [1.0]).ticks() == []


def test_the_period_is_the_median_time_between_three_changes_or_more() -> None:
    times = [0.0, 1.0, 2.0, 4.0, 7.0, 8.0]
    assert by_hand(times, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).period() == 1.5  # of 1, 2, 3, 1
    assert by_hand(times, [0.0, 1.0, 2.0, 2.0, 2.0, 2.0]).period() is None
    assert by_hand(times, [0.0] * 6).period([3.0, 4.0, 4.0, 5.0, 5.0, 6.0]) == 3.5  # of 3 and 4


def test_watts_are_those_between_the_first_and_the_last_update() -> None:
    trace = by_hand([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 7.0, 7.0, 17.0, 37.0, 37.0])
    assert trace.watts() == pytest.approx(30 / 3)
    assert trace.watts(skip=2.0) == pytest.approx(20 / 1)
    assert trace.watts(skip=3.5) is None  # one update is left
    assert by_hand([], []).watts() is None


def test_a_power_field_is_integrated_between_the_same_updates_as_the_counter() -> None:
    times, joules, watts = [0.0, 1.0, 2.0, 4.0, 5.0], [0.0, 1.0, 1.0, 2.0, 2.0], [900.0, 10.0, 20.0, 40.0, 900.0]
    trace = by_hand(times, joules, average=watts)
    assert trace.integrated("average") == pytest.approx((15 * 1 + 30 * 2) / 3)
    assert (trace.integrated("instant"), trace.integrated("average", skip=2.0)) == (None, None)


@given(st.lists(st.tuples(st.floats(0.01, 5.0), st.floats(0.1, 900.0)), min_size=2, max_size=20))
def test_the_integral_is_numpys(drawn: list[tuple[float, float]]) -> None:
    times = list(np.cumsum([gap for gap, _ in drawn]))
    trace = by_hand(times, list(range(len(times))), average=[watts for _, watts in drawn])
    if len(times) < 3:
        assert trace.integrated("average") is None
        return
    middle = np.array([(a + b) / 2 for (_, a), (_, b) in pairwise(drawn)])[1:]
    assert trace.integrated("average") == pytest.approx(np.average(middle, weights=np.diff(times)[1:]))


def test_a_sample_within_a_moment_of_the_last_is_not_taken(machine: Machine, bench: Bench) -> None:
    trace = Trace(bench, every=0.01)
    for _ in range(10):
        trace.sample()
        machine.sleep(0.004)
    assert trace.times == pytest.approx([0.0, 0.012, 0.024, 0.036])
    assert len(trace.joules) == 4


def test_joules_of_a_step_are_power_times_its_seconds(machine: Machine) -> None:
    trace = by_hand([0.0, 1.0, 2.0, 3.0], [0.0, 100.0, 200.0, 300.0])
    assert Busy(iterations=50, seconds=4.0, trace=trace).joules_per_step == pytest.approx(100.0 * 4 / 50)


def test_a_machine_that_was_worked_on_idles_at_more(machine: Machine, bench: Bench) -> None:
    """The stand-in itself: other tests lean on it."""
    assert not machine.started
    bench.load.run("cnn", 10)
    assert machine.started
    assert bench.idle(1.0).watts() == pytest.approx(CONTEXT, rel=0.01)


def test_a_value_out_of_the_counters_range_is_a_failed_read():
    machine = Machine()
    machine.modulus = 10
    bench = bench_of(machine)
    with pytest.raises(ReadError, match=r"range|turn|modulus|beyond|outside"):
        for _ in range(50):
            machine.sleep(0.5)
            bench.joules()
