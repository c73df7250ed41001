"""Windows over scripted sources and a scripted clock; every number is computed by hand."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import joulemark.meters.meters as meters_module
import joulemark.meters.window as window_module
from joulemark.meters.meters import measure
from joulemark.meters.source import ReadError, Unavailable, timed
from joulemark.meters.window import Window
from joulemark.record import Kind, Reading

SECOND = 1_000_000_000


class Clock:
    """A monotonic clock that stands until told to go on."""

    def __init__(self) -> None:
        self.now_ns = 5 * SECOND

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * SECOND)


class Scripted:
    """A source whose readings are given; an error among them is raised."""

    def __init__(self, scope: str, *raws: int | Exception, **more: Any) -> None:
        self.name = f"fake {scope}"
        self.scope = self.path = scope
        self.unit_joules: float = more.get("unit_joules", 1.0)
        self.modulus: int | None = more.get("modulus")
        self.max_watts: float = more.get("max_watts", 1000.0)
        self.update_seconds: float = more.get("update_seconds", 0.1)
        self.gain_uncertainty: float | None = more.get("gain_uncertainty", 0.05)
        self.citation = "a paper"
        self.log: list[str] = more.get("log", [])
        self.closed = 0
        self._raws = list(raws)

    def read(self) -> Reading:
        self.log.append("read")
        return timed(self._raw)

    def close(self) -> None:
        self.closed += 1

    def _raw(self) -> int:
        raw = self._raws.pop(0) if len(self._raws) > 1 else self._raws[0]
        if isinstance(raw, Exception):
            raise raw
        return raw


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter_ns", clock)
    return clock


def run(clock: Clock, seconds: float, *sources: Scripted) -> Window:
    with Window(sources) as window:
        clock.sleep(seconds)
    return window


def test_seconds_are_measured_by_the_monotonic_clock(clock: Clock) -> None:
    seconds = run(clock, 2.5).seconds
    assert (seconds.value, seconds.unit, seconds.kind) == (2.5, "s", Kind.MEASURED)


def test_joules_of_one_board_with_both_uncertainties(clock: Clock) -> None:
    joules = run(clock, 10, Scripted("board", 1000, 4000)).joules
    assert (joules.value, joules.unit, joules.kind, joules.scope) == (3000.0, "J", Kind.MEASURED, "board")
    assert joules.systematic == pytest.approx(150.0)  # 5 % of 3000 J
    assert joules.random == pytest.approx(12.2474, rel=1e-5)  # 300 W x 0.1 s / sqrt(6)
    assert joules.flags == ()
    assert joules.reason is None


def test_disjoint_scopes_are_added(clock: Clock) -> None:
    window = run(clock, 10, Scripted("package-0", 0, 600), Scripted("package-1", 100, 900))
    assert window.joules.value == 1400.0
    assert window.joules.scope == "package-0 + package-1"
    assert window.joules.random == pytest.approx(math.hypot(6.0, 8.0) / math.sqrt(6))  # 60 W and 80 W, 0.1 s
    assert window.joules.systematic == pytest.approx(70.0)
    assert {scope: q.value for scope, q in window.scopes.items()} == {"package-0": 600.0, "package-1": 800.0}


def test_an_unknown_gain_is_flagged_and_never_0(clock: Clock) -> None:
    joules = run(clock, 10, Scripted("board", 0, 600), Scripted("package", 0, 600, gain_uncertainty=None)).joules
    assert joules.value == 1200.0
    assert joules.systematic is None
    assert joules.flags == ("gain_unknown",)


@pytest.mark.parametrize(("seconds", "flags"), [(1.99, ("too_short",)), (2.0, ())])
def test_under_twenty_updates_is_too_short(clock: Clock, seconds: float, flags: tuple[str, ...]) -> None:
    assert run(clock, seconds, Scripted("board", 0, 100)).joules.flags == flags


def test_a_wrap_is_corrected_and_flagged(clock: Clock) -> None:
    joules = run(clock, 10, Scripted("package", 99_000, 500, modulus=100_000)).joules
    assert (joules.value, joules.flags) == (1500.0, ("wrapped",))


@pytest.mark.parametrize(
    ("source", "seconds", "flag"),
    [
        (Scripted("package", 50_000, 10, modulus=100_000), 10, "reset"),
        (Scripted("package", 0, 10, modulus=100_000), 101, "gap"),  # 101 kJ were possible
        (Scripted("package", 0, 50_000), 10, "implausible"),
        (Scripted("package", 7, 7), 10, "stuck"),
        (Scripted("package", 7, ReadError("GPU is lost")), 10, "unread"),
        (Scripted("package", ReadError("no answer"), ReadError("no answer"), 7), 10, "unread"),
        (Scripted("package", 7, RuntimeError("another package's fault")), 10, "unread"),
        (Scripted("package", 7, -1), 10, "unread"),
    ],
)
def test_lost_time_makes_the_sum_unknown_with_the_reason(
    clock: Clock, source: Scripted, seconds: float, flag: str
) -> None:
    window = run(clock, seconds, Scripted("board", 0, 1000), source)
    joules = window.joules
    assert (joules.value, joules.random, joules.systematic) == (None, None, None)
    assert joules.flags == (flag,)
    assert joules.reason is not None
    assert joules.reason.startswith("package: ")
    assert window.scopes["board"].value == 1000.0  # what was read stays
    assert window.seconds.value == seconds


def test_one_read_that_fails_at_an_edge_is_repeated_at_once(clock: Clock) -> None:
    source = Scripted("board", ReadError("EIO"), 0, ReadError("timeout"), 500)
    assert (run(clock, 10, source).joules.value, len(source.log)) == (500.0, 4)


def test_joules_that_lack_a_part_of_the_machine_are_partial_and_others_are_not(clock: Clock) -> None:
    def flags(missing: Unavailable) -> tuple[str, ...]:
        with Window([Scripted("package-0", 0, 1000)], unavailable=[missing]) as window:
            clock.sleep(10)
        return window.joules.flags

    assert flags(Unavailable("rapl package-1", "no permission", "a group", present=True)) == ("partial",)
    assert flags(Unavailable("nvml", "nvidia-ml-py is not installed", "pip install it")) == ()


def test_without_a_source_the_reason_names_what_is_missing(clock: Clock) -> None:
    with Window([], unavailable=[Unavailable("rapl", "a virtual machine", "run elsewhere")]) as window:
        clock.sleep(1)
    assert window.joules.value is None
    assert window.joules.reason == "no energy counter (rapl: a virtual machine)"
    assert window.seconds.value == 1.0


def test_the_device_is_synchronised_before_each_reading(clock: Clock) -> None:
    log: list[str] = []
    with Window([Scripted("board", 0, 5, log=log)], lambda: log.append("sync")):
        log.append("work")
    assert log == ["sync", "read", "work", "sync", "read"]


def test_queued_work_that_sync_waits_for_is_inside(clock: Clock) -> None:
    with Window([], lambda: clock.sleep(3)) as window:
        clock.sleep(1)
    assert window.seconds.value == 4.0  # the wait at the first edge is not in it


def test_a_window_can_be_used_again(clock: Clock) -> None:
    window = Window([Scripted("board", 0, 500, 900, 1700)])
    values = []
    for _ in range(2):
        with window:
            clock.sleep(10)
        values.append(window.joules.value)
    assert values == [500.0, 800.0]


def test_an_open_window_has_no_result(clock: Clock) -> None:
    with Window([]) as window, pytest.raises(RuntimeError, match="after the `with` block"):
        _ = window.joules


def test_a_block_that_raised_has_no_numbers_and_keeps_its_error(clock: Clock) -> None:
    log: list[str] = []
    window = Window([Scripted("board", 0, 5)], lambda: log.append("sync"))
    with pytest.raises(KeyError, match="lost"), window:
        raise KeyError("lost")
    assert window.seconds.value is None
    assert window.joules.value is None
    assert window.joules.reason == "the measured block raised KeyError"
    assert log == ["sync"]  # a broken device is not asked again


def test_one_scope_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Window([Scripted("board"), Scripted("board")])


def test_measure_closes_what_it_opened_even_after_an_error(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = Scripted("board", 0, 700), Scripted("board", 0, 700)
    monkeypatch.setattr(meters_module, "probe", lambda: ([good], []))
    with measure() as window:
        clock.sleep(7)
    assert (window.joules.value, good.closed) == (700.0, 1)
    monkeypatch.setattr(meters_module, "probe", lambda: ([bad], []))
    with pytest.raises(KeyError), measure():
        raise KeyError
    assert bad.closed == 1


def test_measure_here_has_seconds_and_either_joules_or_a_reason() -> None:
    with measure() as window:
        time.sleep(0.02)
    assert window.seconds.value is not None
    assert 0.02 <= window.seconds.value < 5
    assert (window.joules.value is None) == (window.joules.reason is not None)


def test_importing_a_window_loads_no_heavy_package() -> None:
    parts = "joulemark.meters.window, joulemark.meters.sampler, joulemark.meters.tenants"
    code = f"import sys, {parts}; print({{'torch', 'numpy', 'pynvml'}} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_importing_the_meters_takes_under_a_tenth_of_a_second() -> None:
    """Best of three, in CPU seconds: other programs may hold the processor, and files be cold at first."""
    code = (
        "import time; began = time.process_time(); import joulemark.meters.window; print(time.process_time() - began)"
    )
    took = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    print(f"importing joulemark.meters.window: {min(took):.3f} CPU seconds")  # noqa: T201
    assert min(took) < 0.1


def test_sleep_of_the_machine_makes_the_joules_unknown(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    asleep = [0, 3 * SECOND]  # at the opening, and at the close
    monkeypatch.setattr(window_module, "suspended_ns", lambda: asleep.pop(0))
    joules = run(clock, 10, Scripted("board", 0, 500)).joules
    assert (joules.value, joules.flags) == (None, ("suspended",))


def test_of_a_sum_with_lost_time_the_known_part_is_a_bound(clock: Clock) -> None:
    joules = run(clock, 10, Scripted("board", 0, 1000), Scripted("package", 500, 10, max_watts=50.0)).joules
    assert (joules.value, joules.flags) == (None, ("reset",))
    assert (joules.low, joules.high) == (1000.0, 1000.0 + 10 * 50)
    assert (joules.lost_seconds, joules.coverage) == (10.0, 0.0)


def test_what_a_source_says_of_all_its_readings_is_a_flag_of_its_joules(clock: Clock) -> None:
    source = Scripted("package", 0, 100)
    source.flags = ("energy_filtered",)  # type: ignore[attr-defined]
    assert run(clock, 10, source).joules.flags == ("energy_filtered",)


def test_a_part_inside_another_is_refused() -> None:
    inner, outer = Scripted("core"), Scripted("package")
    inner.path, outer.path = "wall/package-0/core", "wall/package-0"  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="twice"):
        Window([inner, outer])
    outer.path = "wall/package-01"  # type: ignore[attr-defined]
    Window([inner, outer])


def test_opening_and_closing_a_window_takes_microseconds(tmp_path: Path) -> None:
    file = tmp_path / "energy_uj"
    file.write_text("262143328850\n")
    descriptor = os.open(file, os.O_RDONLY)
    source = Scripted("package-0", modulus=262143328850, update_seconds=1e-3)
    source.read = lambda: timed(lambda: int(os.pread(descriptor, 64, 0)))  # type: ignore[method-assign]
    window, took = Window([source]), []
    for _ in range(500):
        began = time.perf_counter_ns()
        with window:
            pass
        took.append(time.perf_counter_ns() - began)
    os.close(descriptor)
    best, middle = min(took) / 1e3, sorted(took)[250] / 1e3
    print(f"window open + close, one counter in a file: {best:.1f} us, median {middle:.1f} us")  # noqa: T201
    assert min(took) < 500_000  # generous: 50 us is the aim


def test_measure_keeps_the_raw_readings_where_it_is_told(tmp_path: Path) -> None:
    with measure(trace=tmp_path / "trace.jsonl") as window:
        time.sleep(0.02)
    assert window.seconds.value
    assert '"trace_schema":1' in (tmp_path / "trace.jsonl").read_text().splitlines()[0]
    with pytest.raises(OSError, match="No such file"), measure(trace=tmp_path / "no" / "where"):
        pass
