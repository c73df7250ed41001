"""All sensors of a machine together: power sensors that need a sampler, cross-checks, and idle windows around work."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import joulemark.meters.meters as meters_module
from joulemark.meters.meters import measure, open_meters
from joulemark.meters.replay import replay
from joulemark.meters.trace import read_trace
from joulemark.record import Kind

JETSON = """
from pathlib import Path
from joulemark.meters.ina3221 import find_ina3221

def everything():
    return find_ina3221(Path(HWMON))[0]
"""

BOARD = """
import time
from joulemark.meters.source import timed

class Counter:
    name, scope, path = "toy board", "accelerator board toy", "wall/board-toy"
    unit_joules, modulus, max_watts, update_seconds = 1e-6, None, 200.0, 1e-3
    gain_uncertainty, citation = 0.05, "made up"

    def read(self):
        return timed(lambda: time.perf_counter_ns() // 10)  # 100 W

    def close(self):
        pass

class Power(Counter):
    name, unit_watts, averaging_seconds = "toy board average power", 1.0, 0.01

    def read(self):
        return timed(lambda: WATTS)

def counters():
    return [Counter()], []

def powers():
    return [Power()]

def everything():
    return [Counter(), Power()]
"""

TURNING = """
class Turning(Counter):
    modulus = 50_000_000

    def read(self):
        return timed(lambda: time.perf_counter_ns() // 10 % self.modulus)

def counters():
    return [Turning()], []

everything = lambda: counters()[0]
"""


def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Any:
    (tmp_path / "toy_machine.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "toy_machine", raising=False)
    monkeypatch.setattr(meters_module, "SAMPLED", "toy_machine:everything")
    import toy_machine  # type: ignore[import-not-found]

    return toy_machine


@pytest.fixture
def jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that draws 5 V at 1 A on its input rail, and has no counter."""
    chip = tmp_path / "hwmon/hwmon0"
    chip.mkdir(parents=True)
    files = {"name": "ina3221", "in1_label": "VDD_IN", "in1_input": "5000", "curr1_input": "1000"}
    for file, words in files.items():
        (chip / file).write_text(f"{words}\n")
    toy = module(tmp_path, monkeypatch, JETSON.replace("HWMON", repr(str(tmp_path / "hwmon"))))
    monkeypatch.setattr(meters_module, "probe", lambda: (toy.everything(), []))
    monkeypatch.setattr(meters_module, "probe_checks", lambda paths: [])


def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, watts: int) -> None:
    """A board whose counter counts 100 W and whose power says ``watts``."""
    toy = module(tmp_path, monkeypatch, BOARD.replace("WATTS", str(watts)))
    monkeypatch.setattr(meters_module, "probe", toy.counters)
    monkeypatch.setattr(meters_module, "probe_checks", lambda paths: toy.powers())


@pytest.mark.usefixtures("jetson")
def test_a_machine_with_power_alone_has_joules_because_it_is_sampled() -> None:
    with measure() as window:
        time.sleep(0.8)
    joules, seconds = window.joules, window.seconds.value
    assert seconds is not None
    assert joules.value == pytest.approx(5.0 * seconds, rel=0.01)
    assert (joules.method, joules.kind) == ("integrated power", Kind.MEASURED)
    assert joules.random is not None
    assert joules.random > 0


@pytest.mark.usefixtures("jetson")
def test_what_is_idle_before_and_after_is_taken_off_by_the_librarys_own_measure() -> None:
    with measure(idle_seconds=0.5) as window:
        time.sleep(0.6)
    assert window.joules.value is not None
    assert window.net_joules.value == pytest.approx(0.0, abs=0.02 * window.joules.value)
    assert window.idle["seconds"].value == pytest.approx(1.0, rel=0.1)  # both
    with measure() as window:
        pass
    assert window.net_joules.value is None
    assert "idle" in (window.net_joules.reason or "")


def test_the_librarys_own_measure_follows_a_counter_through_its_turns_and_tells_joules_of_an_iteration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 W on a counter that turns every 50 J; the work of 12 ms is much shorter than what the sampler can see."""
    toy = module(tmp_path, monkeypatch, BOARD.replace("WATTS", "100") + TURNING)
    monkeypatch.setattr(meters_module, "probe", toy.counters)
    monkeypatch.setattr(meters_module, "probe_checks", lambda paths: [])
    with measure() as window:
        for done in range(1, 131):
            time.sleep(0.012)
            window.progress(done)
    seconds = window.seconds.value or 0.0
    assert seconds > 1.5  # three turns
    assert window.joules.value == pytest.approx(100 * seconds, rel=0.01)
    assert "wrapped" in window.joules.flags
    (one,) = window.joules_per_iteration.values()
    assert one.value == pytest.approx(100 * seconds / 130, rel=0.02)
    assert one.low is not None and one.high is not None
    assert one.low < one.value < one.high < 1.2 * one.low
    assert (one.unit, one.scope) == ("J/iteration", "accelerator board toy")


@pytest.mark.usefixtures("jetson")
def test_power_whose_sampler_is_killed_in_the_window_is_unknown_and_never_a_small_number() -> None:
    with open_meters() as meters:
        assert meters.sampler is not None
        assert meters.sampler.pid is not None
        with meters.window() as window:
            time.sleep(0.3)
            os.kill(meters.sampler.pid, signal.SIGKILL)
            time.sleep(0.7)
        with meters.window() as later:
            time.sleep(0.5)
    for one in (window, later):
        assert one.joules.value is None
        assert "unread" in one.joules.flags
        assert "not read often enough" in (one.joules.reason or "")
    known, seconds = window.joules, window.seconds.value or 0.0
    assert known.low is not None and known.high is not None
    assert 0.2 * 5 < known.low < 5 * seconds < known.high


@pytest.mark.usefixtures("jetson")
def test_iterations_must_be_told_and_a_power_alone_has_no_ticks() -> None:
    with measure() as window:
        pass
    with pytest.raises(ValueError, match=r"window\.progress"):
        _ = window.joules_per_iteration
    with measure() as window:
        window.progress(1)
    assert window.joules_per_iteration == {}


def test_a_power_that_agrees_stands_beside_the_counter_and_is_not_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board(tmp_path, monkeypatch, watts=101)
    trace = tmp_path / "trace.jsonl"
    with measure(trace=trace) as window:
        time.sleep(0.8)
    seconds = window.seconds.value or 0.0
    assert window.joules.value == pytest.approx(100 * seconds, rel=0.01)
    assert "disagrees" not in window.joules.flags
    ((name, power),) = window.checks.items()
    assert name == "toy board average power, accelerator board toy"
    assert power.value == pytest.approx(101 * seconds, rel=0.02)
    assert list(window.scopes) == ["accelerator board toy"]
    assert [one.same for one in replay(trace)] == [True, True]


def test_a_power_that_contradicts_flags_the_counter_and_the_trace_says_so_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board(tmp_path, monkeypatch, watts=60)
    trace = tmp_path / "trace.jsonl"
    with measure(trace=trace) as window:
        time.sleep(0.8)
    assert "disagrees" in window.joules.flags
    replayed = replay(trace)
    assert [one.same for one in replayed] == [True, True]
    assert "disagrees" in replayed[0].recomputed.flags


def test_without_cross_checks_counters_need_no_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board(tmp_path, monkeypatch, watts=60)
    with open_meters(checked=False) as meters:
        assert (len(meters.sources), meters.checks, meters.sampler) == (1, [], None)
    with open_meters() as meters:
        assert meters.sampler is not None


def test_counters_alone_may_be_read_less_often_and_powers_never_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board(tmp_path, monkeypatch, watts=100)

    def period(name: str, **how: Any) -> float | None:
        with open_meters(trace=tmp_path / name, counter_period_seconds=0.7, **how):
            pass
        return read_trace(tmp_path / name)[0].period_seconds

    assert (period("counter", checked=False), period("both")) == (0.7, 0.05)
