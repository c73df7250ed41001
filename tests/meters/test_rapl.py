"""RAPL reader on fake powercap trees in the form the kernel gives them; energies are computed by hand."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from powercap import LAYOUTS, RANGE_UJ, Powercap, set_energy

from joulemark.meters.counter import CounterTrack, First, Plain, Wrapped
from joulemark.meters.powercap import Zone, zones
from joulemark.meters.rapl import MAX_WATTS, PERMISSION_FIX, RaplCounter, find_rapl, max_watts
from joulemark.meters.source import ReadError, SourceLost
from joulemark.meters.window import Window

NOWHERE = Path("/nowhere")


@pytest.fixture
def powercap(tmp_path: Path) -> Powercap:
    return Powercap(tmp_path / "sys")


@pytest.fixture
def two_sockets(powercap: Powercap) -> Powercap:
    LAYOUTS["two_sockets"](powercap)
    return powercap


def only(powercap: Powercap) -> Zone:
    (zone,) = zones(powercap.root)
    return zone


def close(sources: list[RaplCounter]) -> None:
    for source in sources:
        source.close()


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by one second whenever it is looked at."""
    ticks = itertools.count(0, 1_000_000_000)
    monkeypatch.setattr(time, "perf_counter_ns", lambda: next(ticks))


def track_of(source: RaplCounter) -> CounterTrack:
    return CounterTrack(unit_joules=source.unit_joules, modulus=source.modulus, max_watts=source.max_watts)


SUMMED = {
    "client": ["package-0"],
    "two_sockets": ["package-0", "dram-0", "package-1", "dram-1"],
    "multi_die": ["package-0/die-0", "dram-0/die-0", "package-0/die-1", "dram-0/die-1"],
    "amd": ["package-0"],
    "dtpm": ["package-0"],
    "top_dram": ["package-0", "dram-0"],
    "mmio_only": ["package-0"],
    "no_zones": [],
}
NESTED = {
    "client": ["package-0/core", "package-0/uncore", ""],
    "multi_die": ["package-0/die-0/core", "package-0/die-1/core"],
    "amd": ["package-0/core"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_zone_is_recognised_and_nothing_is_counted_twice(powercap: Powercap, layout: str) -> None:
    LAYOUTS[layout](powercap)
    sources, _ = find_rapl(powercap.root, msr=NOWHERE)
    everything, _ = find_rapl(powercap.root, nested=True, msr=NOWHERE)
    paths = [f"wall/platform/{part}".rstrip("/") for part in SUMMED[layout] + NESTED.get(layout, [])]
    assert [source.path for source in everything] == paths
    assert [source.path for source in sources] == paths[: len(SUMMED[layout])]
    Window(sources)  # refuses what overlaps
    if NESTED.get(layout):
        with pytest.raises(ValueError, match="counted twice"):
            Window(everything)
    close(sources + everything)


def test_sockets_are_added_and_neither_psys_nor_mmio_is(two_sockets: Powercap) -> None:
    two_sockets.zone("2", "psys", 9_000_000)
    sources, unavailable = find_rapl(two_sockets.root)
    assert unavailable == []
    now = {"intel-rapl:0": 1_002_000, "intel-rapl:0:0": 300_500, "intel-rapl:1": 5_003_000, "intel-rapl:1:0": 700_250}
    with Window(sources) as window:
        for zone, uj in now.items():
            set_energy(two_sockets.root / zone, f"{uj}\n")
        set_energy(two_sockets.root / "intel-rapl:2", "9009000\n")
        set_energy(two_sockets.root / "intel-rapl-mmio:0", "1002000\n")
    assert window.joules.value == pytest.approx(0.002 + 0.0005 + 0.003 + 0.00025)
    assert window.joules.scope == "processor package-0 + memory dram-0 + processor package-1 + memory dram-1"
    close(sources)


def test_sources_say_what_they_are(two_sockets: Powercap) -> None:
    sources, _ = find_rapl(two_sockets.root)
    assert [(s.name, s.scope, s.read().raw) for s in sources] == [
        ("rapl package-0", "processor package-0", 1_000_000),
        ("rapl dram-0", "memory dram-0", 300_000),
        ("rapl package-1", "processor package-1", 5_000_000),
        ("rapl dram-1", "memory dram-1", 700_000),
    ]
    assert {s.modulus for s in sources} == {RANGE_UJ}
    assert {(s.update_seconds, s.gain_uncertainty) for s in sources} == {(1e-3, None)}
    assert ["Khan" in s.citation for s in sources] == [True, False, True, False]
    assert ["Desrochers" in s.citation for s in sources] == [False, True, False, True]
    close(sources)


def test_what_is_left_out_for_good_is_told(two_sockets: Powercap) -> None:
    two_sockets.zone("0:1", "gadget", 5)
    sources, unavailable = find_rapl(two_sockets.root, nested=True)
    assert [(missing.name, missing.reason) for missing in unavailable] == [
        ("rapl intel-rapl:0:1", "a zone of unknown name 'gadget'"),
        ("rapl intel-rapl-mmio:0", "counts processor package-0 once more"),
        ("rapl intel-rapl-mmio:1", "counts processor package-1 once more"),
    ]
    close(sources)


@pytest.mark.parametrize("layout", ["two_sockets", "multi_die"])
def test_memory_at_the_top_is_not_counted_beside_that_of_the_packages(powercap: Powercap, layout: str) -> None:
    LAYOUTS[layout](powercap)
    powercap.zone("2", "dram", 1_000_000)
    sources, _ = find_rapl(powercap.root)
    assert [source.path.removeprefix("wall/platform/") for source in sources] == SUMMED[layout]
    close(sources)


def test_a_package_listed_twice_counts_once(powercap: Powercap) -> None:
    powercap.zone("1", "package-0", 7)
    powercap.zone("0", "package-0", 8)
    sources, _ = find_rapl(powercap.root)
    assert [source.read().raw for source in sources] == [8]
    close(sources)


def test_reading_follows_the_file_and_is_timed(powercap: Powercap) -> None:
    zone = powercap.zone("0", "package-0", 123_456_789_012)
    source = RaplCounter(only(powercap))
    first = source.read()
    set_energy(zone, "42\n")
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
    powercap.zone("0", "package-0", 1)
    source = RaplCounter(only(powercap))
    for _ in range(3):
        source.read()
    source.close()
    assert [path for path in opened if path.endswith("energy_uj")] == [str(powercap.root / "intel-rapl:0/energy_uj")]


BAD_TEXTS = ["", "\n", "garbage\n", "1.5\n", "1_000\n", "-5\n"]
BAD_CALLS = [errno.EIO, errno.ENODATA, errno.EAGAIN]


@pytest.mark.parametrize("fault", BAD_TEXTS + BAD_CALLS)
def test_the_next_good_reading_has_the_whole_interval_of_a_failed_one(
    powercap: Powercap, seconds: None, monkeypatch: pytest.MonkeyPatch, fault: str | int
) -> None:
    zone = powercap.zone("0", "package-0", 1_000_000)
    source = RaplCounter(only(powercap))
    track = track_of(source)
    assert track.update(source.read()) == First()
    with monkeypatch.context() as broken:
        if isinstance(fault, str):
            set_energy(zone, fault)
        else:
            broken.setattr(os, "pread", failing(fault))
        with pytest.raises(ReadError, match="package-0") as caught:
            source.read()
        assert not isinstance(caught.value, SourceLost)
    set_energy(zone, "41000000\n")
    assert track.update(source.read()) == Plain(40.0)  # 41 J - 1 J, over both intervals
    source.close()


def failing(number: int) -> Callable[..., bytes]:
    def pread(*_: Any) -> bytes:
        raise OSError(number, os.strerror(number))

    return pread


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes reads of one descriptor fail as the kernel's do once the file's driver is gone."""
    gone: set[int] = set()
    really = os.pread

    def pread(descriptor: int, *rest: int) -> bytes:
        return failing(errno.ENODEV)() if descriptor in gone else really(descriptor, *rest)

    monkeypatch.setattr(os, "pread", pread)
    return gone.add


def test_a_vanished_zone_is_lost(powercap: Powercap, unloaded: Callable[[int], None]) -> None:
    powercap.zone("0", "package-0", 1_000_000)
    source = RaplCounter(only(powercap))
    unloaded(source._file)  # type: ignore[arg-type]
    shutil.rmtree(powercap.devices / "intel-rapl/intel-rapl:0")
    (powercap.root / "intel-rapl:0").unlink()
    with pytest.raises(SourceLost, match=r"rapl package-0: its powercap zone is gone.*modprobe"):
        source.read()
    source.close()


@pytest.mark.parametrize("number", ["0", "3"])
def test_a_zone_that_comes_back_is_found_by_its_scope_not_by_its_number(
    powercap: Powercap, seconds: None, unloaded: Callable[[int], None], number: str
) -> None:
    powercap.zone("0", "package-0", RANGE_UJ - 3_000_000)
    source = RaplCounter(only(powercap))
    track = track_of(source)
    track.update(source.read())
    unloaded(source._file)  # type: ignore[arg-type]
    shutil.rmtree(powercap.devices / "intel-rapl/intel-rapl:0")
    powercap.zone("0", "package-1", 500_000_000)
    powercap.zone(number, "package-0", 2_000_000)  # "0": takes the place back
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
    assert track.update(source.read()) == Wrapped(5.0)  # 3 J up to the range and 2 J from 0
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == descriptors
    source.close()


def test_a_closed_source_cannot_be_read_and_closes_twice(powercap: Powercap) -> None:
    powercap.zone("0", "package-0", 1)
    source = RaplCounter(only(powercap))
    source.close()
    source.close()
    with pytest.raises(ReadError, match="closed"):
        source.read()


@pytest.mark.parametrize(("register", "flags"), [(1, ("gain_unknown", "energy_filtered")), (0, ("gain_unknown",))])
def test_filtering_goes_with_every_result(
    powercap: Powercap, tmp_path: Path, register: int, flags: tuple[str, ...]
) -> None:
    msr = tmp_path / "msr"
    msr.write_bytes(bytes(0xBC) + register.to_bytes(8, "little"))
    zone = powercap.zone("0", "package-0", 1)
    sources, _ = find_rapl(powercap.root, msr=msr)
    with Window(sources) as window:
        set_energy(zone, "2\n")
    assert set(window.joules.flags) - {"too_short"} == set(flags)
    close(sources)


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


@pytest.fixture
def open_tree() -> Iterator[Powercap]:
    """A tree that programs without root can walk, unlike those below pytest's own directory."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield Powercap(directory / "sys")
    shutil.rmtree(directory)


@pytest.fixture
def nobody() -> Iterator[None]:
    """Without root's right to read everything; for those who never had it, owning the files is the way around."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        yield
        os.seteuid(0)
    else:
        pytest.skip("files of mode 0400 are our own here; the test needs to start as root")


def test_without_permission_the_fix_opens_the_file_to_one_group(open_tree: Powercap, request: Any) -> None:
    LAYOUTS["two_sockets"](open_tree)
    request.getfixturevalue("nobody")
    sources, unavailable = find_rapl(open_tree.root)
    assert sources == []
    names = ["rapl intel-rapl:0", "rapl intel-rapl:0:0", "rapl intel-rapl:1", "rapl intel-rapl:1:0"]
    assert [missing.name for missing in unavailable] == names
    assert unavailable[1].reason == f"no permission to read {open_tree.root}/intel-rapl:0:0/energy_uj (memory dram-0)"
    assert {missing.fix for missing in unavailable} == {PERMISSION_FIX}


def test_the_permission_fix_never_opens_to_everyone() -> None:
    assert "chgrp energy" in PERMISSION_FIX
    assert "0440" in PERMISSION_FIX
    assert "PLATYPUS" in PERMISSION_FIX
    assert not any(unsafe in PERMISSION_FIX for unsafe in ("a+r", "o+r", "0444", "setcap"))


def test_one_package_without_permission_does_not_hide_the_other(
    two_sockets: Powercap, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = os.open

    def guarded(path: Any, *rest: Any, **more: Any) -> int:
        if os.fspath(path).endswith("intel-rapl:1/energy_uj") or os.fspath(path).endswith("mmio:1/energy_uj"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return really(path, *rest, **more)

    monkeypatch.setattr(os, "open", guarded)
    sources, unavailable = find_rapl(two_sockets.root)
    assert [source.name for source in sources] == ["rapl package-0", "rapl dram-0", "rapl dram-1"]
    assert [(missing.name, missing.present) for missing in unavailable] == [("rapl intel-rapl:1", True)]
    close(sources)


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


def test_a_range_of_0_is_no_counter_rather_than_a_fault_in_the_measured_program(powercap: Powercap) -> None:
    powercap.zone("0", "package-0", max_energy_range_uj=0)
    sources, (missing,) = find_rapl(powercap.root)
    assert sources == []
    assert "max_energy_range_uj says 0" in missing.reason


def test_a_zone_that_cannot_be_read_once_is_unavailable_and_closed(powercap: Powercap) -> None:
    set_energy(powercap.zone("0", "package-0"), "\n")
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
    sources, (missing,) = find_rapl(powercap.root)
    assert sources == []
    assert "package-0" in missing.reason
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == descriptors
