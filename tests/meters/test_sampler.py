"""The sampler and its child, on a counter of known watts that the child opens itself."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from joulemark.meters.replay import replay
from joulemark.meters.sampler import Sampler, poll_seconds, self_measure
from joulemark.meters.trace import read_trace
from joulemark.meters.window import Window

WATTS, TURN_JOULES = 100, 100

MODULE = f"""
import time
from joulemark.meters.source import timed

class Toy:
    name, scope, path = "toy counter", "toy package", "wall/toy"
    unit_joules, modulus, max_watts, update_seconds = 1e-6, {TURN_JOULES} * 10**6, 120.0, 1e-3
    gain_uncertainty, citation = 0.05, "made up"

    def read(self):
        return timed(lambda: int(time.perf_counter_ns() * {WATTS} // 1000) % self.modulus)

    def close(self):
        pass

def find():
    return [Toy()], []
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "toy_meter.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "toy_meter", raising=False)
    import toy_meter  # type: ignore[import-not-found]

    return toy_meter.Toy()


def test_two_wraps_in_a_window_are_solved_and_replay_gives_the_same(toy: Any, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with Sampler([toy], path, opener="toy_meter:find") as sampler:
        for _ in range(2):
            with Window([toy], sampler=sampler, name="work") as window:
                time.sleep(2.3)
    joules, seconds = window.scopes["toy package"], window.seconds.value
    assert seconds is not None
    assert joules.value == pytest.approx(WATTS * seconds, rel=0.01)
    assert "wrapped" in joules.flags
    assert (joules.lost_seconds, joules.coverage, joules.paths) == (0.0, 1.0, ("wall/toy",))
    found = replay(path)
    assert [one.same for one in found] == [True, True]
    assert found[1].stored == joules
    with Window([toy]) as alone:  # what the edges alone can say
        time.sleep(1.9)
    assert alone.joules.flags == ("gap",)


def longest_gap_while_the_lock_is_held(toy: Any, path: Path) -> float:
    ours: list[float] = []
    stop = threading.Event()

    def read_in_a_thread() -> None:
        while not stop.wait(0.02):
            ours.append(time.perf_counter())

    thread = threading.Thread(target=read_in_a_thread)
    with Sampler([toy], path, opener="toy_meter:find"):
        thread.start()
        time.sleep(0.1)
        began = time.perf_counter_ns()
        ctypes.PyDLL(None).usleep(999_999)  # a C call that keeps the interpreter's lock
        ended = time.perf_counter_ns()
        time.sleep(0.1)
        stop.set()
        thread.join()
    assert max(b - a for a, b in pairwise(ours)) > 0.9  # a thread is starved
    polled = [line.b for line in read_trace(path)[1] if line.n is not None and line.b is not None]
    inside = [began, *(at for at in polled if began < at < ended), ended]
    return max(b - a for a, b in pairwise(inside)) / 1e9


def test_a_call_that_holds_the_interpreters_lock_does_not_starve_the_child(toy: Any, tmp_path: Path) -> None:
    gaps = []
    for attempt in range(5):  # other programs may take the processor: one undisturbed second is enough
        gaps.append(longest_gap_while_the_lock_is_held(toy, tmp_path / f"{attempt}.jsonl"))
        if gaps[-1] < 0.2:
            break
    print(f"longest gap of the child: {min(gaps):.3f} s")  # noqa: T201
    assert min(gaps) < 0.2


def test_without_its_child_the_edges_are_valid_and_the_hole_is_told(toy: Any, tmp_path: Path) -> None:
    with Sampler([toy], tmp_path / "trace.jsonl", opener="toy_meter:find") as sampler:
        assert sampler.pid is not None
        os.kill(sampler.pid, signal.SIGKILL)
        with Window([toy], sampler=sampler) as window:
            time.sleep(0.6)
    assert window.joules.value == pytest.approx(WATTS * window.seconds.value, rel=0.02)
    assert "starved" in window.joules.flags
    assert replay(tmp_path / "trace.jsonl")[0].same


def test_a_child_that_cannot_open_the_sources_costs_no_result(toy: Any) -> None:
    with Sampler([toy], opener="toy_meter:nothing_of_that_name") as sampler, Window([toy], sampler=sampler) as window:
        time.sleep(0.1)
    assert window.joules.value == pytest.approx(WATTS * window.seconds.value, rel=0.05)


def test_a_trace_that_can_no_longer_be_written_costs_no_result(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: Sampler, _lines: object) -> None:
        raise OSError(28, "No space left on device")

    with Sampler([toy], opener="toy_meter:find") as sampler:
        with Window([toy], sampler=sampler) as window:
            monkeypatch.setattr(Sampler, "_append", full)
            time.sleep(0.1)
        assert window.joules.value == pytest.approx(WATTS * window.seconds.value, rel=0.05)


def test_a_block_that_raised_leaves_no_window_in_the_trace(toy: Any, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with Sampler([toy], path, opener="toy_meter:find") as sampler:
        with pytest.raises(KeyError), Window([toy], sampler=sampler, name="broken"):
            raise KeyError
        with Window([toy], sampler=sampler, name="good"):
            pass
    assert [(one.window, one.same) for one in replay(path)] == [("good", True)]


def test_the_child_ends_with_its_parent_even_if_that_is_killed(toy: Any, tmp_path: Path) -> None:
    program = (
        "import time, toy_meter\nfrom joulemark.meters.sampler import Sampler\n"
        "with Sampler([toy_meter.Toy()], opener='toy_meter:find') as s:\n    print(s.pid, flush=True); time.sleep(60)\n"
    )
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert running(child)
    parent.kill()
    parent.communicate()
    for _ in range(200):
        if not running(child):
            return
        time.sleep(0.05)
    pytest.fail("the child runs on")


FORKED = """
import os, signal, sys, time, toy_meter
from joulemark.meters.sampler import Sampler
signal.alarm(60)
with Sampler([toy_meter.Toy()], opener='toy_meter:find') as sampler:
    worker = os.fork()  # as a data loader does; it lives on, with all our pipes
    if worker == 0:
        time.sleep(60)
    print(sampler.pid, worker, flush=True)
    if sys.argv[1] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    began = time.monotonic()
print(time.monotonic() - began, flush=True)
"""


@pytest.mark.parametrize("end", ["ended", "killed"])
@pytest.mark.usefixtures("toy")
def test_a_worker_that_was_forked_meanwhile_keeps_the_child_neither_waiting_nor_alive(tmp_path: Path, end: str) -> None:
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    program = subprocess.Popen(
        [sys.executable, "-c", FORKED, end], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    assert program.stdout is not None
    child, worker = map(int, program.stdout.readline().split())
    try:
        if end == "ended":
            assert float(program.stdout.readline()) < 3
        program.wait(timeout=20)
        for _ in range(100):
            if not running(child):
                return
            time.sleep(0.05)
        pytest.fail("the child runs on")
    finally:
        os.kill(worker, signal.SIGKILL)
        program.communicate()


def test_two_measurements_do_not_write_one_trace_and_two_traces_do_not_mix(toy: Any, tmp_path: Path) -> None:
    ours, other = tmp_path / "ours.jsonl", tmp_path / "other.jsonl"
    with Sampler([toy], ours, opener="toy_meter:find") as first:
        with pytest.raises(OSError, match="another measurement is writing it"), Sampler([toy], ours):
            pass
        with (
            Sampler([toy], other, opener="toy_meter:find") as second,
            Window([toy], sampler=first) as one,
            Window([toy], sampler=second) as two,
        ):
            time.sleep(0.4)
    for window, path in ((one, ours), (two, other)):
        assert window.joules.value == pytest.approx(WATTS * window.seconds.value, rel=0.02)  # the machine's, in both
        assert [found.same for found in replay(path)] == [True]
    with Sampler([toy], ours, opener="toy_meter:find"):  # free again
        pass


@pytest.mark.parametrize("spoil", ["null", "emptied"])
def test_a_trace_that_keeps_nothing_costs_no_result(toy: Any, tmp_path: Path, spoil: str) -> None:
    path = Path("/dev/null") if spoil == "null" else tmp_path / "trace.jsonl"
    with Sampler([toy], path, opener="toy_meter:find") as sampler, Window([toy], sampler=sampler) as window:
        time.sleep(0.2)
        if spoil == "emptied":
            path.write_text("")
    assert window.joules.value == pytest.approx(WATTS * window.seconds.value, rel=0.05)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_child_costs_little() -> None:
    share = self_measure(seconds=3.0)
    print(f"sampler at 10 Hz, one counter in a file: {share:.3%} of one core")  # noqa: T201
    assert 0 < share < 0.02  # generous: 0.2 % is the aim on a quiet machine


class Fake:
    def __init__(self, **more: Any) -> None:
        self.__dict__.update({"unit_joules": 1.0, "max_watts": 100.0, "modulus": None, "update_seconds": 10.0, **more})


@pytest.mark.parametrize(
    ("source", "seconds"),
    [
        (Fake(), 1.0),
        (Fake(update_seconds=0.3), 0.15),
        (Fake(update_seconds=0.001), 0.05),
        (Fake(modulus=200), 0.5),  # a turn takes at least 2 s
    ],
)
def test_the_period_is_half_an_update_or_a_quarter_of_a_turn(source: Fake, seconds: float) -> None:
    assert poll_seconds([source]) == pytest.approx(seconds)
