"""Joules on work (V4) and what idling costs (V5), on machines that answer straight, crooked, late or not at all."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fake_machine import CONTEXT, IDLE, STEP_SECONDS, WATTS, Machine, bench_of

from joulemark.meters.source import ReadError
from joulemark.selftest.response import DOUBLINGS, REPEATS, idling, linearity


def test_joules_of_a_straight_machine_are_those_of_a_step_times_steps() -> None:
    targets, figures = linearity(bench_of(Machine()))
    assert [target.passed for target in targets] == [True, True]
    assert figures["joules_per_step"] == pytest.approx(WATTS["cnn"] * STEP_SECONDS, rel=0.001)
    assert figures["fixed_joules"] == pytest.approx(0.0, abs=0.02)  # what the tail after work costs is taken off
    assert figures["idle_watts"] == pytest.approx(CONTEXT, rel=0.02)
    assert figures["joules_per_step_error"] < 1e-4
    steps = [row["steps"] for row in figures["points"]]
    in_order = [2**power * min(steps) for power in range(DOUBLINGS)] * REPEATS
    assert sorted(steps) == sorted(in_order)
    assert steps != in_order
    longest = max(figures["points"], key=lambda row: row["steps"])
    assert longest["seconds"] == pytest.approx(longest["steps"] * STEP_SECONDS)
    assert longest["joules"] == pytest.approx(longest["steps"] * 0.1, rel=0.002)


def test_all_windows_from_the_shortest_honest_one_on_miss_by_less_than_a_percent() -> None:
    figures = linearity(bench_of(Machine(update=0.05)))[1]
    shortest, slope, fixed = (figures[name] for name in ("shortest_honest_seconds", "joules_per_step", "fixed_joules"))
    misses = [(row["seconds"], abs(row["joules"] - fixed - slope * row["steps"]) / row["joules"])
              for row in figures["points"]]  # fmt: skip
    assert all(miss < 0.01 for seconds, miss in misses if seconds >= shortest)
    assert any(miss >= 0.01 for seconds, miss in misses if seconds < shortest)


def test_a_machine_that_warms_while_it_works_is_no_line() -> None:
    (straight, longest), figures = linearity(bench_of(Machine(warming=0.05)))
    assert straight.passed is False
    assert straight.value is not None
    assert straight.value > 0.5
    assert longest.passed is False
    assert figures["joules_per_step"] > 0.1


def test_a_counter_that_moves_too_seldom_to_idle_by_is_told() -> None:
    with pytest.raises(ReadError, match="rapl package-0: the counter stands still"):
        linearity(bench_of(Machine(update=5.0)))


def test_idle_is_cold_then_held_and_at_once_the_same_after_work() -> None:
    machine = Machine()
    ((target,), figures) = idling(bench_of(machine, pace=0.05))
    assert figures["cold_watts"] == pytest.approx(IDLE, rel=0.01)
    assert figures["context_watts"] == pytest.approx(CONTEXT, rel=0.01)
    assert figures["context_step_watts"] == pytest.approx(CONTEXT - IDLE, abs=0.5)
    assert figures["busy_watts"] == pytest.approx(WATTS["cnn"], rel=0.001)
    assert figures["cooling_watts"] == pytest.approx([CONTEXT] * 6, rel=0.02)
    assert (target.value, target.passed, target.wanted) == (0.0, True, "< 50")
    assert machine.started


@pytest.mark.parametrize(
    ("cooling", "settled", "passed"), [(25.0, 30.0, True), (29.9, 30.0, True), (55.0, 50.0, False)]
)
def test_the_time_of_cooling_is_found_in_blocks_of_ten_seconds(cooling: float, settled: float, passed: bool) -> None:
    """20 W more for so many seconds after work, which itself warms nothing."""
    pace = 0.05
    machine = Machine(cooling=(20.0, cooling * pace))
    ((target,), figures) = idling(bench_of(machine, pace=pace))
    assert (figures["settling_seconds"], target.value, target.passed) == (settled, settled, passed)
    assert figures["cooling_watts"][0] == pytest.approx(CONTEXT + 20, rel=0.02)


def test_idle_that_rises_once_more_has_not_settled_before() -> None:
    watts = iter([50.0, 60.0, 60.0, 75.0, 60.5, 59.5, 60.0, 60.0])
    bench = SimpleNamespace(
        load=SimpleNamespace(started=False, start=lambda: None),
        idle=lambda seconds: SimpleNamespace(watts=lambda: next(watts)),
        work=lambda what, seconds: SimpleNamespace(trace=SimpleNamespace(watts=lambda: 100.0)),
    )
    assert idling(bench)[1]["settling_seconds"] == 20.0


def test_idling_is_refused_once_this_program_holds_the_board() -> None:
    bench = bench_of(Machine())
    bench.load.start()
    with pytest.raises(ReadError, match="run the part anew"):
        idling(bench)


def test_idle_power_that_a_slow_counter_cannot_show_is_unknown() -> None:
    ((target,), figures) = idling(bench_of(Machine(update=2.0), pace=0.05))
    assert (figures["cooling_watts"], figures["settling_seconds"]) == ([None] * 6, None)
    assert (target.value, target.passed) == (None, None)
