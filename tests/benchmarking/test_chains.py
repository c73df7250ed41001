"""Chains in a tiny run: every link has knobs of its own, and the first that has one to search is searched."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tiny import tiny_suite

from joulemark.benchmarking.chains import chains_of, searched_in, searched_place
from joulemark.benchmarking.run import run

TELLS = '''
from typing import Annotated
import joulemark
from joulemark.techniques.technique import Range

@joulemark.technique("tells", paper="none", family="test", knob="share", trains=False)
def run(net, bench, *, share: Annotated[float, Range(0.0, 0.9)] = 0.5, word: str = "same"):
    """Say what it was given."""
    bench.note(f"share {len(bench.notes)}", share)
    return net
'''


@pytest.fixture
def told(open_session, heard, tmp_path):
    """Runs a chain of the technique above: knobs and notes of every attempt, as they lie in the store."""

    def tell(name: str) -> list[tuple[list, dict]]:
        file = tmp_path / "tells.py"
        file.write_text(TELLS)
        session = open_session(tiny_suite())
        assert run(session, chains_of([name], [file]), heard).failed == ()
        stored = [
            msgspec.json.decode(path.read_bytes()) for path in Path(session.store.folder).rglob("attempts/*.json")
        ]
        trials = [msgspec.json.decode(path.read_bytes()) for path in Path(session.store.folder).rglob("trials/*.json")]
        attempts = {one["key"]: one for one in stored}
        assert len(trials) >= 2  # of the baseline and of a winner
        assert all(one["knobs"] == attempts[one["attempt"]]["knobs"] for one in trials)
        assert [one["knobs"] for one in stored if one["technique"] == "baseline"] == [[]]
        return [(one["knobs"], one["notes"]) for one in stored if one["technique"] == name]

    return tell


def test_a_technique_that_stands_twice_is_searched_in_its_first_place_alone(told):
    found = sorted(told("tells+tells"), key=lambda one: one[0][0]["share"])
    assert len(found) == 2
    assert [knobs[1] for knobs, _ in found] == [{"share": 0.5, "word": "same"}] * 2
    assert [knobs[0]["share"] for knobs, _ in found] == [0.5, pytest.approx(0.7)]  # then half-way to the farther end
    for knobs, notes in found:  # what the functions were really given
        assert list(notes.values()) == [knobs[0]["share"], 0.5]


def test_fixed_knobs_reach_links_whose_names_begin_alike(told):
    ((knobs, notes),) = told("tells:share=0+tells:share=0.5+tells:share=0.55")
    assert list(notes.values()) == [0, 0.5, 0.55]
    assert [link["share"] for link in knobs] == [0, 0.5, 0.55]


def test_the_link_after_one_with_fixed_knobs_is_searched(told):
    found = told("tells:share=0.9+tells")
    assert sorted(notes["tells.share 0"] for _, notes in found) == [0.5, pytest.approx(0.7)]
    assert {notes["share 0"] for _, notes in found} == {0.9}


@pytest.mark.parametrize(
    ("name", "place"),
    [("magnitude+magnitude", 0), ("magnitude:sparsity=0.5+conditional-deep-learning+int8", 1), ("int8", 0)],
)
def test_the_first_link_with_a_knob_is_the_one_searched(name, place):
    (chain,) = chains_of([name])
    assert searched_place(chain) == place
    assert searched_in(chain) is chain[place]
