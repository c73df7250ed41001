"""Top-5 accuracy against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

from joulemark.judging.metrics.metric import Pairs
from joulemark.judging.metrics.top_5 import top_5
from joulemark.judging.statistics import loss_bound


@given(st.integers(0, 2**32 - 1), st.integers(6, 20))
def test_it_is_that_of_scikit_learn(seed, classes):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(40, classes)).astype(np.float32)
    true = rng.integers(0, classes, 40)
    predicted = top_5.keep(logits)
    assert predicted.shape == (40, 5)
    assert top_5.value(true, predicted) == top_k_accuracy_score(true, logits, k=5, labels=range(classes))


def test_the_largest_comes_first():
    assert top_5.keep(np.array([[3, 9, 1, 4, 8, 7, 7]], np.float32)).tolist() == [[1, 4, 5, 6, 3]]


def test_its_bound_pairs_rows_whose_class_is_among_the_five():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 8, (2, 30))
    kept = rng.permuted(np.broadcast_to(np.arange(8), (2, 2, 30, 8)), axis=-1)[..., :5]
    right = [
        np.array([[t in k for t, k in zip(*seed, strict=True)] for seed in zip(true, side, strict=True)])
        for side in kept
    ]
    assert top_5.loss(Pairs(true, *kept), 0.95) == loss_bound(*right)


@pytest.mark.parametrize("shape", [(50,), (50, 4), (49, 5)])
def test_other_than_five_classes_a_row_are_refused(shape):
    with pytest.raises(ValueError, match=r"are not 5 classes for each of \[50\]"):
        top_5.value(np.zeros(50, int), np.zeros(shape, int))


@pytest.mark.parametrize("classes", [2, 5])
def test_of_few_classes_it_says_nothing(classes):
    with pytest.raises(ValueError, match=f"top-5 of {classes} classes is always right: choose another metric"):
        top_5.keep(np.zeros((3, classes), np.float32))
