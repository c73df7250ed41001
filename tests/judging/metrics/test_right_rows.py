"""Shares of right rows: value and bound against counts by hand, groups kept together."""

from __future__ import annotations

import numpy as np
import pytest

from joulemark.judging.metrics.metric import Pairs
from joulemark.judging.metrics.right_rows import largest, same_class, share_of_right_rows
from joulemark.judging.statistics import loss_bound

SHARE = share_of_right_rows(name="share", title="share", keep=largest, right=same_class)


def test_by_hand():
    logits = np.array([[1.0, 2.0], [3.0, 0.0], [0.5, 0.4]], np.float32)
    assert SHARE.keep(logits).tolist() == [1, 0, 0]
    assert SHARE.value(np.array([1, 1, 0]), SHARE.keep(logits)) == pytest.approx(2 / 3)


def pairs(groups: np.ndarray | None) -> Pairs:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, (2, 120))
    before = np.where(rng.random(true.shape) < 0.1, (true + 1) % 3, true)
    lost = np.repeat(rng.random((1, 12)) < 0.25, 10, axis=1)  # whole groups of ten are lost, by both seeds
    return Pairs(true=true, baseline=before, candidate=np.where(lost, (true + 1) % 3, before), groups=groups)


def test_without_groups_it_is_the_bound_over_rows():
    given = pairs(None)
    expected = loss_bound(given.true == given.baseline, given.true == given.candidate, level=0.95)
    assert SHARE.loss(given, 0.95) == expected


def test_rows_of_one_group_are_one_piece_of_evidence():
    groups = np.repeat(np.arange(12), 10)
    points, bound = SHARE.loss(pairs(groups), 0.95)
    alone = SHARE.loss(pairs(None), 0.95)
    assert points == alone[0]
    assert bound > alone[1]  # what happens to whole groups is less certain than what happens to rows
    assert points < bound <= 100.0
