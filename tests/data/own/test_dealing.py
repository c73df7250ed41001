"""Dealing rows to splits: nothing is in two of them, the order of rows decides nothing, and what is shared is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.data.own.dealing import dealt, missing_classes, shared_rows
from joulemark.data.own.reading import read


def rows(name, numbers, labels=None, groups=None):
    """A split of rows that hold one number each."""
    inputs = np.asarray(numbers, np.float32)[:, None]
    return read(f"{name}()", (inputs, labels, groups), random_allowed=False)


def numbers(splits, name):
    given, places = splits[name]
    return given.inputs[places, 0].astype(int).tolist()


VALIDATION, TEST = rows("validation", range(1000, 1010)), rows("test", range(2000, 2010))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=10, max_size=60).filter(lambda held: len(set(held)) > 1), st.randoms())
def test_policy_is_dealt_from_train_and_alike_rows_stay_together(held, random):
    splits = dealt({"train": rows("train", held), "validation": VALIDATION, "test": TEST})
    train, policy = numbers(splits, "train"), numbers(splits, "policy")
    assert sorted(train + policy) == sorted(held)
    assert policy
    assert train
    assert not set(train) & set(policy)
    random.shuffle(held)
    again = dealt({"train": rows("train", held), "validation": VALIDATION, "test": TEST})
    assert {name: numbers(again, name) for name in again} == {name: numbers(splits, name) for name in splits}


def test_policy_is_a_tenth_of_train():
    splits = dealt({"train": rows("train", range(200)), "validation": VALIDATION, "test": TEST})
    assert len(splits["policy"].places) == 20


def test_without_train_half_of_validation_is_policy_and_calibrates():
    splits = dealt({"validation": rows("validation", range(100)), "test": TEST})
    assert len(splits["policy"].places) == len(splits["validation"].places) == 50
    assert not set(numbers(splits, "policy")) & set(numbers(splits, "validation"))
    assert numbers(splits, "train") == numbers(splits, "policy")


def test_policy_rows_that_are_given_are_kept():
    given = {name: rows(name, range(start, start + 5)) for start, name in enumerate(("train", "policy", "test"))}
    splits = dealt({**given, "validation": VALIDATION})
    assert sorted(numbers(splits, "policy")) == [1, 2, 3, 4, 5]
    assert sorted(numbers(splits, "train")) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("train", "said"), [(range(9), "gives 9 rows, too few to take policy rows from"), ([7] * 50, "one row 50 times")]
)
def test_too_few_rows_to_deal_get_one_sentence(train, said):
    with pytest.raises(ValueError, match=said):
        dealt({"train": rows("train", train), "validation": VALIDATION, "test": TEST})


def shared(train, validation, test):
    given = {"train": train, "validation": validation, "test": test}
    return shared_rows({name: rows(name, held) for name, held in given.items()})


def test_shared_rows_are_said_with_their_share():
    assert shared(range(100), range(100, 200), range(200, 300)) == []
    assert shared(range(100), range(100, 200), range(99, 299)) == [
        "50 % of the rows of test() are in validation() as well", "0.5 % of the rows of test() are in train() as well",
    ]  # fmt: skip
    assert shared(range(100), range(100), range(200, 300)) == [
        "100 % of the rows of validation() are in train() as well"
    ]


def test_policy_rows_of_ones_own_are_held_against_all_others():
    given = {"validation": rows("validation", range(50)), "policy": rows("policy", range(50))}
    assert shared_rows(given) == ["100 % of the rows of validation() are in policy() as well"]


def test_without_train_whole_groups_are_taken_for_policy():
    given = rows("validation", range(60), groups=[f"p{number // 10}" for number in range(60)])
    parts = dealt({"validation": given, "test": TEST})
    groups = [set(given.groups[parts[name].places].tolist()) for name in ("policy", "validation")]
    assert [len(one) for one in groups] == [3, 3]
    assert not groups[0] & groups[1]
    assert sorted([*parts["policy"].places, *parts["validation"].places]) == list(range(60))


def test_more_than_half_of_test_is_refused():
    with pytest.raises(ValueError, match=r"51 % of the rows of test\(\) are in train\(\) as well"):
        shared(range(100), range(300, 400), range(49, 149))


def test_a_group_in_two_splits_is_said():
    given = {
        "train": rows("train", range(4), None, ["a", "a", "b", "b"]),
        "validation": rows("validation", range(10, 12), None, ["b", "c"]),
        "test": rows("test", range(20, 22), None, ["d", "d"]),
    }
    assert shared_rows(given) == ["group b is in train() and in validation(): rows of one group are not independent"]


def test_missing_classes_are_said_and_labels_that_are_none_refused():
    given = {"validation": rows("validation", range(4), [0, 1, 1, 3]), "test": rows("test", range(2))}
    assert missing_classes(given, 4) == [
        "validation() has no row of class 2: nothing is known there of what is lost on it"
    ]
    assert "classes 2, 4, 5, 6, 7, ...:" in missing_classes(given, 20)[0]
    with pytest.raises(ValueError, match=r"validation\(\) gives the label 3, and net\(\) has 3 outputs"):
        missing_classes(given, 3)


def test_a_split_that_alone_lacks_groups_is_told():
    grouped, plain = rows("train", range(4), groups="aabb"), rows("test", range(10, 14))
    validation = rows("validation", range(20, 24), groups="ccdd")
    assert shared_rows({"train": grouped, "validation": validation, "test": plain}) == [
        "test() gives no groups and train() does: its rows count as independent of each other"
    ]
    assert shared_rows({"train": rows("train", range(4)), "validation": validation, "test": plain}) == [
        "train() gives no groups and validation() does: whether one of them is in both is not known",
        "test() gives no groups and validation() does: its rows count as independent of each other",
    ]
