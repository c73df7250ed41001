"""Dies that show one counter are counted once; dies with counters of their own are added."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from powercap import LAYOUTS, RANGE_UJ, Powercap, set_energy

from joulemark.meters import window as window_module
from joulemark.meters.mirrors import FLAG
from joulemark.meters.rapl import find_rapl
from joulemark.meters.replay import joules_of_all
from joulemark.meters.source import Unavailable
from joulemark.meters.trace import Header, Line, SourceFacts, Trace
from joulemark.meters.window import Window

NOWHERE = Path("/nowhere")
PERIOD, LATER = 0.01, 20e-6  # seconds from read to read of one die, and from one die to the next


def die(number: int, *, part: str = "package-0", modulus: int | None = RANGE_UJ, unit: float = 1e-6) -> SourceFacts:
    return SourceFacts(
        name=f"die {number}", scope=f"die {number}", path=f"wall/platform/{part}/die-{number}", kind="counter",
        unit=unit, modulus=modulus, max_watts=1000.0, update_seconds=1e-3, gain_uncertainty=0.05, citation="a paper",
    )  # fmt: skip


def flagged(sources: list[SourceFacts], counters: list[Callable[[float], int]], seconds: float = 1.0) -> list[bool]:
    """Which sources are taken for mirrors; each counter gives microjoules by the time."""
    trace = Trace(Header(sources=tuple(sources), period_seconds=PERIOD))
    for slot in range(round(seconds / PERIOD) + 1):
        for place, counter in enumerate(counters):
            now = slot * PERIOD + place * LATER
            at = round(now * 1e9)
            modulus = sources[place].modulus
            raw = counter(now)
            trace.add(Line(s=place, n=slot, b=at, a=at + 5_000, r=raw % modulus if modulus else raw))
    return [FLAG in one.flags for one in joules_of_all(trace, 0, round(seconds * 1e9))]


@settings(max_examples=60, deadline=None)
@given(
    start=st.integers(0, RANGE_UJ - 1),  # also where it turns in the window
    watts=st.floats(0.5, 400),
    ups=st.floats(0, 0.9),
    dies=st.integers(2, 4),
)
def test_views_of_one_counter_are_seen_whatever_it_stands_at(start, watts, ups, dies):
    def counter(now: float) -> int:
        ticks = int(now * 1e3) / 1e3  # refreshed each millisecond
        power_changes = ups * watts * (0.5 - abs(ticks % 0.2 - 0.1) * 5)
        return start + int((watts * ticks + 0.1 * power_changes) * 1e6)

    assert flagged([die(n) for n in range(dies)], [counter] * dies) == [False] + [True] * (dies - 1)


@settings(max_examples=60, deadline=None)
@given(
    starts=st.lists(st.integers(0, 10**9), min_size=2, max_size=2, unique_by=lambda uj: uj // 100_000),
    watts=st.floats(1, 100),
)
def test_dies_with_counters_of_their_own_are_added_even_if_they_use_the_same(starts, watts):
    counters = [lambda now, start=start: start + int(watts * now * 1e6) for start in starts]
    low, high = sorted(starts)
    if high - low > 1.1e6:  # nearer than what the part can use between two reads is no coincidence to bet on
        assert flagged([die(0), die(1)], counters) == [False, False]


@pytest.mark.parametrize("watts", [(40.0, 45.0), (45.0, 40.0), (40.0, 0.0)])
def test_dies_that_began_together_and_differ_at_the_end_are_added(watts):
    counters = [lambda now, one=one: 4_000_000 + int(one * now * 1e6) for one in watts]
    assert flagged([die(0), die(1)], counters) == [False, False]


@pytest.mark.parametrize(
    "other",
    [die(1, part="package-1"), die(1, part="dram-0"), die(1, unit=2e-6), die(1, modulus=2 * RANGE_UJ)],
    ids=["another package", "its memory", "another unit", "another range"],
)
def test_only_counters_of_one_form_in_one_package_can_be_one(other):
    def counter(now: float) -> int:
        return 1000 + int(30 * now * 1e6)

    assert flagged([die(0), other], [counter, counter]) == [False, False]
    assert flagged([die(0), die(1)], [counter, counter]) == [False, True]


def test_a_counter_that_goes_back_and_cannot_turn_is_another():
    counters = [lambda now: 600_000 + int(30 * now * 1e6), lambda now: 500_000 + int(30 * now * 1e6)]
    assert flagged([die(0, modulus=None), die(1, modulus=None)], counters) == [False, False]


@pytest.mark.parametrize(
    ("steps", "joules", "mirrored"),
    [((500_000, 500_000), 4.0, True), ((500_000, 250_000), 6.0, False), ((250_000, 500_000), 6.0, False)],
)
def test_a_window_over_dies_counts_a_shared_counter_once(tmp_path, steps, joules, mirrored):
    tree = Powercap(tmp_path / "sys")
    zones = [tree.zone(str(number), f"package-0-die-{number}", 4_000_000) for number in (0, 1)]
    sources, told = find_rapl(tree.root, msr=NOWHERE)
    with Window(sources, unavailable=told) as window:
        for count in range(1, 9):
            time.sleep(0.01)
            for zone, step in zip(zones, steps, strict=True):
                set_energy(zone, f"{4_000_000 + count * step}\n")
    assert window.joules.value == pytest.approx(joules, abs=1e-9)
    assert (FLAG in window.joules.flags) == mirrored
    assert len(window.scopes) == 2
    assert window.joules.paths == tuple(source.path for source in sources)[: 1 if mirrored else 2]


def test_a_mirror_of_a_mirror_is_the_first_ones(tmp_path):
    tree = Powercap(tmp_path / "sys")
    zones = [tree.zone(str(number), f"package-0-die-{number}", 7) for number in range(4)]
    sources, _ = find_rapl(tree.root, msr=NOWHERE)
    with Window(sources) as window:
        for zone in zones:
            set_energy(zone, "2000007\n")
        time.sleep(0.03)
    assert window.joules.value == pytest.approx(2.0)


def test_a_readable_twin_is_read_in_the_place_of_a_zone_that_is_not(tmp_path):
    tree = Powercap(tmp_path / "sys")
    LAYOUTS["two_sockets"](tree)
    set_energy(tree.root / "intel-rapl:1", "broken\n")
    sources, told = find_rapl(tree.root, msr=NOWHERE)
    assert [source.path.rpartition("/")[2] for source in sources] == ["package-0", "dram-0", "package-1", "dram-1"]
    assert [one.zone.directory.name for one in sources][2] == "intel-rapl-mmio:1"
    assert [(one.name, one.present) for one in told] == [("rapl intel-rapl:1", False)]
    assert "intel-rapl-mmio:1 is read instead" in told[0].reason
    with Window(sources, unavailable=told) as window:
        for source in sources:
            before = int((source.zone.directory / "energy_uj").read_text())
            set_energy(source.zone.directory, f"{before + 1_000_000}\n")
        time.sleep(0.03)
    assert window.joules.value == pytest.approx(4.0)
    assert "partial" not in window.joules.flags


def test_of_twins_that_cannot_be_read_the_first_is_told_once_and_its_part_is_missing(tmp_path):
    tree = Powercap(tmp_path / "sys")
    LAYOUTS["two_sockets"](tree)
    for name in ("intel-rapl:1", "intel-rapl-mmio:1"):
        set_energy(tree.root / name, "broken\n")
    sources, told = find_rapl(tree.root, msr=NOWHERE)
    assert len(sources) == 3
    assert [(one.name, one.present) for one in told] == [("rapl intel-rapl:1", True)]


class Board:
    """A GPU with a counter beside a processor whose counter is hidden."""

    name, scope, path, unit_joules, modulus, max_watts = "gpu", "accelerator board", "wall/board-aa", 1.0, None, 1e6
    update_seconds, gain_uncertainty, citation = 1e-3, 0.05, "a data sheet"

    def read(self):
        return window_module.Reading(before_ns=(now := time.perf_counter_ns()), after_ns=now, raw=now // 10**8)

    def close(self) -> None: ...


def told_of(tree: Powercap) -> list[Unavailable]:
    sources, told = find_rapl(tree.root, msr=NOWHERE)
    assert sources == []
    with Window([Board()], unavailable=told) as window:
        pass
    assert ("partial" in window.joules.flags) == any(one.present for one in told)
    return told


def test_links_that_lead_nowhere_are_hidden_by_the_container_and_not_absent(tmp_path):
    tree = Powercap(tmp_path / "sys")
    LAYOUTS["two_sockets"](tree)
    shutil.rmtree(tree.devices)
    told = told_of(tree)
    assert {one.name for one in told} >= {"rapl intel-rapl:0", "rapl intel-rapl:1"}
    for one in told:
        assert one.present
        assert "container" in one.reason
        assert "/sys/devices/virtual/powercap:/sys/devices/virtual/powercap" in one.fix
        assert "modprobe" not in one.fix


def test_one_socket_that_is_hidden_is_missing_in_the_sum_of_the_others(tmp_path):
    tree = Powercap(tmp_path / "sys")
    tree.zone("0", "package-0", 5)
    shutil.rmtree(tree.zone("1", "package-1", 5).resolve())
    sources, told = find_rapl(tree.root, msr=NOWHERE)
    assert [source.path for source in sources] == ["wall/platform/package-0"]
    assert [(one.name, one.present) for one in told] == [("rapl intel-rapl:1", True)]


def test_a_platform_without_its_packages_is_there_and_hidden(tmp_path):
    tree = Powercap(tmp_path / "sys")
    tree.zone("0", "psys", 5)
    (told,) = told_of(tree)
    assert told.present
    assert "psys" in told.reason
    assert "volume" in told.fix


def test_a_machine_without_counters_is_not_partial(tmp_path):
    (told,) = told_of(Powercap(tmp_path / "sys"))
    assert not told.present
    assert "modprobe" in told.fix


def test_a_burst_between_two_reads_is_still_one_counter():
    def counter(now: float) -> int:
        return int((10 * now + (0.25 if now > 0.5 else 0.0)) * 1e6)  # a quarter of a joule within one update

    assert flagged([die(0), die(1)], [counter, lambda now: counter(now + 1e-5)]) == [False, True]


def test_of_two_views_the_one_that_is_known_counts():
    trace = Trace(Header(sources=(die(0), die(1)), period_seconds=PERIOD))
    for slot in range(101):
        at = round(slot * PERIOD * 1e9)
        for place in (0, 1):
            if place or slot < 90:  # the first die is not read any more
                trace.add(Line(s=place, n=slot, b=at + place * 20_000, a=at + place * 20_000 + 5_000, r=slot * 300_000))
    found = joules_of_all(trace, 15 * 10**6, 985 * 10**6)
    assert found[0].value is None and FLAG in found[0].flags
    assert found[1].value == pytest.approx(0.97 * 30.0, rel=0.02) and FLAG not in found[1].flags
