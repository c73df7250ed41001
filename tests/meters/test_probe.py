"""What is found on whole fake machines, and how `doctor` tells it."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from powercap import LAYOUTS, Powercap

import joulemark.meters.probe as probe_module
from joulemark.explain import listing
from joulemark.meters.probe import GROUP, device_checks, probe, probe_checks
from joulemark.meters.rapl import find_rapl
from joulemark.meters.source import Unavailable
from joulemark.record import Check, Reading


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Powercap:
    """A Linux machine with a powercap tree and nothing else."""
    tree = Powercap(tmp_path / "sys")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(
        probe_module, "find_rapl", lambda _, *, nested: find_rapl(tree.root, nested=nested, msr=tmp_path / "msr")
    )
    hwmon = tmp_path / "hwmon"
    for name in ("find_ina3221", "find_grace"):
        really = getattr(probe_module, name)
        monkeypatch.setattr(probe_module, name, lambda _, really=really, **more: really(hwmon, **more))
    return tree


def rows(status: str) -> dict[str, dict[str, Any]]:
    return {row["meter"]: row for row in listing.meters() if row["status"] == status}


def test_probe_joins_counters_and_the_reasons_of_other_meters(machine: Powercap) -> None:
    LAYOUTS["client"](machine)
    sources, unavailable = probe()
    assert [source.path for source in sources] == ["wall/platform/package-0"]
    assert [missing.name for missing in unavailable] == ["nvml"]
    for source in sources:
        source.close()


def test_doctor_names_every_source_and_where_nested_ones_lie(machine: Powercap) -> None:
    LAYOUTS["client"](machine)
    assert list(rows("available")) == ["rapl package-0"]
    assert {name: row["detail"].partition(",")[0] for name, row in rows("nested").items()} == {
        "rapl package-0 core": "inside processor package-0",
        "rapl package-0 uncore": "inside processor package-0",
        "rapl psys": "around processor package-0",
    }
    missing = rows("unavailable")
    assert list(missing) == ["nvml", "ina3221", "grace", "apple", "wall"]
    assert all(row["detail"] and row["fix"] for row in missing.values())


def test_every_meter_tells_how_far_its_scale_is_known_and_explain_who_says_so(machine: Powercap) -> None:
    LAYOUTS["client"](machine)
    assert (
        rows("available")["rapl package-0"]["detail"] == "processor package-0, refreshed every 0.001 s, scale unknown"
    )
    (cited,) = [row for row in listing.meters(cited=True) if row["status"] == "available"]
    assert "Khan et al. 2018" in cited["detail"]


def test_doctor_leaves_no_file_open(machine: Powercap) -> None:
    LAYOUTS["client"](machine)
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
    listing.meters()
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == descriptors


def test_doctor_tells_that_the_processor_blurs_its_counters(machine: Powercap, tmp_path: Path) -> None:
    LAYOUTS["amd"](machine)
    (tmp_path / "msr").write_bytes(bytes(0xBC) + b"\x01" + bytes(7))
    assert "blurred" in rows("available")["rapl package-0"]["detail"]


def jetson(tmp_path: Path) -> None:
    chip = tmp_path / "hwmon/hwmon0"
    chip.mkdir(parents=True)
    files = {"name": "ina3221", "in1_label": "VDD_IN", "in1_input": "5000", "curr1_input": "1000"}
    for file, text in files.items():
        (chip / file).write_text(f"{text}\n")


def test_power_of_a_part_without_a_counter_is_summed(machine: Powercap, tmp_path: Path) -> None:
    jetson(tmp_path)
    sources, _ = probe()
    assert [source.path for source in sources] == ["wall/module-0"]
    sources[0].close()
    assert "joules by sampling" in rows("available")["ina3221 VDD_IN"]["detail"]


def test_power_around_a_counter_is_never_added_to_it(machine: Powercap, tmp_path: Path) -> None:
    LAYOUTS["client"](machine)
    jetson(tmp_path)
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
    sources, _ = probe()
    assert [source.path for source in sources] == ["wall/platform/package-0"]
    sources[0].close()
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == descriptors  # the sensor is closed, too
    assert "never added" in rows("nested")["ina3221 VDD_IN"]["detail"]


def test_powers_of_a_counted_board_are_cross_checks_and_of_another_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    sensors = [SimpleNamespace(path=path, close=lambda path=path: closed.append(path)) for path in ("wall/a", "wall/b")]
    monkeypatch.setattr(probe_module, "find_nvml_power", lambda: (sensors, []))
    assert probe_checks(["wall/b"]) == sensors[1:]
    assert closed == ["wall/a"]


COUNTER = {"unit_joules": 1e-3, "modulus": None, "max_watts": 100.0, "update_seconds": 0.1, "gain_uncertainty": None,
           "citation": "x", "read": lambda: Reading(before_ns=1, after_ns=2, raw=3)}  # fmt: skip


def installed(monkeypatch: pytest.MonkeyPatch, **entries: Any) -> None:
    points = [SimpleNamespace(name=name, value=f"a_package:{name}", load=lambda one=one: one)
              for name, one in entries.items()]  # fmt: skip
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: points if group == GROUP else [])


def test_other_packages_bring_counters_of_parts_that_are_not_counted_yet(
    machine: Powercap, monkeypatch: pytest.MonkeyPatch
) -> None:
    LAYOUTS["client"](machine)
    closed: list[str] = []
    new, known = (
        SimpleNamespace(name=path, scope=path, path=path, close=lambda path=path: closed.append(path), **COUNTER)
        for path in ("wall/board-x", "wall/platform/package-0/core")
    )
    missing = Unavailable("x", "no such board", "buy one")

    def broken() -> None:
        raise OSError("no bus")

    installed(monkeypatch, good=lambda: ([new, known], [missing]), worse=broken)
    sources, unavailable = probe()
    assert [source.path for source in sources] == ["wall/platform/package-0", "wall/board-x"]
    assert closed == ["wall/platform/package-0/core"]
    assert unavailable[-2:] == [
        missing,
        Unavailable("worse", "a_package:worse raised OSError: no bus", "repair or remove the package that brings it"),
    ]
    sources[0].close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": ""}, "has no scope path"),
        ({"modulus": 0}, "need positive"),
        ({"max_watts": None}, "TypeError"),
        ({"read": lambda: 1 / 0}, "ZeroDivisionError"),
        ({"unit_joules": 0.0}, "need positive"),
    ],
)
def test_a_counter_of_another_package_that_would_break_the_measured_program_is_refused(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], words: str
) -> None:
    good = {**COUNTER, "name": "x", "scope": "board x", "path": "wall/board-x", "close": lambda: None}
    installed(monkeypatch, a=lambda: ([SimpleNamespace(**good)], []), b=lambda: ([SimpleNamespace(**good)], []))
    assert len([source for source in probe()[0] if source.path == "wall/board-x"]) == 1  # the first of two alike
    installed(monkeypatch, bad=lambda: ([SimpleNamespace(**{**good, **change})], []))
    sources, missing = probe()
    assert [source.path for source in sources if source.path in ("", "wall/board-x")] == []
    assert words in missing[-1].reason


def test_boards_are_quiet_if_nobody_else_holds_them_and_nothing_holds_their_clocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = SimpleNamespace(name="nvml H100", uuid="GPU-1", close=lambda: None)
    monkeypatch.setattr(probe_module, "find_nvml", lambda: ([board], []))
    monkeypatch.setattr(probe_module, "processes", lambda uuid: ("python (7)",))
    monkeypatch.setattr(probe_module, "throttle_reasons", lambda uuid: None)
    assert device_checks() == [
        Check("nvml H100: alone", False, "python (7)"),
        Check("nvml H100: clocks", None, "the driver does not tell"),
    ]
    monkeypatch.setattr(probe_module, "throttle_reasons", lambda uuid: ())
    assert device_checks()[1] == Check("nvml H100: clocks", True, "nothing holds the clocks down")
