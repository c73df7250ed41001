"""The table of metrics, and a metric of somebody else's: registered, and known nowhere else."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from joulemark import vocabulary
from joulemark.judging.losses import pooled_interval, pooled_loss
from joulemark.judging.metrics.metric import Metric, Pairs, metric
from joulemark.judging.truths import score_of_logits, truth_record
from joulemark.vocabulary import TABLES, register


def mean_recall(true, predicted):
    return float(np.mean([(predicted[true == c] == c).mean() for c in np.unique(true)]))


def recall_lost(pairs: Pairs, level: float):
    seeds = zip(pairs.true, pairs.baseline, pairs.candidate, strict=True)
    points = 100 * float(np.mean([mean_recall(t, b) - mean_recall(t, c) for t, b, c in seeds]))
    return points, points + 1.0


THEIRS = Metric(
    name="mean-recall", title="mean recall", keep=lambda logits: logits.argmax(1), value=mean_recall, loss=recall_lost
)


@pytest.mark.parametrize("name", TABLES["metric"])
def test_every_name_leads_to_a_metric_of_that_name(name):
    assert metric(name).name == name


@pytest.fixture
def installed(monkeypatch):
    module = types.ModuleType("their_metrics")
    module.theirs, module.other, module.number = THEIRS, metric("accuracy"), 3
    monkeypatch.setitem(sys.modules, "their_metrics", module)
    monkeypatch.setattr(vocabulary, "_registered", {})
    for name, value in (("mean-recall", "theirs"), ("other", "other"), ("number", "number")):
        register("metric", name, value, module="their_metrics")


@pytest.mark.usefixtures("installed")
def test_a_registered_metric_scores_and_bounds_like_ours():
    rng = np.random.default_rng(0)
    truth = truth_record("t", "k", "validation", np.arange(60) % 3, classes=3)
    logits = rng.normal(size=(2, 60, 3)).astype(np.float32)
    before, after = (score_of_logits(one, truth, "mean-recall") for one in logits)
    assert before.value == mean_recall(np.arange(60) % 3, logits[0].argmax(1))
    loss, bound = pooled_loss([before], [after], {truth.key: truth})
    assert loss == pytest.approx(100 * (before.value - after.value))
    assert bound == loss + 1.0
    assert pooled_interval([before], [after], {truth.key: truth}) == pytest.approx((loss - 1.0, loss + 1.0))


@pytest.mark.usefixtures("installed")
def test_what_is_registered_must_be_a_metric_of_that_name():
    with pytest.raises(ValueError, match="metric 'other' is registered as their_metrics:other, which is no Metric of"):
        metric("other")
    with pytest.raises(
        ValueError, match="metric 'number' is registered as their_metrics:number, which is no Metric of"
    ):
        metric("number")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="unknown metric 'weighted_f1': did you mean 'weighted-f1'"):
        metric("weighted_f1")
