"""What is true of a split: its key follows from its content, and scores follow from both."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from joulemark.judging.packed import pack
from joulemark.judging.truths import groups_of, labels_of, predicted_of, score_of_logits, truth_key, truth_record
from joulemark.record import Score, Truth

LABELS, GROUPS = np.array([0, 300, 2, 2]), np.array([17, 5, 17, 9])
TRUTH = truth_record("t", "k", "validation", LABELS, classes=301, groups=GROUPS)


def test_labels_and_groups_come_back():
    assert labels_of(TRUTH).tolist() == LABELS.tolist()
    assert groups_of(TRUTH).tolist() == [2, 0, 2, 1]  # which rows share one, not what it is called
    assert groups_of(truth_record("t", "k", "test", LABELS, classes=301)) is None


def test_it_survives_the_store():
    assert msgspec.json.decode(msgspec.json.encode(TRUTH), type=Truth) == TRUTH
    assert truth_key(TRUTH) == TRUTH.key


@pytest.mark.parametrize(
    "changes",
    [
        {"task_key": "l"},
        {"split": "test"},
        {"classes": 302},
        {"labels": pack([0, 300, 2, 1])},
        {"groups": pack([2, 0, 1, 1])},
        {"groups": None},
        {"net": "0" * 16},
    ],
)
def test_the_key_changes_with(changes):
    assert truth_key(msgspec.structs.replace(TRUTH, **changes)) != TRUTH.key


def test_the_key_does_not_change_with_how_it_is_compressed():
    import base64
    import zlib

    head, _, text = TRUTH.labels.partition(":")
    other = base64.b64encode(zlib.compress(zlib.decompress(base64.b64decode(text)), 0)).decode()
    again = msgspec.structs.replace(TRUTH, labels=f"{head}:{other}")
    assert again.labels != TRUTH.labels
    assert truth_key(again) == TRUTH.key


def test_a_score_keeps_what_was_predicted():
    logits = np.eye(301, dtype=np.float32)[[0, 300, 1, 2]]
    score = score_of_logits(logits, TRUTH, "accuracy")
    assert (score.split, score.rows, score.value, score.truth) == ("validation", 4, 0.75, TRUTH.key)
    assert predicted_of(score).tolist() == [0, 300, 1, 2]


def test_other_rows_are_refused():
    with pytest.raises(ValueError, match=r"labels of shape \[4\] are not one for each of 3 rows"):
        labels_of(msgspec.structs.replace(TRUTH, rows=3))
    with pytest.raises(ValueError, match=r"groups of shape \[4, 1\] are not one for each of 4 rows"):
        groups_of(msgspec.structs.replace(TRUTH, groups=pack(GROUPS[:, None])))
    bits = Score(split="test", metric="accuracy", rows=8, value=1.0, predicted=None, truth=None, correct="ff")
    with pytest.raises(ValueError, match="keeps which rows are right, and not what was predicted"):
        predicted_of(bits)
