"""An attempt is judged on validation images alone: its score, its seconds beside the baseline's, and its key."""

from __future__ import annotations

import math
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import torch
from tiny import tiny_suite

from joulemark.benchmarking import attempt as attempt_module
from joulemark.benchmarking.attempt import attempt_inputs, run_attempt, score_of
from joulemark.benchmarking.errors import AttemptError
from joulemark.benchmarking.session import StoredNet
from joulemark.data.splits import Split
from joulemark.judging.truths import predicted_of, truth_record
from joulemark.meters.meters import Meters
from joulemark.nets.net import Net
from joulemark.record import Made, Making, Quantity
from joulemark.techniques.pruning.magnitude import prune

NET = Net.new("lenet", (1, 28, 28), seed=0, width=0.1)


def made_of(session, net: Net, technique: str = "mine") -> Made:
    """The record of a net that cost nothing, stored."""
    joules = Quantity(value=None, unit="J", kind="measured", method="m", scope="s", source="", reason="no counter")
    return Made(
        key="made", task=session.suite.task.name, task_key=session.suite.task.key, technique=technique,
        knobs=({"strength": 2.0},), seed=3, start=None, net=session.save_net(net),
        making=Making(seconds=1.0, cpu_seconds=1.0, image_passes=7, joules=joules), notes={"rounds": 2}, code={},
        provenance=session.provenance(),
    )  # fmt: skip


def stored(net: Net) -> StoredNet:
    return StoredNet(net, net.hash)


def test_a_score_is_what_the_module_gets_right_of_the_validation_images(open_session):
    session = open_session()
    attempt = run_attempt(session, made_of(session, NET), None)
    split = session.splits["validation"]
    with torch.no_grad():
        right = NET.module()(torch.from_numpy(split.images)).argmax(1).numpy() == split.labels
    assert attempt.score.value == right.mean()
    assert (attempt.score.split, attempt.score.rows) == ("validation", 200)
    assert attempt.score.truth in session.store.truths()


class Hidden(dict):
    """Splits of which nobody may look at the test rows."""

    def __getitem__(self, name):
        assert name != "test", "an attempt looked at the test rows"
        return super().__getitem__(name)


@pytest.mark.parametrize("net", [NET, prune(NET, 0.5)])
def test_what_is_kept_as_predicted_is_of_the_validation_rows_and_of_no_others(open_session, net):
    session = open_session()
    splits = session.splits
    rows = len(splits["validation"].labels)
    test = splits["test"]
    twice = np.resize(np.arange(len(test.labels)), rows)  # as many, so that nothing but the rows themselves tells
    session.splits = Hidden({**splits, "test": Split(test.images[twice], test.labels[twice])})
    attempt = run_attempt(session, made_of(session, net), stored(NET), 1e-4)
    with torch.no_grad():
        expected = net.module()(torch.from_numpy(splits["validation"].images)).argmax(1)
    assert predicted_of(attempt.score).tolist() == expected.tolist()
    assert session.store.truths()[attempt.score.truth].split == "validation"


def test_it_says_again_what_was_made_and_where_it_ran(open_session):
    session = open_session()
    made = made_of(session, NET)
    attempt = run_attempt(session, made, None)
    for field in ("task", "task_key", "technique", "knobs", "seed", "net", "making", "notes"):
        assert getattr(attempt, field) == getattr(made, field)
    assert (attempt.made, attempt.backend, attempt.execution, attempt.reason) == ("made", "eager", "real", None)
    assert list(attempt.models) == list(session.suite.models)
    assert attempt.proxies["parameters"] == NET.parameters()
    assert "joulemark.benchmarking.attempt" in attempt.code
    assert session.store.attempts() == []  # keeping it is the run's


def test_what_a_backend_has_no_kernel_for_is_simulated_and_why_is_said(open_session):
    session = open_session()
    attempt = run_attempt(session, made_of(session, prune(NET, 0.5)), stored(NET))
    assert attempt.execution == "simulated"
    assert "unstructured zeros" in attempt.reason


def test_a_net_that_is_gone_is_said_with_what_to_remove(open_session):
    session = open_session()
    made = msgspec.structs.replace(made_of(session, NET), net="0123456789abcdef")
    with pytest.raises(AttemptError, match=r"0123456789abcdef is missing or damaged: remove made/made\.json to make"):
        run_attempt(session, made, None)


def test_a_net_that_does_not_run_is_one_sentence_with_its_backend(open_session):
    session = open_session()
    made = made_of(session, Net.new("vgg", (3, 32, 32), seed=0, width=0.05))
    with pytest.raises(AttemptError, match=r"^its net does not run on eager: ") as caught:
        run_attempt(session, made, None)
    assert "\n" not in str(caught.value)


LABELS = np.array([0, 1, 2, 1], np.int64)
TRUTH = truth_record("task", "0" * 16, "validation", LABELS, classes=3)


class Answers:
    """A compiled net with these classes as its answers, whatever it is shown."""

    def __init__(self, *classes: int) -> None:
        self.logits = np.eye(3, dtype=np.float32)[list(classes)]

    def run(self, images):
        return self.logits


@pytest.mark.parametrize(("classes", "value"), [((0, 1, 2, 1), 1.0), ((0, 1, 2, 0), 0.75), ((1, 0, 0, 0), 0.0)])
def test_a_score_by_hand(classes, value):
    score = score_of(Answers(*classes), Split(np.zeros((4, 1), np.float32), LABELS), TRUTH, "accuracy")
    assert (score.value, score.rows, score.metric, score.truth) == (value, 4, "accuracy", TRUTH.key)


def test_a_net_that_answers_for_other_rows_has_no_score():
    for classes in ((0, 1, 2), (0, 1, 2, 1, 0)):
        with pytest.raises(ValueError, match="not one row an input"):
            score_of(Answers(*classes), Split(np.zeros((4, 1), np.float32), LABELS), TRUTH, "accuracy")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_have_no_score(bad):
    net = Answers(0, 1, 2, 1)
    net.logits[2, 0] = bad
    with pytest.raises(ValueError, match=r"^its logits are not finite"):
        score_of(net, Split(np.zeros((4, 1), np.float32), LABELS), TRUTH, "accuracy")


@pytest.fixture
def timed(monkeypatch):
    """Measures by these seconds of a baseline, a net and the baseline again, and remembers what it was asked for."""
    asked = []

    def fill(pairs, images, measuring, meters):
        asked.append((pairs, images, measuring))
        unknown = Quantity(value=None, unit="J", kind="measured", method="m", scope="s", source="", reason="no counter")
        for pair in pairs:
            pair.seconds += [(4.0, 3.0, 1.0)] * measuring.blocks
            pair.joules += [(unknown, unknown, unknown)] * measuring.blocks

    monkeypatch.setattr(attempt_module, "measure_pairs", fill)
    return asked


def test_seconds_are_the_baselines_times_the_ratio_of_windows_side_by_side(open_session, timed):
    session = open_session()
    made = made_of(session, NET)
    assert run_attempt(session, made, stored(NET), baseline_seconds=10.0).seconds.value == pytest.approx(
        10.0 * 3.0 / math.sqrt(4.0 * 1.0)
    )
    assert run_attempt(session, made, stored(NET)).seconds.value == pytest.approx(3.0)
    assert run_attempt(session, made, None).seconds.value == pytest.approx(3.0)


def test_screening_is_of_the_first_batch_size_and_images_in_short_windows(open_session, timed):
    suite = tiny_suite(batch_sizes=(4, 1), backends=("eager", "onnxruntime"))
    session = open_session(suite)
    run_attempt(session, made_of(session, Net.new("lenet", (1, 28, 28), seed=1, width=0.1)), stored(NET))
    (((pair,), images, measuring),) = timed
    assert pair.batch_size == 4
    assert len(images) == suite.measuring.images < 200
    assert measuring.window_seconds == suite.measuring.screening_seconds < suite.measuring.window_seconds
    assert pair.baseline is session.compiled(stored(NET), session.backends[0]) is not pair.candidate


def test_the_baseline_is_screened_beside_itself(open_session, timed):
    session = open_session()
    run_attempt(session, made_of(session, NET), None)
    (((pair,), _, _),) = timed
    assert pair.baseline is pair.candidate


def test_windows_for_joules_are_as_long_as_the_slowest_sensor_needs(open_session, timed):
    session = open_session()
    sources = [SimpleNamespace(name=name, scope="s", update_seconds=pace) for name, pace in (("a", 0.001), ("b", 0.5))]
    session.__dict__["meters"] = Meters(sources, [])
    run_attempt(session, made_of(session, NET), None)
    assert timed[0][2].joules_window_seconds == attempt_module.SHORTEST_UPDATES * 0.5
    assert timed[0][2].window_seconds == session.suite.measuring.screening_seconds


def test_the_key_follows_all_that_decides_how_a_net_is_judged(open_session):
    def key(made: str = "made", **changes) -> str:
        return attempt_inputs(open_session(tiny_suite(**changes)), made)

    measuring = tiny_suite().measuring
    others = [
        key("other"),
        key(backends=("eager", "onnxruntime")),
        key(threads=2),
        key(models=("systolic",)),
        key(batch_sizes=(2,)),
        key(measuring=msgspec.structs.replace(measuring, screening_seconds=0.006)),
        key(measuring=msgspec.structs.replace(measuring, images=21)),
    ]
    assert len({key(), *others}) == 1 + len(others)
    assert key(seeds=(0, 1), limits_points=(1.0,), batch_sizes=(1, 64), techniques=()) == key()
    assert key(measuring=msgspec.structs.replace(measuring, blocks=9, window_seconds=0.02)) == key()
