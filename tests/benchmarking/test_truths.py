"""What the nets of a session are judged by: labels once a split, or the classes that a baseline predicted first."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from tiny import tiny_suite

from joulemark.benchmarking.chains import chains_of
from joulemark.benchmarking.run import run
from joulemark.benchmarking.session import StoredNet
from joulemark.benchmarking.truths import predicted_classes, truth_of
from joulemark.judging.truths import labels_of
from joulemark.nets.net import Net


def agreeing():
    suite = tiny_suite()
    return msgspec.structs.replace(suite, task=msgspec.structs.replace(suite.task, metric="agreement"))


def lenet(suite, seed: int) -> StoredNet:
    recipe = suite.task.recipe
    net = Net.new(recipe.builder, suite.task.input_shape, seed=seed, **recipe.options)
    return StoredNet(net, net.hash)


def test_labels_are_stored_once_whatever_the_net(open_session):
    session = open_session()
    truths = [
        truth_of(session, split, lenet(session.suite, seed)) for split in ("validation", "test") for seed in (0, 1)
    ]
    assert truths[0] == truths[1]
    assert truths[2] == truths[3]
    assert set(session.store.truths()) == {truths[0].key, truths[2].key}
    assert labels_of(truths[0]).tolist() == session.splits["validation"].labels.tolist()
    assert (truths[0].net, truths[0].groups, truths[0].classes) == (None, None, 10)


def test_predictions_of_each_baseline_are_made_once(open_session, monkeypatch):
    session = open_session(agreeing())
    nets = [lenet(session.suite, seed) for seed in (0, 1)]
    first = [truth_of(session, "validation", net) for net in nets]
    for truth, net in zip(first, nets, strict=True):
        with torch.no_grad():
            expected = net.net.module()(torch.from_numpy(session.splits["validation"].images)).argmax(1)
        assert truth.net == net.hash
        assert labels_of(truth).tolist() == expected.tolist()
    monkeypatch.setattr("joulemark.benchmarking.truths.predict", lambda *given: pytest.fail("it was predicted again"))
    assert [truth_of(open_session(agreeing()), "validation", net) for net in nets] == first


def test_logits_that_are_not_finite_are_no_truth():
    with pytest.raises(ValueError, match="logits of the baseline are not finite, so there is nothing to agree with"):
        predicted_classes(np.array([[1.0, np.nan]], np.float32))


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_a_truth_that_was_lost_is_written_again_by_the_next_run(open_session, heard, harm):
    session = open_session()
    assert run(session, chains_of(["int8"]), heard).made == 4
    paths = sorted((Path(session.store.folder) / "truths").glob("*.json"))
    assert len(paths) == 2
    before = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink() if harm == "gone" else path.write_bytes(path.read_bytes()[:50])
    again = run(open_session(), chains_of(["int8"]), heard)
    assert (again.made, again.kept, again.failed) == (0, 4, ())
    assert [path.read_bytes() for path in paths] == before
