"""Accuracy: what it was before metrics had names, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.judging.metrics.accuracy import accuracy
from joulemark.judging.metrics.metric import Pairs
from joulemark.judging.statistics import loss_bound

SEEDS, ROWS = 3, 50


def test_it_is_the_share_of_rows_whose_largest_logit_is_the_true_class():
    logits = np.array([[0.1, 0.9, 0.0], [0.7, 0.7, 0.0], [0.0, 0.1, 0.2], [1.0, 0.0, 0.0]], np.float32)
    predicted = accuracy.keep(logits)
    assert predicted.tolist() == [1, 0, 2, 0]  # of equal logits the lower class
    assert accuracy.value(np.array([1, 1, 2, 2]), predicted) == 0.5


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.95, 0.9833]))
def test_its_bound_is_that_of_right_and_wrong_rows(seed, level):
    rng = np.random.default_rng(seed)
    true, before, after = rng.integers(0, 3, (3, SEEDS, ROWS))
    assert accuracy.loss(Pairs(true, before, after), level) == loss_bound(true == before, true == after, level=level)


def test_rows_of_one_subject_are_not_independent():
    true = np.zeros((1, 400), int)
    after = true.copy()
    after[0, :20] = 1  # one of twenty subjects lost
    groups = np.arange(400) // 20
    loss, bound = accuracy.loss(Pairs(true, true, after), 0.95)
    of_groups = accuracy.loss(Pairs(true, true, after, groups), 0.95)
    assert loss == of_groups[0] == 5.0
    assert of_groups[1] > bound + 4
    spread = accuracy.loss(Pairs(true, true, after, np.arange(400) % 20), 0.95)[1]  # one row of each subject lost
    assert 5.0 < spread < bound


@pytest.mark.parametrize("shape", [(50, 50), (49,), (50, 1)])
def test_other_than_one_class_a_row_is_refused(shape):
    with pytest.raises(ValueError, match=r"are not one class for each of \[50\]"):
        accuracy.value(np.zeros(50, int), np.zeros(shape, int))


def test_groups_of_one_row_are_rows():
    rng = np.random.default_rng(2)
    true, before, after = rng.integers(0, 2, (3, 2, 1500))
    rows, groups = (accuracy.loss(Pairs(true, before, after, g), 0.95) for g in (None, np.arange(1500)))
    assert groups[1] - groups[0] == pytest.approx(rows[1] - rows[0], rel=0.1)
