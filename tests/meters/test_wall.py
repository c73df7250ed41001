"""Logs of a wall meter; every time and power is computed by hand."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from joulemark.meters import wall
from joulemark.meters.source import ReadError, SourceLost
from joulemark.meters.wall import WallLog, clock_offset_ns, read_wall_log
from joulemark.record import Reading

SECOND = 1_000_000_000
BOOT_NS = 1_700_000_000 * SECOND
"""Made up: the monotonic clock was 0 at this time of day."""


def log(tmp_path: Path, *rows: str, header: str = "timestamp,watts") -> Path:
    file = tmp_path / "plug.csv"
    file.write_text("\n".join([header, *rows, ""]))
    return file


def read(tmp_path: Path, *rows: str, **more: Any) -> WallLog:
    return read_wall_log(log(tmp_path, *rows), clock_offset_ns=BOOT_NS, **more)


def test_times_of_day_become_times_of_the_monotonic_clock(tmp_path: Path) -> None:
    sensor = read(tmp_path, "1700000010,80.5", "1700000010.25,81", "1700000012,0")
    assert sensor.readings == (
        Reading(before_ns=10 * SECOND, after_ns=10 * SECOND, raw=80_500_000),
        Reading(before_ns=10_250_000_000, after_ns=10_250_000_000, raw=81_000_000),
        Reading(before_ns=12 * SECOND, after_ns=12 * SECOND, raw=0),
    )
    assert (sensor.path, sensor.scope, sensor.unit_watts) == ("wall", "wall", 1e-6)
    assert sensor.update_seconds == pytest.approx(1.0)  # median of 0.25 and 1.75
    assert (sensor.clock_offset_ns, sensor.missed, sensor.gain_uncertainty) == (BOOT_NS, 0, None)


@pytest.mark.parametrize(
    "text",
    [
        "2023-11-14T22:13:30.5+00:00",  # 1,700,000,000 s is 2023-11-14 22:13:20 UTC
        "2023-11-14T22:13:30.500Z",
        "2023-11-15 00:13:30.5+02:00",
        "1700000010.5",
    ],
)
def test_the_same_moment_in_every_form(tmp_path: Path, text: str) -> None:
    sensor = read(tmp_path, f"{text},1", "1700000020,1")
    assert sensor.readings[0].before_ns == 10_500_000_000


def test_a_meter_whose_clock_was_ahead_is_set_back_and_the_offset_is_recorded(tmp_path: Path) -> None:
    sensor = read(tmp_path, "1700000010,80", "1700000011,80", meter_ahead_seconds=1.5)
    assert [reading.before_ns for reading in sensor.readings] == [8_500_000_000, 9_500_000_000]
    assert sensor.clock_offset_ns == BOOT_NS + 1_500_000_000


def test_what_was_not_read_is_missed_and_never_0(tmp_path: Path) -> None:
    sensor = read(tmp_path, "1700000010,80", "1700000011,", "1700000012,82")
    assert [reading.raw for reading in sensor.readings] == [80_000_000, 82_000_000]
    assert sensor.missed == 1


def test_readings_come_in_turn_and_then_the_source_is_lost(tmp_path: Path) -> None:
    sensor = read(tmp_path, "1700000010,80", "1700000011,81")
    assert (sensor.read().raw, sensor.read().raw) == (80_000_000, 81_000_000)
    with pytest.raises(SourceLost, match="ends here"):
        sensor.read()
    sensor.close()
    sensor.close()
    with pytest.raises(ReadError, match="closed"):
        sensor.read()


def test_columns_and_the_meters_own_figures_can_be_given(tmp_path: Path) -> None:
    file = log(tmp_path, "7,1700000010,80", "8,1700000011,80", header="row,when,P (W)")
    sensor = read_wall_log(
        file, clock_offset_ns=BOOT_NS, time_column="when", watts_column="P (W)", averaging_seconds=1.0,
        gain_uncertainty=0.01, citation="data sheet of the meter",
    )  # fmt: skip
    assert (sensor.averaging_seconds, sensor.gain_uncertainty) == (1.0, 0.01)
    assert sensor.citation == "data sheet of the meter"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["1700000010,80"], "1 readings of power; at least 2"),
        (["1700000010,80", "1700000010,81"], "line 3: not later"),
        (["1700000010,80", "1700000009,81"], "line 3: not later"),
        (["1699999999,80"], "line 2: before this machine was started"),
        (["2023-11-14T22:13:30,80"], "line 2: .* time zone"),
        (["yesterday,80"], "line 2: 'yesterday' is no time"),
        (["nan,80"], "line 2: 'nan' is no time"),
        (["inf,80"], "line 2: 'inf' is no time"),
        ([",80"], "line 2: '' is no time"),
        (["1700000010"], "0 readings"),
        (["1700000010,much"], "line 2: 'much' is no power"),
        (["1700000010,nan"], "line 2: 'nan' W is no power"),
        (["1700000010,-1"], "line 2: '-1' W is no power"),
        (["1700000010,80500"], "0 to 3680 W"),  # milliwatts in the wrong column
    ],
)
def test_a_log_that_cannot_be_trusted_is_refused_with_its_line(tmp_path: Path, rows: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(tmp_path, *rows)


@pytest.mark.parametrize(("header", "words"), [("time,watts", "no column timestamp .*time, watts"), ("", "no header")])
def test_a_missing_column_is_named(tmp_path: Path, header: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_wall_log(log(tmp_path, header=header), clock_offset_ns=0)


def test_the_offset_joins_the_two_clocks() -> None:
    before = datetime.now(UTC).timestamp()
    there = (clock_offset_ns() + time.perf_counter_ns()) / SECOND
    assert before - 0.01 <= there <= datetime.now(UTC).timestamp() + 0.01


def test_the_offset_is_that_of_the_try_that_was_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monotonic = iter([0, 1000, 2000, 2010, 3000, 4000, 5000, 6000, 7000, 8000])
    of_day = iter([10_900, 12_005, 13_990, 15_900, 17_900])
    monkeypatch.setattr(wall.time, "perf_counter_ns", lambda: next(monotonic))
    monkeypatch.setattr(wall.time, "time_ns", lambda: next(of_day))
    assert clock_offset_ns() == 10_000  # 12,005 at the middle of 2,000 and 2,010
