"""The sampler's child: its slots on a clock that only it moves, and the process itself on a toy meter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traces import SECOND

import joulemark.meters.polling as polling_module
from joulemark.meters.polling import open_sources, poll
from joulemark.meters.source import ReadError
from joulemark.meters.trace import Line, decode_line
from joulemark.record import Reading


class Scripted:
    name = scope = citation = "scripted"
    max_watts, update_seconds, gain_uncertainty = 1.0, 0.1, None

    def __init__(self, clock: list[int], *durations: float | Exception) -> None:
        self.clock, self.durations = clock, list(durations)

    def read(self) -> Reading:
        before = self.clock[0]
        took = self.durations.pop(0)
        if isinstance(took, Exception):
            raise took
        self.clock[0] += round(took * SECOND)
        return Reading(before_ns=before, after_ns=self.clock[0], raw=42)


def polled(*durations: float | Exception, asleep: list[int] | None = None, late: float = 0.0) -> list[Line]:
    """Lines of a sampler of 10 Hz whose reads take so long, and whose waits are ``late`` seconds longer."""
    clock, asleep = [0], list(asleep or [])
    source, lines = Scripted(clock, *durations), []

    def wait(seconds: float) -> bool:
        clock[0] += round((seconds + late) * SECOND)
        return not source.durations

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(time, "perf_counter_ns", lambda: clock[0])
        patched.setattr(polling_module, "suspended_ns", lambda: asleep.pop(0) if asleep else 0)
        poll([(0, source)], lambda text: lines.extend(map(decode_line, text.splitlines())), SECOND // 10, wait)
    return lines


def test_slots_that_passed_are_skipped_with_their_numbers() -> None:
    lines = polled(0.01, 0.35, 0.01)
    assert [line.n for line in lines] == [0, 1, 5]
    assert [line.b for line in lines] == [0, SECOND // 10, SECOND // 2]


def test_a_failed_read_is_kept_in_words_and_the_next_one_tried() -> None:
    lines = polled(0.0, ReadError("EIO"), 0.0, OSError("odd"))
    assert [(line.n, line.e, line.r) for line in lines] == [
        (0, None, 42), (1, "EIO", None), (2, None, 42), (3, "scripted raised OSError: odd", None),
    ]  # fmt: skip


def test_sleep_is_written_with_the_times_between_which_it_was() -> None:
    lines = polled(0.0, 0.0, 0.0, asleep=[50, 60, 5 * SECOND, 5 * SECOND])
    (slept,) = [line for line in lines if line.z is not None]
    assert slept == Line(z=5 * SECOND - 50, b=0, a=SECOND // 10)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=10), st.floats(0.0, 0.09))
def test_every_read_begins_in_the_slot_whose_number_it_has(durations: list[float], late: float) -> None:
    lines = polled(*durations, late=late)
    slots = [line.n for line in lines if line.n is not None]
    assert len(slots) == len(durations)
    assert slots == sorted(set(slots))
    assert all(0 <= (line.b or 0) - (line.n or 0) * SECOND // 10 < SECOND // 10 for line in lines)


def test_all_sources_are_read_in_each_slot_and_written_at_once() -> None:
    clock, written = [0], []
    sources = [(place, Scripted(clock, 0.0, ReadError("EIO"), 0.0)) for place in (2, 0)]
    poll(sources, written.append, 1, lambda _: len(written) == 3)
    lines = [[decode_line(line) for line in text.splitlines()] for text in written]
    assert [[(line.s, line.e) for line in both] for both in lines] == [
        [(2, None), (0, None)], [(2, "EIO"), (0, "EIO")], [(2, None), (0, None)],
    ]  # fmt: skip


MODULE = """
from joulemark.meters.source import timed

class Toy:
    def __init__(self, scope):
        self.name, self.scope = "toy", scope

    def read(self):
        return timed(lambda: len(self.scope))

def found():
    return [Toy("a"), Toy("bcd")], ["a reason"]

def listed():
    return [Toy("a")]
"""


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "toys_to_poll.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("opener", "scopes"), [("found", ["a", "bcd"]), ("listed", ["a"])])
@pytest.mark.usefixtures("toys")
def test_sources_are_opened_by_the_name_of_a_function_with_or_without_reasons(opener: str, scopes: list[str]) -> None:
    assert [one.scope for one in open_sources(f"toys_to_poll:{opener}")] == scopes


def child(toys: Path, wanted: list[tuple[str, str]], talk: Callable[[Any], Any]) -> tuple[int, bytes, list[Line]]:
    """Exit code of the child, what it told us, and the lines that it wrote until ``talk`` with it was over."""
    trace = toys / "trace"
    file = os.open(trace, os.O_RDWR | os.O_CREAT)
    ran = subprocess.Popen(
        [sys.executable, "-m", "joulemark.meters.polling"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[file],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(toys), *sys.path])},
    )  # fmt: skip
    os.close(file)
    task = {"opener": "toys_to_poll:found", "sources": wanted, "period_seconds": 0.01, "file": file}
    assert ran.stdin is not None
    assert ran.stdout is not None
    with ran:
        ran.stdin.write(json.dumps(task).encode() + b"\n")
        ran.stdin.flush()
        talk(ran)
        code, told = ran.wait(timeout=20), ran.stdout.read()
    return code, told, [decode_line(line) for line in trace.read_bytes().splitlines()]


def closed(ran: Any) -> None:
    ran.stdin.close()


def spoken_to(ran: Any) -> None:
    ran.stdin.write(b"\n")
    ran.stdin.flush()


@pytest.mark.parametrize("end", [closed, spoken_to])
def test_the_child_says_that_it_began_reads_what_it_was_asked_to_and_ends_when_told(
    toys: Path, end: Callable[[Any], None]
) -> None:
    def talk(ran: Any) -> None:
        assert ran.stdout.read(1) == b"."  # the first line is in the file
        time.sleep(0.1)
        end(ran)

    code, told, (first, *rest, last) = child(toys, [("toy", "zz"), ("toy", "bcd")], talk)
    assert (code, told) == (0, b"")
    assert {(line.s, line.r) for line in (first, *rest)} == {(1, 3)}  # the place in the header; "a" was not asked for
    assert first.n == 0
    assert rest
    assert last.w == "end"
    assert rest[-1].a <= last.t
    assert 0 <= last.cpu < 5


def test_a_child_that_finds_none_of_the_sources_ends_at_once_and_writes_nothing(toys: Path) -> None:
    assert child(toys, [("toy", "zz")], lambda _: None) == (0, b"", [])
