"""Power in files of hwmon: products by hand, numbers that are none, and chips that are gone."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hwmon_tree import chip
from hypothesis import given
from hypothesis import strategies as st

from joulemark.meters.hwmon import HwmonPower, Properties, chips, milliseconds, text
from joulemark.meters.source import ReadError, SourceLost

KNOWN = Properties(
    update_seconds=0.05, averaging_seconds=1.0, max_watts=100.0, gain_uncertainty=0.02, citation="a data sheet"
)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """5 V and 1.2 A."""
    (tmp_path / "in1_input").write_text("5000\n")
    (tmp_path / "curr1_input").write_text("1200\n")
    return [tmp_path / "in1_input", tmp_path / "curr1_input"]


@pytest.fixture
def sensor(files: list[Path]) -> Iterator[HwmonPower]:
    opened = HwmonPower("ina VDD_IN", "wall/module-0", files, KNOWN)
    yield opened
    opened.close()


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_power_is_the_product_of_its_files_in_microwatts(sensor: HwmonPower, files: list[Path]) -> None:
    reading = sensor.read()
    assert reading.raw * sensor.unit_watts == pytest.approx(6.0)
    assert reading.before_ns <= reading.after_ns
    files[0].write_text("4000\n")
    assert sensor.read().raw == 4_800_000  # the file is read anew


def test_one_file_is_the_power_itself(files: list[Path]) -> None:
    sensor = HwmonPower("meter", "wall/module-0", files[:1], KNOWN)
    assert sensor.read().raw == 5000
    sensor.close()


def test_a_sensor_says_what_is_known_of_it(sensor: HwmonPower) -> None:
    assert (sensor.name, sensor.path, sensor.scope) == ("ina VDD_IN", "wall/module-0", "module-0")
    told = (sensor.update_seconds, sensor.averaging_seconds, sensor.max_watts, sensor.gain_uncertainty, sensor.citation)
    assert told == (0.05, 1.0, 100.0, 0.02, "a data sheet")


@pytest.mark.parametrize("wrong", ["", "\n", "-5\n", "1.5\n", "1_000\n", "0x10\n", "unknown\n"])
def test_what_is_no_whole_number_is_no_power_this_time(sensor: HwmonPower, files: list[Path], wrong: str) -> None:
    files[1].write_text(wrong)
    with pytest.raises(ReadError, match="ina VDD_IN: no whole number") as caught:
        sensor.read()
    assert not isinstance(caught.value, SourceLost)
    files[1].write_text("1000\n")
    assert sensor.read().raw == 5_000_000


@pytest.mark.parametrize(("milliamperes", "known"), [(20_000, True), (20_001, False), (0, True)])
def test_more_than_the_part_can_draw_is_no_power(
    sensor: HwmonPower, files: list[Path], milliamperes: int, known: bool
) -> None:
    files[1].write_text(f"{milliamperes}\n")  # at 5 V; the most is 100 W
    if known:
        assert sensor.read().raw == 5000 * milliamperes
        return
    with pytest.raises(ReadError, match="100 W is more than the part can draw"):
        sensor.read()


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EIO, ReadError), (errno.ENODATA, ReadError), (errno.ENODEV, SourceLost)]
)
def test_a_dead_chip_is_lost_and_a_hiccup_is_not(
    sensor: HwmonPower, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[ReadError]
) -> None:
    def pread(*_: Any) -> bytes:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(os, "pread", pread)
        with pytest.raises(ReadError, match="VDD_IN") as caught:
            sensor.read()
    assert type(caught.value) is kind
    assert sensor.read().raw == 6_000_000


def test_a_closed_sensor_cannot_be_read_closes_twice_and_holds_nothing(files: list[Path]) -> None:
    before = open_files()
    sensor = HwmonPower("meter", "wall/module-0", files, KNOWN)
    assert open_files() == before + 2
    sensor.close()
    sensor.close()
    assert open_files() == before
    with pytest.raises(ReadError, match="meter: the source is closed"):
        sensor.read()


def test_a_file_that_is_not_there_leaves_none_open(files: list[Path], tmp_path: Path) -> None:
    before = open_files()
    with pytest.raises(FileNotFoundError, match="in9_input"):
        HwmonPower("meter", "wall/module-0", [*files, tmp_path / "in9_input"], KNOWN)
    assert open_files() == before


def test_chips_of_a_driver_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    root = tmp_path / "class/hwmon"
    for number, name in ((10, "ina3221"), (9, "ina3221"), (2, "nvme"), (0, "ina3221")):
        chip(root, number, name, {})
    (root / "hwmon1").mkdir()  # without a name
    assert [path.name for path in chips(root, "ina3221")] == ["hwmon0", "hwmon9", "hwmon10"]
    assert chips(root, "power_meter") == chips(tmp_path / "nowhere", "ina3221") == []


def test_text_is_stripped_survives_other_encodings_and_is_none_without_a_file(tmp_path: Path) -> None:
    (tmp_path / "label").write_bytes(b" VDD_IN \n")
    (tmp_path / "odd").write_bytes(b"\xff\n")
    assert [text(tmp_path / name) for name in ("label", "odd", "none")] == ["VDD_IN", "\ufffd", None]


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("50\n", 0.05),
        ("1000", 1.0),
        ("0", None),
        ("-50", None),
        ("", None),
        ("5.5", None),
        ("soon", None),
        ("²", None),
        (None, None),
    ],
)
def test_an_interval_is_a_whole_number_of_milliseconds_above_0_or_unknown(
    tmp_path: Path, told: str | None, seconds: float | None
) -> None:
    if told is not None:
        (tmp_path / "interval").write_text(told)
    assert milliseconds(tmp_path / "interval") == seconds


@given(st.text(max_size=6))
def test_an_interval_is_never_a_crash(tmp_path_factory: pytest.TempPathFactory, told: str) -> None:
    file = tmp_path_factory.getbasetemp() / "interval"
    file.write_bytes(told.encode(errors="replace"))
    found = milliseconds(file)
    assert found is None or found > 0
