"""What moves a reading (V3, V7, V8, V9), on machines where it does and where it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_machine import CONTEXT, WATTS, Machine, bench_of
from fake_nvml import FakeNvml

from joulemark.meters.source import ReadError
from joulemark.selftest import disturbance
from joulemark.selftest.disturbance import ORDERS, PHASES, POLLS, WAVE_SECONDS, data, order, overhead, square_waves


def test_each_order_has_as_many_windows_of_either_net() -> None:
    assert {(letters.count("A"), letters.count("B")) for letters in ORDERS.values()} == {(4, 4)}


def test_a_counter_that_integrates_does_not_care_for_the_phase_of_the_work() -> None:
    ((target,), figures) = square_waves(bench_of(Machine(update=0.02), pace=0.5))
    assert (figures["phases"], [row["period_seconds"] for row in figures["waves"]]) == (PHASES, list(WAVE_SECONDS))
    for row in figures["waves"]:  # 15 waves of 0.2 s: half of them would not be whole ones
        assert row["watts_by_phase"] == pytest.approx([(WATTS["cnn"] + CONTEXT) / 2] * 4, rel=0.01)
    middle = next(row for row in figures["waves"] if row["period_seconds"] == 0.1)
    assert (target.value, target.passed) == (middle["spread"], True)
    assert middle["spread"] < 0.02


def test_a_counter_that_looks_at_its_updates_only_is_caught_by_the_phase() -> None:
    """It looks once in each wave of 0.1 s: at work, or at rest, as the phase has it."""
    ((target,), figures) = square_waves(bench_of(Machine(update=0.1, sampled=True), pace=0.5))
    middle = next(row for row in figures["waves"] if row["period_seconds"] == 0.1)
    assert set(map(round, middle["watts_by_phase"])) == {60, 100}
    assert (target.passed, target.value) == (False, pytest.approx(0.5, abs=0.2))


def test_waves_that_a_slow_counter_cannot_show_are_unknown() -> None:
    ((target,), figures) = square_waves(bench_of(Machine(update=1.0), pace=0.1))
    assert figures["waves"][2]["watts_by_phase"] == [None] * 4
    assert (target.value, target.passed) == (None, None)


def test_the_order_of_steady_nets_moves_nothing(driver: FakeNvml) -> None:
    ((target,), figures) = order(bench_of(Machine(), pace=0.5))
    for name in ORDERS:
        assert figures[f"{name}_ratio"] == pytest.approx(WATTS["wide-cnn"] / WATTS["cnn"], rel=0.003)
        assert figures[f"{name}_temperature_celsius"] == 40
    assert (target.value, target.passed) == (pytest.approx(0.0, abs=0.003), True)


def test_on_a_machine_that_warms_the_order_alone_moves_the_ratio(driver: FakeNvml) -> None:
    """A quarter more each second: B comes 1.6 s after A in blocks, and at the same time in mean where shuffled."""
    ((target,), figures) = order(bench_of(Machine(warming=0.25)))
    assert figures["aabb_ratio"] > 1.15 * figures["shuffled_ratio"]
    assert target.value == pytest.approx(figures["aabb_ratio"] / figures["shuffled_ratio"] - 1)
    assert target.passed is False


def test_windows_without_two_updates_have_no_ratio_of_orders(driver: FakeNvml) -> None:
    ((target,), figures) = order(bench_of(Machine(update=2.0)))
    assert (figures["aabb_ratio"], figures["order_bias"], target.passed) == (None, None, None)


def test_inputs_are_told_by_their_watts_and_ratios_and_nothing_is_asked_of_them() -> None:
    targets, figures = data(bench_of(Machine(), pace=0.5))
    assert targets == []
    kinds = ("cnn", "cnn-zeros", "cnn-constant", "cnn-pink")
    assert figures["inputs"] == {
        kind: {
            "watts": pytest.approx(WATTS[kind], rel=0.003),
            "joules_per_step": pytest.approx(WATTS[kind] * 1e-3, rel=0.003),
            "ratio_to_normal_noise": pytest.approx(WATTS[kind] / 100, rel=0.003),
        }
        for kind in kinds
    }


def test_inputs_that_a_slow_counter_cannot_tell_are_unknown() -> None:
    _, figures = data(bench_of(Machine(update=2.0)))
    assert set(figures["inputs"]["cnn-zeros"].values()) == {None}


FOUND = f"""
from joulemark.meters.source import timed

class Counter:
    name, scope = "{Machine.name}", "{Machine.scope}"

    def read(self):
        return timed(lambda: 1)

def found():
    return [Counter()]

def none():
    return []
"""


@pytest.fixture
def sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the child of a sampler open its sources by a function of ``FOUND``."""
    (tmp_path / "found_by_the_child.py").write_text(FOUND)
    monkeypatch.syspath_prepend(str(tmp_path))
    return lambda function: monkeypatch.setattr(disturbance, "SAMPLED", f"found_by_the_child:{function}")


def test_a_sampler_costs_nothing_where_its_child_is_not_on_the_clock(sampled: Callable[[str], None]) -> None:
    sampled("found")
    (energy, slower), figures = overhead(bench_of(Machine(), pace=0.5))
    assert [figures[f"{what}_ratio_{rate}_s"] for what in ("joules", "seconds") for rate in POLLS[1:]] == pytest.approx(
        [1.0] * 6, rel=0.002
    )
    assert energy.value == pytest.approx(figures["joules_ratio_0.05_s"] - 1)
    assert slower.value == pytest.approx(figures["seconds_ratio_0.05_s"] - 1)
    assert (slower.passed, figures["seed"]) == (True, disturbance.SEED)


def test_a_sampler_that_cannot_be_started_is_told_and_not_called_free(sampled: Callable[[str], None]) -> None:
    sampled("none")
    with pytest.raises(ReadError, match="the sampler did not start"):
        overhead(bench_of(Machine()))
