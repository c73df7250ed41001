"""Losses from scores, made now and migrated, on rows made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from joulemark.judging.losses import pooled_interval, pooled_loss, right_rows, scored_by
from joulemark.judging.packed import pack, pack_bits
from joulemark.judging.statistics import loss_bound, loss_interval
from joulemark.judging.truths import truth_record
from joulemark.record import Score

ROWS = 1000
TRUTH = truth_record("t", "k", "validation", np.arange(ROWS) % 10, classes=10)
TRUTHS = {TRUTH.key: TRUTH}


def right(wrong: int, start: int = 0, rows: int = ROWS) -> np.ndarray:
    found = np.ones(rows, dtype=bool)
    found[start : start + wrong] = False
    return found


def score(wrong: int, *, start: int = 0, rows: int = ROWS, metric: str = "accuracy", truth: str = TRUTH.key) -> Score:
    found = right(wrong, start, rows)
    predicted = pack((np.arange(rows) + ~found) % 10)
    return Score(
        split="validation", metric=metric, rows=rows, value=float(found.mean()), predicted=predicted, truth=truth
    )


def migrated(wrong: int, *, start: int = 0, rows: int = ROWS) -> Score:
    found = right(wrong, start, rows)
    return Score(
        split="validation", metric="accuracy", rows=rows, value=float(found.mean()), predicted=None, truth=None,
        correct=pack_bits(found),
    )  # fmt: skip


def test_losses_cancel_row_by_row():
    # As accurate as the baseline, but wrong on other rows: no loss is seen, yet the bound is wide.
    loss, bound = pooled_loss([score(100)], [score(100, start=500)], TRUTHS)
    assert loss == 0.0
    assert 1.0 < bound < 3.5
    assert pooled_loss([score(100)], [score(100, start=500)], TRUTHS, level=0.99)[1] > bound


@pytest.mark.parametrize(
    ("first", "second"), [(score, score), (migrated, migrated), (migrated, score), (score, migrated)]
)
def test_migrated_scores_and_new_ones_give_the_same_loss(first, second):
    before, after = [first(20), first(30)], [second(30, start=10), second(40, start=200)]
    bits = [np.stack([right(20), right(30)]), np.stack([right(30, 10), right(40, 200)])]
    assert pooled_loss(before, after, TRUTHS) == loss_bound(*bits)
    assert pooled_interval(before, after, TRUTHS) == loss_interval(*bits)


def test_right_rows_of_either_kind():
    for made in (score, migrated):
        assert right_rows(made(7, start=3), TRUTHS).tolist() == right(7, 3).tolist()
    with pytest.raises(ValueError, match="weighted F1 is no share of right rows"):
        right_rows(score(1, metric="weighted-f1"), TRUTHS)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ([score(1)], [None], "a score is missing"),
        ([], [], "a score is missing"),
        ([score(1)], [score(1, rows=500)], "of different rows: only nets that"),
        ([migrated(1)], [migrated(1, rows=500)], "of different rows: only nets"),
        ([score(1), score(1)], [score(1), score(1, rows=500)], "of different rows: seeds can"),
        ([score(1)], [score(1, metric="weighted-f1")], "of different metrics, accuracy and weighted-f1"),
        ([score(1)], [score(1, truth="0" * 16)], "judged by different truths: only nets that saw the same rows"),
        ([score(1, truth="0" * 16)], [score(1, truth="0" * 16)], "truths/0000000000000000.json, by which a score was"),
        ([score(1, rows=9)], [score(1, rows=9)], "a score of 9 rows is judged by a truth of 1000"),
        ([score(1, metric="f2")], [score(1, metric="f2")], "unknown metric 'f2'"),
    ],
)
def test_what_cannot_be_compared_is_refused(before, after, sentence):
    with pytest.raises(ValueError, match=sentence):
        pooled_loss(before, after, TRUTHS)


def test_bits_alone_have_no_weighted_f1():
    before = Score(
        split="validation", metric="weighted-f1", rows=8, value=1.0, predicted=None, truth=None, correct="ff"
    )
    with pytest.raises(ValueError, match="weighted F1 is no share of right rows"):
        pooled_loss([before], [before], {})


def test_scores_have_one_metric():
    assert scored_by([score(1), migrated(2)]).name == "accuracy"
