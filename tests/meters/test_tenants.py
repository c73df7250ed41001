"""Other programs and throttling while something is measured: a made-up /proc, two looks, flags by hand."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from nvml_stub import Stub, build

import joulemark.meters.meters as meters_module
from joulemark.machine.machine import Activity
from joulemark.meters.meters import measure
from joulemark.meters.tenants import Look, between, look
from joulemark.record import Reading

HERTZ = os.sysconf("SC_CLK_TCK")
CORES = os.cpu_count() or 1


def proc(root: Path, processes: dict[int, tuple[int, float, float]], *, busy: float, stolen: float = 0.0) -> None:
    """A /proc of processes (parent, own CPU seconds, those of children waited for) on a machine busy so long."""
    for pid, (parent, own, waited) in processes.items():
        (root / f"proc/{pid}").mkdir(parents=True, exist_ok=True)
        ticks = [round(own * HERTZ), 0, round(waited * HERTZ), 0]
        fields = ["S", parent, *[0] * 9, *ticks, 20, 0, 1]
        (root / f"proc/{pid}/stat").write_text(f"{pid} (a (b) c) {' '.join(map(str, fields))}\n")
    (root / "proc/stat").write_text(f"cpu  {round(busy * HERTZ)} 0 0 9 0 0 0 {round(stolen * HERTZ)} 0 0\n")


def flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, seconds: float = 10.0, **after: Any) -> tuple[str, ...]:
    """Flags between a machine at rest and one ``seconds`` later; shares are of all cores' time."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    us, whole = os.getpid(), seconds * CORES
    proc(tmp_path, {us: (1, 3.0, 0.0), us + 1: (us, 1.0, 0.0), us + 2: (us + 1, 0.0, 2.0)}, busy=50.0)
    before = look(root=tmp_path)
    assert before.activity.own_cpu_seconds == pytest.approx(6.0)
    now[0] += seconds
    ours, others = after.get("ours", 0.0) * whole, after.get("others", 0.0) * whole
    proc(
        tmp_path, {us + 2: (us + 1, 0.0, 2.0 + ours)}, busy=50 + ours + others, stolen=after.get("stolen", 0.0) * whole
    )
    return between(before, look(root=tmp_path))


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ({"ours": 0.9}, ()),  # a grandchild that was waited for is ours
        ({"ours": 0.5, "others": 0.05}, ()),
        ({"ours": 0.5, "others": 0.2}, ("contended",)),
        ({"stolen": 0.02}, ("contended",)),
        ({"others": 0.9, "seconds": 0.5}, ()),  # too short to be counted in ticks
    ],
)
def test_programs_that_are_not_ours_contend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: dict[str, float], told: tuple[str, ...]
) -> None:
    assert flags(tmp_path, monkeypatch, **after) == told


def test_a_core_that_was_slowed_down_by_heat_is_throttled() -> None:
    before, after = (
        Look(Activity(seconds=at, own_cpu_seconds=0, busy_cpu_seconds=0, stolen_seconds=0, throttles=n), frozenset())
        for at, n in ((0.0, 7), (10.0, 9))
    )
    assert (between(before, after), between(after, after)) == (("throttled",), ())


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("stub"))


def test_a_board_that_others_hold_or_that_is_held_down_is_flagged_and_ours_is_not(
    library: Path, tmp_path: Path
) -> None:
    stub = Stub(library, tmp_path, "gpu GPU-aa", "power 0 100", "throttle 0x1")
    program = f"""
import os, subprocess, sys
from joulemark.meters.tenants import look
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
def told(*lines):
    stub.write("gpu GPU-aa", "power 0 100", *lines)
    return sorted(look(["GPU-aa"]).flags)
print(told("throttle 0x1"), told("throttle 0x4"), told("pid {os.getpid()}"), told(f"pid {{os.getpid()}}"),
      told(f"pid {{child.pid}}"), told("pid 4194305"), look(["GPU-no"]).flags)
child.communicate(b"x")
"""
    assert stub.python(program).strip() == "[] ['throttled'] ['contended'] [] [] [] frozenset()"


class Steady:
    name, scope, path, unit_joules, modulus, max_watts = "steady", "toy", "wall/toy", 1e-6, None, 1000.0
    update_seconds, gain_uncertainty, citation = 1e-3, 0.05, "made up"

    def read(self) -> Reading:
        now = time.perf_counter_ns()
        return Reading(before_ns=now, after_ns=now, raw=now // 25)

    def close(self) -> None:
        pass


def test_the_flags_go_with_the_joules_of_the_librarys_own_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [("idle", 0.0), ("busy", 0.0)]
    monkeypatch.setattr(meters_module, "probe", lambda: ([Steady()], []))
    monkeypatch.setattr(meters_module, "probe_checks", lambda paths: [])
    monkeypatch.setattr(meters_module, "look", lambda boards: looks.pop(0))
    monkeypatch.setattr(meters_module, "between", lambda *both: ("contended",) if not looks else ())
    with measure() as window:
        pass
    assert "contended" in window.joules.flags
    assert "contended" in window.net_joules.flags


def test_a_childs_work_is_ours_also_when_it_has_ended() -> None:
    """On this very machine: a child of ours computes for 0.4 CPU seconds."""
    busy = "import time\nwhile time.process_time() < 0.4: pass"
    before = look()
    subprocess.run([sys.executable, "-c", busy], check=True)
    after = look()
    grown = after.activity.own_cpu_seconds - before.activity.own_cpu_seconds
    assert 0.35 < grown < 3.0  # its own, whatever else this machine does
