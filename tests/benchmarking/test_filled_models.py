"""Suites with energy models that are read from files: keys follow the content, boards the suite's name for it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import msgspec
import pytest
from profiles import planted_times, write_usual
from tiny import tiny_suite

from joulemark.benchmarking import workbench
from joulemark.benchmarking.attempt import attempt_inputs
from joulemark.benchmarking.chains import chains_of
from joulemark.benchmarking.making import made_inputs
from joulemark.benchmarking.run import run
from joulemark.benchmarking.suite_files import load_suite, shipped_suites
from joulemark.check.results import check_results
from joulemark.report.board import build_board
from joulemark.report.board_text import board_table
from joulemark.report.load import load_results
from joulemark.report.page import render_page

EYERISS = (files("joulemark.energy") / "eyeriss.toml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_chip(dram: float) -> str:
    text = EYERISS.replace('name = "row-stationary"', 'name = "mine"').replace("dram = 200.0", f"dram = {dram}")
    Path("chip.toml").write_text(text)
    return "chip.toml"


def keys(open_session, models) -> tuple[str, str, str]:
    """Of a baseline, of a technique's net, and of judging."""
    session = open_session(tiny_suite(models=models))
    chain = chains_of(["small-dense"])[0]
    return (
        made_inputs(session, (), (), 0, None),
        made_inputs(session, chain, ({},), 0, None),
        attempt_inputs(session, "made"),
    )


def write_times(seed: int) -> str:
    write_usual("eager", msgspec.structs.replace(planted_times(), seed=seed))
    return "learned:eager"


@pytest.mark.parametrize("write", [write_chip, write_times])
def test_the_guides_content_is_in_the_keys_of_what_it_guides_and_a_judges_in_those_of_judging(open_session, write):
    one = keys(open_session, (write(100),))
    other = keys(open_session, (write(150),))
    assert one[0] == other[0]  # a baseline asks no model
    assert one[1] != other[1]
    assert one[2] != other[2]
    one = keys(open_session, ("row-stationary", write(100)))
    other = keys(open_session, ("row-stationary", write(150)))
    assert one[:2] == other[:2]
    assert one[2] != other[2]
    assert keys(open_session, ("row-stationary", write(150))) == other


def test_a_suite_guided_by_seconds_has_an_empty_board_that_says_why(open_session, heard, tmp_path, monkeypatch):
    monkeypatch.setattr(workbench, "WORKLOAD_IMAGES", 10)  # the guide is asked a dozen times
    models = (write_times(0), write_chip(20.0))
    name = "energy-aware-pruning:images=64,round_to=1,rounds=1,structure=channels"
    budget = msgspec.structs.replace(tiny_suite().budget, trained_attempts=1, scratch_attempts=1, minutes=10.0)
    suite = tiny_suite(models=models, techniques=(name,), budget=budget)
    outcome = run(open_session(suite), chains_of(suite.techniques), heard)
    assert outcome.failed == ()
    results = load_results(suite, tmp_path / "results", None)
    learned, chip = (build_board(results, board, 40.0) for board in results.boards[2:])
    assert learned.note.startswith("Empty: learned:eager knows no joules (power is missing: no energy counter")
    assert (learned.rows, learned.ineligible) == ((), ())
    assert "Empty: learned:eager knows no joules" in str(board_table(learned))
    assert [row.technique for row in chip.ranked] == [name]  # by the path that the suite says, not by "mine"
    assert chip.ranked[0].ratio.value > 1.0
    (attempt, *_) = [one for one in results.attempts if one.technique == name]
    assert attempt.notes["guide"].startswith("modelled seconds of learned:eager")
    page = render_page(results)
    assert "learned:eager: seconds per input and no joules, from the operations that really ran" in page
    assert "By the learned:eager model" not in page
    assert check_results(tmp_path / "results").broken == ()


def test_the_suite_for_a_device_says_that_it_wants_a_profile(open_session):
    suite = load_suite("cifar10-alexnet-device")
    assert suite.models == ("learned:onnxruntime", "row-stationary")
    assert (
        "joulemark calibrate --backend onnxruntime" in shipped_suites()["cifar10-alexnet-device"].partition("name")[0]
    )
    assert suite.task == load_suite("cifar10-alexnet-pruning").task
    with pytest.raises(ValueError, match="run `joulemark calibrate --backend onnxruntime` first"):
        _ = open_session(suite).models
    write_usual("onnxruntime", planted_times())
    assert [model.name for model in open_session(suite).models] == list(suite.models)
    chains_of(suite.techniques)
