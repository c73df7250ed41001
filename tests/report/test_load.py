"""Results read back from a store, on which machine, and where else a technique was run."""

from types import SimpleNamespace

import msgspec
import pytest
from stored import fill
from synthetic import FAST

from joulemark.report.board import build_board
from joulemark.report.load import Place, load_all, load_results, place_of, places_with, why_elsewhere

SUITE = SimpleNamespace(
    name="quick",
    techniques=("optimal-brain-damage",),
    task=SimpleNamespace(name="toy", key="0123456789abcdef", title="Toy digits"),
    limits_points=(2.0,),
    models=("row-stationary",),
    backends=("onnxruntime", "eager"),
    batch_sizes=(1, 64),
)


def test_what_was_stored_makes_the_same_boards(tmp_path):
    stored = msgspec.structs.replace(fill(tmp_path), damaged=[])
    known = load_results(SUITE, tmp_path, "toy-cpu")
    for board in stored.boards:
        assert build_board(known, board, 2.0) == build_board(stored, board, 2.0)
    assert [one.hardware_class for one in load_all(SUITE, tmp_path)] == ["toy-cpu"]


def test_results_of_one_machine_are_taken_and_of_several_asked_about(tmp_path):
    with pytest.raises(ValueError, match="run `joulemark run quick`"):
        load_results(SUITE, tmp_path, None)
    fill(tmp_path)
    assert place_of(SUITE, tmp_path, None) == Place("toy-cpu", "toy-01234567")
    fill(tmp_path, hardware="other-cpu")
    with pytest.raises(ValueError, match="add --hardware and one of other-cpu, toy-cpu"):
        place_of(SUITE, tmp_path, None)
    with pytest.raises(ValueError, match="did you mean 'toy-cpu'"):
        place_of(SUITE, tmp_path, "toy-cp")
    assert len(load_all(SUITE, tmp_path)) == 2


def test_a_suite_without_a_study_is_said(tmp_path):
    fill(tmp_path, suite="another")
    with pytest.raises(ValueError, match="no run of suite 'quick' got past its baselines"):
        load_results(SUITE, tmp_path, None)
    assert load_all(SUITE, tmp_path) == []


def test_a_technique_of_another_place_is_explained(tmp_path):
    here = Place("toy-cpu", "toy-01234567")
    fill(tmp_path, techniques=[FAST.technique])
    assert why_elsewhere(SUITE, tmp_path, here, "binary-weights") is None
    for name, registered in (("optimal-brain-damage", ()), ("binary-weights+int8", ("int8", "binary-weights"))):
        assert "was not run yet: `joulemark run quick -t" in why_elsewhere(SUITE, tmp_path, here, name, registered)
    assert why_elsewhere(SUITE, tmp_path, here, "binary-weights+int8", ("int8",)) is None
    fill(tmp_path, task="digits-89abcdef", techniques=["binary-weights"])
    assert why_elsewhere(SUITE, tmp_path, here, "binary-weights") == (
        "`binary-weights` was run on other tasks only (digits-89abcdef): ratios do not carry over between tasks."
    )
    fill(tmp_path, hardware="other-cpu", techniques=["binary-weights"])
    assert why_elsewhere(SUITE, tmp_path, here, "binary-weights") == (
        "`binary-weights` was run on other-cpu only: ratios do not carry over between machines."
    )
    fill(tmp_path, suite="another", techniques=["binary-weights"])
    assert here in places_with(tmp_path, "binary-weights")
    assert "was run in another suite: run `joulemark run quick -t binary-weights`" in why_elsewhere(
        SUITE, tmp_path, here, "binary-weights"
    )
