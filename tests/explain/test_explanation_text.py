"""An explanation in a terminal: each section where there is something to say, and nothing read as markup."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from joulemark.explain.explanation import Execution, Explanation, Knob, Reached
from joulemark.explain.explanation_text import as_text, plain
from joulemark.record import Ratio
from joulemark.techniques.paper import Claim, Paper


def thing(**changes):
    known = {"name": "mine", "kind": "technique", "title": "Do less.", "details": (), "file": None, "line": None}
    return Explanation(**{**known, **changes})


def claim(**changes):
    known = {"figure": "9x", "metric": "parameters", "baseline": "the dense net", "accuracy": "no loss", "mark": "seen"}
    return Claim(**{**known, **changes})


def reached(suite="quick", machine="toy-cpu", limit=2.0, folder="", **changes):
    known = {"board": "seconds", "technique": "mine", "status": "ranked", "ratio": None, "remark": None}
    return Reached(suite=suite, hardware_class=machine, limit_points=limit, folder=folder, **{**known, **changes})


def drawn(known, width=200):
    console = Console(width=width, file=io.StringIO())
    console.print(as_text(known))
    return console.file.getvalue()


def lines(known):
    """The lines that say something, their columns parted by one blank."""
    return [" ".join(line.split()) for line in drawn(known).splitlines() if line.strip(" ─━")]


def test_a_thing_of_which_little_is_known_has_its_name_and_title_alone():
    assert lines(thing(kind="net")) == ["mine (net)", "Do less."]


def test_sections_stand_in_the_order_in_which_they_are_read():
    known = thing(
        details=("First.", "Second."), facts={"family": ("a", "b")}, knobs=(Knob(name="k", default=1),), file="x.py",
        executions=(Execution(backend="eager", execution="real"),), line=7,
        paper=Paper(title="t", idea="Why.", equations=("a = b", "  c"), claims=(claim(),), reference="A, 2016."),
    )  # fmt: skip
    heads = [
        "Idea", "Equations", "How it is done here", "In short", "Knobs",
        "Real or simulated, as each backend says of a small net made by it just now",
        "Claimed elsewhere, not by this benchmark", "Reached here", "Reference", "File",
    ]  # fmt: skip
    told = lines(known)
    assert [line for line in told if line in heads] == heads
    for line in ("Why.", "a = b", "First.", "Second.", "family a", "b", "A, 2016.", "x.py:7", "eager PyTorch real"):
        assert line in told


def test_without_a_paper_the_details_are_the_thing_in_words():
    told = lines(thing(kind="backend", details=("First.",)))
    assert "In words" in told and "How it is done here" not in told
    assert "Reached here" not in told  # backends reach nothing


@pytest.mark.parametrize(
    ("knob", "row"),
    [
        (Knob(name="k", default=0.5, low=0.0, high=1.0), "k 0.5 0 to 1"),
        (Knob(name="k", default="a", choices=("a", "b")), "k a a, b"),
        (Knob(name="k", default="a", choices=("a", "b"), low=1.0, high=2.0), "k a a, b"),
        (Knob(name="k", default=False), "k false true, false"),
        (Knob(name="k", default=3, low=1.0), "k 3"),
        (Knob(name="k", default=0.5, low=0.1, high=0.9, searched=True), "k 0.5 0.1 to 0.9 searched by the benchmark"),
    ],
)
def test_a_knob_tells_what_it_may_be(knob, row):
    assert row in " ".join(lines(thing(knobs=(knob,))))


@pytest.mark.parametrize(
    ("mark", "where", "words"),
    [
        ("seen", "abstract", "seen: abstract"),
        ("recalled", None, "recalled, not verified"),
        ("derived", "a table", "derived, not verified"),
    ],
)
def test_a_claim_tells_how_we_know(mark, where, words):
    told = lines(thing(paper=Paper(title="t", claims=(claim(mark=mark, where=where),))))
    assert f"9x parameters the dense net no loss {words}" in told


def test_what_was_reached_stands_under_its_suite_machine_limit_and_folder():
    ratio = Ratio(value=2.0, low=1.5, high=2.5, count=9)
    rows = (
        reached(ratio=ratio, remark="2.00x faster"), reached(board="joules", status="empty"),
        reached(limit=0.5, status="ineligible", remark="loses 3 points"), reached(suite="mnist", folder="results"),
    )  # fmt: skip
    told = lines(thing(reached=rows))
    assert [line for line in told if line.startswith("Reached")] == [
        "Reached in suite quick on toy-cpu with at most 2 points lost",
        "Reached in suite quick on toy-cpu with at most 0.5 points lost",
        "Reached in suite mnist on toy-cpu with at most 2 points lost (records in results)",
    ]
    assert "seconds mine 2.00 (1.50 to 2.50) 2.00x faster" in told
    assert "joules mine empty" in told  # without a ratio or a remark its status stands
    assert "No stored results of it" not in " ".join(told)


def test_a_technique_without_results_says_how_to_get_some():
    assert lines(thing())[-1] == "No stored results of it: run a suite, or name their folder."


def test_why_an_execution_is_simulated_stands_beside_it():
    known = thing(executions=(Execution(backend="onnxruntime", execution="simulated", reason="no kernel"),))
    assert "ONNX Runtime simulated no kernel" in lines(known)


def test_brackets_are_no_markup_anywhere():
    evil = "[i]x"
    known = thing(
        name=evil, title=evil, details=(evil,), facts={evil: (evil,)}, knobs=(Knob(name=evil, default=evil),),
        executions=(Execution(backend=evil, execution=evil, reason=evil),), file=evil, line=1,
        paper=Paper(title=evil, idea=evil, equations=(evil,), claims=(claim(figure=evil),), reference=evil),
        reached=(reached(suite=evil, technique=evil, remark=evil),),
    )  # fmt: skip
    assert drawn(known).count(evil) == 18


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("``a`` and :class:`~b.c.D`", "a and D"),
        (":func:`a.b` :mod:`~x`", "a.b x"),
        ("a: b `c`", "a: b `c`"),
    ],
)
def test_marks_of_docstrings_are_taken_off(text, words):
    assert plain(text) == words


@given(st.text(st.characters(exclude_characters="`")))
def test_text_without_back_ticks_stays_as_it_is(text):
    assert plain(text) == text


def test_title_and_details_lose_their_marks():
    told = lines(thing(kind="net", title="A :class:`~a.Net`.", details=("Of ``width``.",)))
    assert told[1] == "A Net." and "Of width." in told
