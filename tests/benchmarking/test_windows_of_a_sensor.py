"""A task that has no images: windows of three sensors, whole subjects in each split, judged by weighted F1."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from tiny import tiny_suite
from torch import nn

from joulemark import vocabulary
from joulemark.benchmarking import free as free_module
from joulemark.benchmarking.chains import chains_of
from joulemark.benchmarking.free import Setting
from joulemark.benchmarking.run import run
from joulemark.benchmarking.session import Session
from joulemark.check.results import check_results
from joulemark.data.source import Source
from joulemark.judging.truths import groups_of, labels_of, predicted_of
from joulemark.report.board import build_board
from joulemark.report.load import load_results
from joulemark.report.verdicts import headline
from joulemark.task import Recipe, Splits, Task

SUBJECTS, WINDOWS = 12, 30


def read() -> Source:
    """Three motions of another frequency each, as 16-bit integers; subjects differ in strength."""
    rng = np.random.default_rng(0)
    rows = SUBJECTS * WINDOWS
    labels, subjects = np.arange(rows) % 3, np.arange(rows) // WINDOWS
    time = np.arange(32) * (1.0 + labels)[:, None, None] / 4 + rng.uniform(0, 6, (rows, 3, 1))
    strength = 1 + subjects[:, None, None] / SUBJECTS
    inputs = 1000 * strength * np.sin(time) + rng.normal(scale=500, size=(rows, 3, 32))
    return Source((inputs.astype(np.int16), labels.astype(np.int64)), groups=subjects.astype(np.int64) + 100)


def small_conv1d(*, classes: int = 3, width: int = 8) -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(3, width, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(16 * width, classes)
    )


TASK = Task(
    name="motions", title="Motions of twelve subjects", data="motions", data_sha256="unknown", split_by="group",
    splits=Splits(train=5, policy=1, validation=3, test=3), input_shape=(3, 32), classes=3, mean=(0.0,) * 3,
    deviation=(1000.0,) * 3, metric="weighted-f1",
    recipe=Recipe(builder="small-conv1d", epochs=4, batch_size=16, learning_rate=0.05),
)  # fmt: skip


@pytest.fixture
def suite(monkeypatch):
    monkeypatch.setattr(vocabulary, "_registered", {})
    vocabulary.register("data set", "motions", "", module=__name__)
    vocabulary.register("builder", "small-conv1d", "small_conv1d", module=__name__)
    return tiny_suite(task=TASK, name="motions", backends=("eager", "onnxruntime"), models=("row-stationary",))


def test_from_source_to_board(suite, tmp_path, monkeypatch, heard):
    few = [Setting("eager", (), 1, 1), Setting("eager", ("channels_last",), 1, 8)]
    monkeypatch.setattr(free_module, "settings", lambda session: few)
    suite = msgspec.structs.replace(suite, techniques=("magnitude", "int8"), free=True)
    session = Session.open(suite, tmp_path, command="test")
    outcome = run(session, chains_of(suite.techniques), heard)
    assert outcome.failed == ()

    truths = session.store.truths()
    assert sorted(truth.split for truth in truths.values()) == ["test", "validation"]
    test = next(truth for truth in truths.values() if truth.split == "test")
    assert np.bincount(groups_of(test)).tolist() == [WINDOWS] * 3
    own = session.splits["test"]
    for trial in session.store.trials():
        for backend, score in trial.scores.items():
            assert score.metric == "weighted-f1"
            assert score.value == pytest.approx(f1_score(labels_of(test), predicted_of(score), average="weighted"))
            if trial.technique == "baseline":
                with torch.no_grad():
                    logits = session.net(trial.net).net.module()(torch.from_numpy(own.images))
                assert predicted_of(score).tolist() == logits.argmax(1).tolist(), backend
    baseline = next(one for one in session.store.attempts() if one.technique == "baseline")
    assert baseline.score.value > 0.6  # it did learn: a guess has a third
    assert baseline.models["row-stationary"].value > 0

    results = load_results(suite, tmp_path, session.machine.hardware_class)
    assert results.damaged == []
    assert results.metric_title == "weighted F1"
    views = [build_board(results, board, 40.0) for board in results.boards]
    assert any("of weighted F1" in sentence for sentence in headline(results, views))
    assert not any("accuracy" in sentence for sentence in headline(results, views))
    assert check_results(tmp_path).broken == ()


def test_agreement_needs_no_labels(suite, tmp_path, heard):
    task = msgspec.structs.replace(TASK, metric="agreement", name="same")
    suite = msgspec.structs.replace(suite, task=task, techniques=("magnitude",))
    session = Session.open(suite, tmp_path, command="test")
    assert run(session, chains_of(suite.techniques), heard).failed == ()
    truths = session.store.truths().values()
    baseline = next(one for one in session.store.attempts() if one.technique == "baseline")
    assert {(truth.split, truth.net) for truth in truths} == {("validation", baseline.net), ("test", baseline.net)}
    assert baseline.score.value == 1.0
    (control,) = [trial for trial in session.store.trials() if trial.technique == "baseline"]
    assert control.scores["eager"].value == 1.0
    other = next(one for one in session.store.attempts() if one.technique == "magnitude")
    classes = [predicted_of(one.score) for one in (baseline, other)]
    assert other.score.value == (classes[0] == classes[1]).mean()
    assert check_results(tmp_path).broken == ()


def test_an_unknown_metric_is_named_before_anything_runs(suite, tmp_path):
    task = msgspec.structs.replace(TASK, metric="weighted_f1")
    with pytest.raises(ValueError, match="unknown metric 'weighted_f1': did you mean 'weighted-f1'"):
        Session.open(msgspec.structs.replace(suite, task=task), tmp_path, command="test")
