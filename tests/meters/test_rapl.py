"""RAPL reader on fake powercap trees in the form the kernel gives them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from joulemark.meters.probe import probe
from joulemark.meters.rapl import MAX_WATTS, PERMISSION_FIX, RaplPackage, find_rapl, max_watts, package_zones
from joulemark.meters.source import ReadError
from joulemark.meters.window import Window

RANGE_UJ = 262_143_328_850


class Powercap:
    """Builds ``class/powercap`` with links into ``devices/virtual/powercap``, like sysfs."""

    def __init__(self, sys_root: Path) -> None:
        self.root = sys_root / "class/powercap"
        self.devices = sys_root / "devices/virtual/powercap"
        self.root.mkdir(parents=True)
        self._link("intel-rapl", self.devices / "intel-rapl")

    def zone(self, number: str, name: str, uj: int = 0, *, control: str = "intel-rapl", **more: int) -> Path:
        """Zone ``control:number``; sub-zones ("0:1") lie inside their parent's directory."""
        parts = number.split(":")
        path = self.devices / control
        for depth in range(len(parts)):
            path = path / f"{control}:{':'.join(parts[: depth + 1])}"
        zone = self._link(path.name, path)
        files: dict[str, Any] = {"name": name, "energy_uj": uj, "max_energy_range_uj": RANGE_UJ, "enabled": 1, **more}
        for file, value in files.items():
            (zone / file).write_text(f"{value}\n")
        return zone

    def _link(self, name: str, target: Path) -> Path:
        target.mkdir(parents=True, exist_ok=True)
        (self.root / name).symlink_to(os.path.relpath(target, self.root))
        return self.root / name


@pytest.fixture
def powercap(tmp_path: Path) -> Powercap:
    return Powercap(tmp_path / "sys")


@pytest.fixture
def two_sockets(powercap: Powercap) -> Powercap:
    """Two packages with sub-zones, the platform between them, and the same packages again through mmio."""
    powercap.zone("0", "package-0", 1_000_000, constraint_0_max_power_uw=125_000_000)
    powercap.zone("0:0", "core", 2)
    powercap.zone("0:1", "uncore", 3)
    powercap.zone("1", "psys", 9_000_000)
    powercap.zone("2", "package-1", 5_000_000)
    powercap.zone("2:0", "dram", 4)
    powercap.zone("0", "package-0", 1_000_000, control="intel-rapl-mmio")
    return powercap


def test_only_packages_are_counted_each_once(two_sockets: Powercap) -> None:
    sources, unavailable = find_rapl(two_sockets.root)
    assert unavailable == []
    assert [(s.name, s.scope, s.read().raw) for s in sources] == [
        ("rapl package-0", "processor package-0", 1_000_000),
        ("rapl package-1", "processor package-1", 5_000_000),
    ]
    assert {s.modulus for s in sources} == {RANGE_UJ}
    for source in sources:
        source.close()


def test_dies_are_packages_of_their_own(powercap: Powercap) -> None:
    powercap.zone("10", "package-1-die-1")
    powercap.zone("2", "package-0-die-1")
    assert [zone.name for zone in package_zones(powercap.root)] == ["intel-rapl:2", "intel-rapl:10"]


def test_a_package_listed_twice_counts_once(powercap: Powercap) -> None:
    powercap.zone("1", "package-0", 7)
    powercap.zone("0", "package-0", 8)
    assert [zone.name for zone in package_zones(powercap.root)] == ["intel-rapl:0"]


def test_reading_follows_the_file_and_is_timed(powercap: Powercap) -> None:
    zone = powercap.zone("0", "package-0", 123_456_789_012)
    source = RaplPackage(zone)
    first = source.read()
    (zone / "energy_uj").write_text("42\n")
    second = source.read()
    source.close()
    assert (first.raw, second.raw) == (123_456_789_012, 42)
    assert first.before_ns <= first.after_ns <= second.before_ns <= second.after_ns


def test_energy_file_is_opened_once(powercap: Powercap, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    really = os.open

    def spy(path: Any, *rest: Any, **more: Any) -> int:
        opened.append(os.fspath(path))
        return really(path, *rest, **more)

    monkeypatch.setattr(os, "open", spy)
    source = RaplPackage(powercap.zone("0", "package-0", 1))
    for _ in range(3):
        source.read()
    source.close()
    assert [path for path in opened if path.endswith("energy_uj")] == [str(powercap.root / "intel-rapl:0/energy_uj")]


@pytest.mark.parametrize("text", ["", "garbage\n", "1.5\n"])
def test_a_file_without_a_number_is_a_read_error(powercap: Powercap, text: str) -> None:
    zone = powercap.zone("0", "package-0", 1)
    source = RaplPackage(zone)
    (zone / "energy_uj").write_text(text)
    with pytest.raises(ReadError, match="package-0"):
        source.read()
    source.close()


def test_a_closed_source_cannot_be_read_and_closes_twice(powercap: Powercap) -> None:
    source = RaplPackage(powercap.zone("0", "package-0", 1))
    source.close()
    source.close()
    with pytest.raises(ReadError, match="closed"):
        source.read()


@pytest.mark.parametrize(
    ("limits", "watts"),
    [
        ({}, MAX_WATTS),
        ({"constraint_0_max_power_uw": 100_000_000}, 150.0),
        ({"constraint_0_max_power_uw": 125_000_000, "constraint_1_power_limit_uw": 253_000_000}, 379.5),
        ({"constraint_0_max_power_uw": 125_000_000, "constraint_1_power_limit_uw": 4_095_000_000}, MAX_WATTS),
        ({"constraint_0_max_power_uw": 0}, MAX_WATTS),
    ],
)
def test_most_watts_come_from_the_limits(powercap: Powercap, limits: dict[str, int], watts: float) -> None:
    assert max_watts(powercap.zone("0", "package-0", **limits)) == pytest.approx(watts)


def refuse(match: str) -> Callable[..., int]:
    """An ``os.open`` that refuses paths holding ``match``, as the kernel does for programs that are not root."""
    really = os.open

    def guarded(path: Any, *rest: Any, **more: Any) -> int:
        if match in os.fspath(path) and os.fspath(path).endswith("energy_uj"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return really(path, *rest, **more)

    return guarded


def test_without_permission_the_fix_opens_the_file_to_one_group(
    two_sockets: Powercap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", refuse("intel-rapl:"))
    sources, unavailable = find_rapl(two_sockets.root)
    assert sources == []
    assert [missing.name for missing in unavailable] == ["rapl intel-rapl:0", "rapl intel-rapl:2"]
    assert "no permission" in unavailable[0].reason
    assert unavailable[0].fix == PERMISSION_FIX


def test_the_permission_fix_never_opens_to_everyone() -> None:
    assert "chgrp energy" in PERMISSION_FIX
    assert "0440" in PERMISSION_FIX
    assert "PLATYPUS" in PERMISSION_FIX
    assert not any(unsafe in PERMISSION_FIX for unsafe in ("a+r", "o+r", "0444", "setcap"))


def test_one_package_without_permission_does_not_hide_the_other(
    two_sockets: Powercap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", refuse("intel-rapl:2"))
    sources, unavailable = find_rapl(two_sockets.root)
    assert [source.name for source in sources] == ["rapl package-0"]
    assert [missing.name for missing in unavailable] == ["rapl intel-rapl:2"]
    sources[0].close()


@pytest.mark.parametrize("present", [True, False])
def test_a_machine_without_zones_is_told_in_words(tmp_path: Path, present: bool) -> None:
    root = tmp_path / "class/powercap"
    if present:
        root.mkdir(parents=True)
    sources, (missing,) = find_rapl(root)
    assert sources == []
    assert "virtual machine" in missing.reason
    assert "modprobe" in missing.fix


@pytest.mark.parametrize("file", ["max_energy_range_uj", "energy_uj"])
def test_a_zone_that_lacks_a_file_is_unavailable(powercap: Powercap, file: str) -> None:
    zone = powercap.zone("0", "package-0")
    (zone / file).unlink()
    sources, (missing,) = find_rapl(powercap.root)
    assert sources == []
    assert file in missing.reason


def test_a_zone_that_cannot_be_read_once_is_unavailable_and_closed(powercap: Powercap) -> None:
    zone = powercap.zone("0", "package-0")
    (zone / "energy_uj").write_text("\n")
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
    sources, (missing,) = find_rapl(powercap.root)
    assert sources == []
    assert "package-0" in missing.reason
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == descriptors


def test_probe_joins_packages_and_the_reasons_of_other_meters(
    two_sockets: Powercap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    sources, unavailable = probe(two_sockets.root)
    assert [source.scope for source in sources] == ["processor package-0", "processor package-1"]
    assert [missing.name for missing in unavailable] == ["nvml"]
    for source in sources:
        source.close()


def test_microjoules_of_both_packages_become_joules(two_sockets: Powercap) -> None:
    sources, _ = find_rapl(two_sockets.root)
    with Window(sources) as window:
        (two_sockets.root / "intel-rapl:0/energy_uj").write_text("1002000\n")  # 2 mJ more
        (two_sockets.root / "intel-rapl:2/energy_uj").write_text("5003000\n")  # 3 mJ more
    assert window.joules.value == pytest.approx(0.005)
    assert window.joules.scope == "processor package-0 + processor package-1"
    for source in sources:
        source.close()
