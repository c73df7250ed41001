"""What the meter is (V0, V1, V2, V10), on a machine and a driver that were made to answer so."""

from __future__ import annotations

import os

import pytest
from fake_machine import CONTEXT, IDLE, WATTS, Machine, bench_of
from fake_nvml import FakeNvml

from joulemark.selftest.instrument import agreement, dump, duty_cycle, facts, plausibility, updates
from joulemark.selftest.load import PRODUCT_SIDE
from joulemark.selftest.outcome import Target


def test_facts_are_what_the_driver_says_and_what_it_does_not_tell_is_none(driver: FakeNvml) -> None:
    driver.boards["GPU-aa"] |= {"throttle": 0x44, "pids": [4242, os.getpid()], "ecc": [1, 1]}
    found = facts("GPU-aa")
    assert {name: found[name] for name in ("driver", "name", "power_limit_mw", "ecc", "persistence", "mig")} == {
        "driver": "580.1", "name": "NVIDIA H100", "power_limit_mw": 200_000, "ecc": [1, 1], "persistence": None,
        "mig": None,
    }  # fmt: skip
    assert (found["temperature_celsius"], found["sm_clock_mhz"]) == (40, 1980)
    assert found["processes"] == ("program4242 (4242)",)
    assert found["throttled_by"] == ("power cap", "thermal slowdown by the hardware")
    assert driver.users == 0


def test_every_field_is_asked_in_every_scope_and_answers_with_a_number_of_nvml(driver: FakeNvml) -> None:
    fields = facts("GPU-aa")["fields"]
    assert fields == {f"{field} scope {scope}": 0 if field != 83 and scope == 0 else 3
                      for field in (83, 185, 186) for scope in (0, 1, 2)}  # fmt: skip
    del driver.boards["GPU-aa"]["fields"]
    assert set(facts("GPU-aa")["fields"].values()) == {3}


@pytest.mark.parametrize(("others", "passed"), [([], True), ([7], False), ([7, 8], False)])
def test_a_board_that_others_use_fails(driver: FakeNvml, others: list[int], passed: bool) -> None:
    driver.boards["GPU-aa"]["pids"] = [os.getpid(), *others]
    ((target,), found) = dump(bench_of(Machine()))
    assert (target.value, target.passed) == (len(others), passed)
    assert found == facts("GPU-aa")


def test_who_uses_the_board_is_unknown_where_nothing_tells(driver: FakeNvml) -> None:
    del driver.boards["GPU-aa"]["pids"]
    ((target,), _) = dump(bench_of(Machine()))
    assert (target.value, target.passed) == (None, None)


@pytest.mark.parametrize(("period", "passed"), [(0.1, True), (0.15, False)])
def test_the_update_period_is_found_idle_and_busy(period: float, passed: bool) -> None:
    machine = Machine(update=period)
    machine.slow = 3_000_000
    ((target,), figures) = updates(bench_of(machine, average=1.0))
    assert figures["idle_counter_update_seconds"] == pytest.approx(period, rel=0.05)
    assert figures["busy_counter_update_seconds"] == pytest.approx(period, rel=0.05)
    assert figures["read_seconds"] == pytest.approx(0.003)
    assert machine.started
    assert (target.value, target.passed) == (figures["busy_counter_update_seconds"], passed)
    assert figures["busy_average_update_seconds"] is None  # a power that never changes has no period


def test_a_counter_that_moved_less_than_three_times_has_no_period() -> None:
    ((target,), figures) = updates(bench_of(Machine(update=0.5)))
    assert (figures["idle_counter_update_seconds"], target.passed) == (None, None)


@pytest.mark.parametrize("duty", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_a_duty_cycle_draws_its_share_of_the_power_of_work(duty: float) -> None:
    machine = Machine(update=0.02)
    bench = bench_of(machine, pace=0.5)
    bench.steps("cnn", 1.0)  # from here on the machine rests at the power of its context
    trace = duty_cycle(bench, duty, 4.0)
    assert trace.watts() == pytest.approx(duty * WATTS["cnn"] + (1 - duty) * CONTEXT, rel=0.02)


@pytest.mark.parametrize(("gain", "passed"), [(1.0, True), (1.005, True), (1.03, False), (0.97, False)])
def test_a_power_field_that_reads_another_gain_fails_and_the_ratio_tells_it(gain: float, passed: bool) -> None:
    targets, figures = agreement(bench_of(Machine(), pace=0.5, average=gain, instant=1.0))
    levels = figures["levels"]
    assert [level["duty"] for level in levels] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert levels[0]["counter_watts"] == pytest.approx(IDLE, rel=0.01)
    assert levels[-1]["counter_watts"] == pytest.approx(WATTS["cnn"], rel=0.001)
    assert levels[-1]["counter_over_average"] == pytest.approx(1 / gain, rel=0.001)
    assert [target.name for target in targets] == [
        f"counter / integrated {name} power - 1, busy" for name in ("average", "instant")
    ]
    assert targets[0].value == levels[-1]["counter_over_average"] - 1  # the one of the highest level
    assert [target.passed for target in targets] == [passed, True]


def test_what_was_before_a_level_is_left_out_of_it() -> None:
    bench = bench_of(Machine(cooling=(20.0, 1.5)), pace=0.5, average=1.0)
    bench.steps("cnn", 1.0)
    level = agreement(bench)[1]["levels"][0]
    assert (level["counter_watts"], level["average_watts"]) == (
        pytest.approx(CONTEXT, rel=0.01),
        pytest.approx(CONTEXT),
    )


def test_without_power_fields_the_agreement_is_unknown() -> None:
    (target,), figures = agreement(bench_of(Machine(), pace=0.5))
    assert (target.name, target.passed) == ("counter / integrated average power - 1, busy", None)
    assert figures["levels"][-1]["counter_watts"] == pytest.approx(WATTS["cnn"], rel=0.001)


def test_plausible_watts_are_ordered_and_below_the_limit(driver: FakeNvml) -> None:
    (share, ordered), figures = plausibility(bench_of(Machine(), pace=0.5))
    assert (share.value, share.passed, ordered.passed) == (pytest.approx(160 / 200, rel=0.001), True, True)
    assert (figures["idle_watts"], figures["memory_watts"], figures["compute_watts"]) == (
        pytest.approx(IDLE, rel=0.01), pytest.approx(90, rel=0.001), pytest.approx(160, rel=0.001),
    )  # fmt: skip
    assert figures["compute_joules_per_flop"] == pytest.approx(0.16 / (2 * PRODUCT_SIDE**3), rel=0.001)


def test_more_than_the_limit_fails_and_no_limit_is_unknown(driver: FakeNvml) -> None:
    driver.boards["GPU-aa"]["enforced"] = 140_000
    assert plausibility(bench_of(Machine()))[0][0].passed is False
    del driver.boards["GPU-aa"]["enforced"]
    assert plausibility(bench_of(Machine()))[0][0].passed is None


def test_memory_that_draws_more_than_arithmetic_fails(driver: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WATTS, "memory", 170.0)
    (_, ordered), _ = plausibility(bench_of(Machine()))
    assert ordered == Target(name="idle < memory-bound < compute-bound watts", wanted="true", value=None, passed=False)


def test_a_counter_too_slow_for_the_windows_leaves_all_unknown(driver: FakeNvml) -> None:
    targets, figures = plausibility(bench_of(Machine(update=3.0)))
    assert [target.passed for target in targets] == [None, None]
    assert (figures["compute_watts"], figures["compute_joules_per_flop"]) == (None, None)
