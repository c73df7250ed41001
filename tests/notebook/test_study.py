"""From a module and arrays to a Study: run, kept, shown as text, table and page."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import joulemark
from joulemark.notebook.study import Study, benchmark

ROWS = 400
QUICK = {
    "backends": ["onnxruntime"], "batch_sizes": [1], "home_only": [],
    "measuring": {"window_seconds": 0.001, "blocks": 5, "screening_seconds": 0.001, "images": 20},
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Which of two halves of a picture is the brighter: int8 cannot get that wrong."""
    torch.manual_seed(0)
    images = torch.randn(2 * ROWS, 1, 4, 4)
    labels = (images[:, :, :2].sum((1, 2, 3)) > images[:, :, 2:].sum((1, 2, 3))).long()
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[-1.0] * 8 + [1.0] * 8, [1.0] * 8 + [-1.0] * 8]))
    task = joulemark.custom_task(
        net, validation=(images[:ROWS], labels[:ROWS]), test=(images[ROWS:], labels[ROWS:]), suite=QUICK, limit=5
    )
    events = []
    made = benchmark(task, ["int8"], results=tmp_path_factory.mktemp("runs"), listen=events.append)
    return made, events


def test_a_run_gives_a_study_of_its_records(study):
    made, events = study
    assert isinstance(made, Study)
    assert not made.outcome.failed and made.outcome.made == 4  # two nets, judged and measured
    assert {event.what for event in events} >= {"started", "finished"}
    assert {trial.technique for trial in made.results.trials} == {"baseline", "int8"}


def test_its_records_say_that_they_are_of_live_objects(study):
    made, _ = study
    assert all(one.notes["isolated"] is False for one in made.results.attempts if one.technique == "int8")


def test_it_prints_as_the_command_does_and_shows_a_table_in_a_notebook(study):
    made, _ = study
    assert "int8" in repr(made) and "measured seconds per input" in repr(made)
    assert repr(made) == repr(made.board())
    assert "<table>" in made._repr_html_() and "<iframe" in made.board()._repr_html_()
    assert made.board().rows["baseline"].ratio.value == 1.0
    assert [board["limit_points"] for board in made.board().as_dicts()] == [5.0, 5.0, 5.0]


def test_a_comparison_is_a_sentence_with_its_figures(study):
    made, _ = study
    answer = made.compare("int8", "baseline", board="row-stationary")
    assert repr(answer) == answer.sentence
    assert answer.ratio.value > 1.0
    with pytest.raises(ValueError, match="did you mean 'int8'"):
        made.compare("int9", "baseline")


def test_the_page_is_one_file(study, tmp_path):
    made, _ = study
    path = made.report(tmp_path / "page.html")
    assert path.read_text().startswith("<!DOCTYPE html>") or "<html" in path.read_text()[:200]


def test_a_row_is_exported_in_the_session_that_has_its_code(study, tmp_path):
    made, _ = study
    path = made.export("int8", tmp_path / "small.onnx")
    assert path.read_bytes()
    assert 'study.export("int8", "model.onnx")' in repr(made)
    assert "joulemark export" not in repr(made)
    with pytest.raises(ValueError, match="unknown technique with a net that was measured 'small-dense'"):
        made.export("small-dense", tmp_path / "other.onnx")


def test_a_name_alone_is_no_list_of_techniques():
    with pytest.raises(ValueError, match=r"give a list of names, as \['int8'\]"):
        benchmark("quick", "int8")
