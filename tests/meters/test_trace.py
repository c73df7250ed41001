"""Traces as files: every line comes back as it was, and what is no trace is said with its line."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from joulemark.meters import trace as trace_module
from joulemark.meters.trace import Header, Line, SourceFacts, Trace, describe, encode, read_trace, suspended_ns
from joulemark.record import Reading

BOARD = SourceFacts(
    name="fake", scope="board", kind="counter", unit=1e-3, max_watts=9.0, update_seconds=0.1, citation="none"
)


def test_lines_come_back_as_they_were_with_whole_numbers(tmp_path: Path) -> None:
    header = Header(sources=(BOARD,), period_seconds=0.05, environment={"kernel": "6"})
    lines = [Line(s=0, n=3, b=1, a=2, r=2**63 + 1), Line(s=0, n=4, b=5, e="EIO"), Line(z=7, b=1, a=2)]
    (tmp_path / "t.jsonl").write_bytes(encode([header, *lines]))
    assert read_trace(tmp_path / "t.jsonl") == (header, lines)
    assert b'{"s":0,"n":3,"b":1,"a":2,"r":9223372036854775809}' in (tmp_path / "t.jsonl").read_bytes()


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path: Path) -> None:
    whole = encode([Header(sources=(BOARD,)), Line(s=0, b=1, a=2, r=3)])
    (tmp_path / "t.jsonl").write_bytes(whole + b'{"s":0,"b":4')
    assert read_trace(tmp_path / "t.jsonl")[1] == [Line(s=0, b=1, a=2, r=3)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "line 1: .*header"),
        (b"hello\n", "line 1: .*header"),
        (encode([Header(trace_schema=9, sources=())]), "line 1: .*version 9.*version 1"),
        (encode([Header(sources=())]) + b'{"x":1}\n', "line 2: not a line"),
        (encode([Header(sources=(), period_seconds=1e-320)]), "line 1: a period"),
        (encode([Header(sources=(msgspec.structs.replace(BOARD, update_seconds=1e308),))]), "line 1: a period"),
        (encode([Header(sources=(msgspec.structs.replace(BOARD, max_watts=-1.0),))]), "line 1: its source 'fake' is"),
        (encode([Header(sources=(msgspec.structs.replace(BOARD, kind="mood"),))]), "line 1: its source 'fake' is"),
    ],
)
def test_what_is_no_trace_is_said_with_its_line(tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "t.jsonl").write_bytes(text)
    with pytest.raises(ValueError, match=f"t.jsonl, {words}"):
        read_trace(tmp_path / "t.jsonl")


@pytest.mark.parametrize("line", [Line(s=1, b=1, a=2, r=3), Line(s=0, b=1, r=3), Line()])
def test_a_line_of_no_source_or_without_its_times_is_refused(line: Line) -> None:
    with pytest.raises(ValueError, match=r"source|times"):
        Trace(Header(sources=(BOARD,))).add(line)


def test_a_long_trace_keeps_the_last_reading_before_the_next_window() -> None:
    trace = Trace(Header(sources=(BOARD,)))
    for at in range(5):
        trace.add(Line(s=0, n=at, b=10 * at, a=10 * at + 1, r=at))
    trace.forget(35)
    assert trace.readings(0) == [Reading(before_ns=10 * at, after_ns=10 * at + 1, raw=at) for at in (3, 4)]


def test_the_wall_clock_is_a_label_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    before = describe([], {}, None)
    monkeypatch.setattr(time, "time_ns", lambda: 5)  # set back by the clock's service
    after = describe([], {}, None)
    assert before.realtime_offset_ns > after.realtime_offset_ns
    source = Path(trace_module.__file__).parent
    users = [path.name for path in source.glob("*.py") if "time.time" in path.read_text()]
    assert users == ["trace.py", "wall.py"]  # and the log of a meter that has no other clock


def test_time_asleep_is_the_difference_of_two_clocks_and_stands_while_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    first = suspended_ns()
    time.sleep(0.05)
    assert abs(suspended_ns() - first) < trace_module.SLEPT_NS
    real = time.clock_gettime_ns
    shift = {time.CLOCK_BOOTTIME: 3_000_000_000}
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: real(clock) + shift.get(clock, 0))
    assert suspended_ns() - first == pytest.approx(3_000_000_000, abs=trace_module.SLEPT_NS)
