"""The verb replay: what it says of a trace, and the exit code that says whether the stored results hold."""

from __future__ import annotations

import json

import pytest
from quantities import joules
from traces import facts

from joulemark.meters.replay import replay
from joulemark.meters.trace import Header, Line, encode

SECOND = 10**9


@pytest.fixture
def traced(tmp_path):
    """A function that writes a trace of one window of 100 s in which 50 J were counted, with what was stored of it."""

    def write(name: str, *stored, closed: bool = True):
        readings = [Line(s=0, b=0, a=0, r=0), Line(w="open", k=1, t=0, name="run 1")]
        readings.append(Line(s=0, b=100 * SECOND, a=100 * SECOND, r=50))
        ends = [Line(w="close", k=1, t=100 * SECOND, name="run 1")] if closed else []
        results = [Line(w="result", k=1, q=stored)] if stored else []
        path = tmp_path / name
        path.write_bytes(encode([Header(sources=(facts(name="toy", scope="board"),)), *readings, *ends, *results]))
        return path

    return write


def test_what_was_stored_from_the_same_readings_does_not_differ(joulemark, traced):
    (found,) = replay(traced("bare.jsonl"))
    code, out, err = joulemark("replay", traced("whole.jsonl", found.recomputed))
    assert (code, err) == (0, "")
    row = next(line for line in out.splitlines() if "run 1" in line)
    assert row.split()[:8] == ["run", "1", "toy", "board", "100", "50", "50", "yes"]
    assert out.endswith("1 of 1 stored results are the same again.\n")


@pytest.mark.parametrize(("stored", "shown"), [(49.0, "49"), (None, "unknown")])
def test_a_stored_result_that_differs_is_exit_code_1(joulemark, traced, stored, shown):
    path = traced("edited.jsonl", joules(stored))
    code, out, _ = joulemark("replay", path)
    assert code == 1
    row = next(line for line in out.splitlines() if "run 1" in line)
    assert row.split()[5:8] == [shown, "50", "NO"]
    assert "0 of 1 stored results are the same" in out
    code, out, _ = joulemark("replay", path, "--json")
    assert code == 1
    (one,) = json.loads(out)
    assert (one["same"], one["stored"]["value"], one["recomputed"]["value"]) == (False, stored, 50.0)


def test_a_window_of_which_nothing_was_stored_is_no_failure(joulemark, traced):
    code, out, _ = joulemark("replay", traced("bare.jsonl"))
    assert code == 0
    assert "none" in next(line for line in out.splitlines() if "run 1" in line).split()


def test_a_trace_without_a_closed_window_says_so(joulemark, traced):
    path = traced("open.jsonl", closed=False)
    assert joulemark("replay", path) == (0, f"{path} holds no closed window of a source.\n", "")
    assert joulemark("replay", path, "--json")[:2] == (0, "[]\n")


def test_what_is_no_trace_is_one_sentence(refused, tmp_path):
    (tmp_path / "words.jsonl").write_text("words\n")
    assert refused("replay", "none.jsonl") == "joulemark: cannot read none.jsonl: No such file or directory\n"
    assert refused("replay", tmp_path) == f"joulemark: cannot read {tmp_path}: Is a directory\n"
    assert "words.jsonl" in refused("replay", "words.jsonl")
