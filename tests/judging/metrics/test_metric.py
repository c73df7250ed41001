"""A metric may be anybody's: what it says is looked at before it is stored or ranked."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from joulemark import vocabulary
from joulemark.judging.metrics.metric import Metric, Pairs, metric

TRUE = np.array([0, 1, 2, 1])
PAIRS = Pairs(true=TRUE[None], baseline=TRUE[None], candidate=TRUE[None])
PLAIN = Metric(
    name="mine", title="mine", keep=lambda logits: logits.argmax(1), value=lambda true, predicted: np.float32(0.5),
    loss=lambda pairs, level: (np.float64(1.0), 2),
)  # fmt: skip


@pytest.fixture
def registered(monkeypatch):
    """Puts a metric into the vocabulary as a module of this process would."""

    def make(**changes) -> Metric:
        made = dataclasses.replace(PLAIN, **changes)
        monkeypatch.setitem(vocabulary.TABLES["metric"], "mine", f"{__name__}:unused")
        monkeypatch.setattr("joulemark.judging.metrics.metric.look_up", lambda kind, name: made)
        return metric("mine")

    return make


def test_numbers_of_any_kind_come_as_plain_ones(registered):
    by = registered()
    value, loss = by.value(TRUE, TRUE), by.loss(PAIRS, 0.95)
    assert (value, loss) == (0.5, (1.0, 2.0))
    assert type(value) is float and all(type(one) is float for one in loss)
    assert by.keep(np.eye(3, dtype=np.float32)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("said", [float("nan"), float("inf"), 2.0, -0.1, None, "0.5", [0.5]])
def test_a_value_is_from_0_to_1(registered, said):
    with pytest.raises(ValueError, match=r"^metric 'mine' says .*: a value is from 0 to 1$"):
        registered(value=lambda true, predicted: said).value(TRUE, TRUE)


@pytest.mark.parametrize(
    "said", [(1.0, float("nan")), (float("inf"), 1.0), None, 1.0, (1.0,), (1.0, 2.0, 3.0), ("a", 1.0)]
)
def test_a_loss_is_two_finite_numbers(registered, said):
    with pytest.raises(ValueError, match=r"^metric 'mine' says .*: a loss and its bound are two finite numbers$"):
        registered(loss=lambda pairs, level: said).loss(PAIRS, 0.95)


@pytest.mark.parametrize("kept", [np.ones((2, 3)), np.zeros(5, int), np.array(3), "abc"])
def test_what_is_kept_is_a_class_of_each_row(registered, kept):
    with pytest.raises(ValueError, match=r"^metric 'mine' keeps .*: not classes of each row$"):
        registered(keep=lambda logits: kept).keep(np.zeros((3, 4), np.float32))


@pytest.mark.parametrize("what", ["value", "loss", "keep"])
def test_what_a_metric_raises_names_it(registered, what):
    def broken(*given):
        raise KeyError("no such row")

    given = {"value": (TRUE, TRUE), "loss": (PAIRS, 0.95), "keep": (np.zeros((1, 2), np.float32),)}[what]
    with pytest.raises(ValueError, match=f"^metric 'mine' raised KeyError in '{what}'"):
        getattr(registered(**{what: broken}), what)(*given)


def test_a_sentence_of_its_own_is_kept(registered):
    def refuses(true, predicted):
        raise ValueError("too few classes")

    with pytest.raises(ValueError, match=r"^too few classes$"):
        registered(value=refuses).value(TRUE, TRUE)
