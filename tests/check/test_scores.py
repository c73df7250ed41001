"""What scores are judged by: there, one for each split, and named by its content."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from made_up import GENTLE, TASK, TASK_KEY, TRUTH, attempt, old_score, trial

from joulemark.check.results import check_results
from joulemark.judging.packed import pack
from joulemark.judging.truths import truth_record


def problems(root) -> list[str]:
    return [f"{finding.path.split('/', 2)[2]} {finding.problem}" for finding in check_results(root).broken]


def judged_by(truth):
    """The gentle attempt of seed 0 judged by another truth, its value being that of it."""
    record = attempt("halve", GENTLE, 0)
    return msgspec.structs.replace(record, score=msgspec.structs.replace(record.score, truth=truth.key))


def test_scores_of_one_split_share_one_truth(folder):
    root, store = folder
    other = truth_record(TASK, TASK_KEY, "validation", np.arange(1004) % 10, classes=11)
    store.put(other)
    assert problems(root) == []
    store.put(judged_by(other))
    key, usual = judged_by(other).key, TRUTH["validation"].key
    assert (
        f"attempts/{key}.json a validation score is judged by truths/{other.key}.json, others by truths/{usual}.json"
        in problems(root)
    )


def test_a_truth_that_is_gone_is_missed_by_all_that_is_judged_by_it(folder):
    root, store = folder
    store.remove(f"truths/{TRUTH['test'].key}.json")
    found = problems(root)
    for seed in (0, 1):
        assert any(one.startswith(f"trials/{trial('halve', GENTLE, seed).key}.json scores.eager: is judged by truths/")
                   for one in found)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels": pack(np.full(1004, 3))}, "its content has key"),
        ({"labels": pack([1, 2])}, "cannot be judged: labels of shape [2] are not one for each of 1004 rows"),
        ({"labels": "u1[1004]:"}, "cannot be judged: a packed array is damaged"),
        ({"classes": 5}, "holds label 9, and there are 5 classes"),
    ],
)
def test_a_truth_that_was_exchanged_is_named(folder, changes, sentence):
    root, store = folder
    store.put(msgspec.structs.replace(TRUTH["validation"], **changes))  # sealed anew
    found = problems(root)
    path = f"truths/{TRUTH['validation'].key}.json"
    assert any(one.startswith(path) and sentence in one for one in found), found
    if "labels" in changes:
        assert any(one.startswith("attempts/") for one in found)  # values no longer follow


def test_migrated_scores_need_no_truth_and_stand_beside_new_ones(folder):
    root, store = folder
    for seed in (0, 1):
        record = attempt("halve", GENTLE, seed)
        store.put(msgspec.structs.replace(record, score=old_score("validation", 22)))
    assert problems(root) == []
