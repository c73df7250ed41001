"""Weighted F1 against scikit-learn's, its loss by hand, and what its bound must not do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from joulemark.judging.metrics.metric import Pairs
from joulemark.judging.metrics.weighted_f1 import _dearest, weighted_f1

COLUMNS = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(COLUMNS, st.integers(1, 6), st.integers(1, 40))
def test_it_is_that_of_scikit_learn(rng, classes, rows):
    true, predicted = rng.integers(0, classes, (2, rows))
    expected = f1_score(true, predicted, average="weighted", zero_division=0)
    assert weighted_f1.value(true, predicted) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(COLUMNS, st.sampled_from([None, np.arange(60) % 7]))
def test_its_loss_is_the_mean_over_seeds_and_the_bound_is_above_it(rng, groups):
    true = np.repeat(rng.integers(0, 4, (1, 60)), 2, axis=0)
    before, after = rng.integers(0, 4, (2, 2, 60))
    loss, bound = weighted_f1.loss(Pairs(true, before, after, groups), 0.95)
    by_seed = [
        f1_score(t, b, average="weighted", zero_division=0) - f1_score(t, a, average="weighted", zero_division=0)
        for t, b, a in zip(true, before, after, strict=True)
    ]
    assert loss == pytest.approx(100 * np.mean(by_seed), abs=1e-9)
    assert bound >= loss
    assert weighted_f1.loss(Pairs(true, before, after, groups), 0.99)[1] >= bound


def test_the_row_more_is_the_dearest_of_all():
    rng = np.random.default_rng(3)
    true, before, after = rng.integers(0, 4, (3, 2, 50))
    own, other = _dearest(np.ones((1, 50)), true, before, after, 4)

    def loss(c, d):
        wide = [np.pad(part, ((0, 0), (0, 1)), constant_values=x) for part, x in ((true, c), (before, c), (after, d))]
        seeds = zip(*wide, strict=True)
        return np.mean([f1_score(t, b, average="weighted") - f1_score(t, a, average="weighted") for t, b, a in seeds])

    every = {(c, d): loss(c, d) for c in range(4) for d in range(4) if c != d}
    assert loss(own, other) == pytest.approx(max(every.values()))


def test_equal_nets_are_not_certainly_equal_and_more_rows_tell_more():
    true = np.arange(1000)[None] % 5
    loss, bound = weighted_f1.loss(Pairs(true, true, true), 0.95)
    assert loss == 0.0
    assert 0.25 < bound < 0.4  # about the rule of three, 3 / 1000
    assert weighted_f1.loss(Pairs(*[np.tile(true, 10)] * 3), 0.95)[1] < bound / 5


def test_copies_of_a_seed_say_nothing_new():
    rng = np.random.default_rng(0)
    true, before, after = rng.integers(0, 3, (3, 1, 200))
    one = weighted_f1.loss(Pairs(true, before, after), 0.95)
    assert weighted_f1.loss(Pairs(*(np.repeat(x, 4, axis=0) for x in (true, before, after))), 0.95) == pytest.approx(
        one
    )


def test_as_many_classes_as_a_file_may_claim_take_no_memory():
    true = np.arange(300)[None] * 10_000_000
    loss, bound = weighted_f1.loss(Pairs(true, true, np.roll(true, 1)), 0.95)
    assert loss == 100.0 <= bound


@pytest.mark.parametrize("shape", [(50, 50), (49,), (50, 1)])
def test_other_than_one_class_a_row_is_refused(shape):
    true = np.zeros(50, int)
    with pytest.raises(ValueError, match=r"are not one class for each of \[50\]"):
        weighted_f1.value(true, np.zeros(shape, int))
    with pytest.raises(ValueError, match=r"are not one class for each of \[1, 50\]"):
        weighted_f1.loss(Pairs(true[None], true[None], np.zeros((1, *shape), int)), 0.95)


def test_one_class_alone_is_bounded_too():
    true = np.zeros((1, 50), int)
    loss, bound = weighted_f1.loss(Pairs(true, true, true), 0.95)
    assert loss == 0.0 < bound < 10
