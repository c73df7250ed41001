"""Splits by group and as given: whole subjects, exact sizes, the same whatever the order of the file."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.data.dealing import shares
from joulemark.data.source import NAMES, Source
from joulemark.data.splits import UNPINNED, split
from joulemark.task import Recipe, Splits, Task

SUBJECTS = 12
ROWS = 10 * SUBJECTS
RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(ROWS, 3, 5))
LABELS = np.arange(ROWS) % 4
GROUPS = RNG.permutation(np.arange(ROWS) % SUBJECTS) + 40
SOURCE = Source((INPUTS, LABELS), groups=GROUPS)
SIZES = {"train": 5, "policy": 1, "validation": 2, "test": 3}


def task(**changes) -> Task:
    usual = {
        "name": "t", "title": "T", "data": "made", "data_sha256": UNPINNED, "splits": Splits(**SIZES),
        "split_by": "group", "input_shape": (3, 5), "classes": 4,
        "recipe": Recipe(builder="lenet", epochs=1, batch_size=8, learning_rate=0.1),
    }  # fmt: skip
    return Task(**{**usual, **changes})


def rows_of(part) -> set[bytes]:
    return {row.tobytes() for row in part.images}


def test_no_subject_is_in_two_splits_and_each_is_whole():
    found = split(task(), SOURCE)
    seen: set[int] = set()
    for name, size in SIZES.items():
        groups = found[name].groups
        mine = set(groups.tolist())
        assert len(mine) == size
        assert not mine & seen
        seen |= mine
        assert sorted(groups.tolist()) == sorted(GROUPS[np.isin(GROUPS, list(mine))].tolist())


def test_groups_and_labels_stay_with_their_rows():
    of = {row.astype(np.float32).tobytes(): pair for row, *pair in zip(INPUTS, LABELS, GROUPS, strict=True)}
    for part in split(task(), SOURCE).values():
        for row, label, group in zip(part.images, part.labels, part.groups, strict=True):
            assert of[row.tobytes()] == [label, group]


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(ROWS)))
def test_the_order_of_the_file_does_not_matter(order):
    shuffled = Source((INPUTS[order], LABELS[order]), groups=GROUPS[order])
    straight, other = split(task(), SOURCE), split(task(), shuffled)
    for name in NAMES:
        assert np.array_equal(straight[name].images, other[name].images)
        assert np.array_equal(straight[name].groups, other[name].groups)


def test_another_seed_deals_other_subjects():
    first, second = (set(split(task(split_seed=s), SOURCE)["test"].groups.tolist()) for s in (0, 1))
    assert first != second


def test_an_official_test_set_keeps_its_subjects():
    known = GROUPS < 48
    source = Source(
        (INPUTS[known], LABELS[known]), (INPUTS[~known], LABELS[~known]), GROUPS[known], GROUPS[~known]
    )  # fmt: skip
    sizes = Splits(train=4, policy=1, validation=2, test=4)
    found = split(task(splits=sizes), source)
    assert set(found["test"].groups.tolist()) == {48, 49, 50, 51}
    assert all(found[name].groups.max() < 48 for name in NAMES[:3])


@pytest.mark.parametrize(
    ("changes", "source", "sentence"),
    [
        ({}, Source((INPUTS, LABELS)), "task 't' splits by group, and the made reader gives no groups"),
        ({"splits": Splits(**{**SIZES, "train": 7})}, SOURCE, "wants 13 groups for train, policy, .*: there are 12"),
        (
            {},
            Source((INPUTS, LABELS), (INPUTS, LABELS), GROUPS, GROUPS),
            "group 40 of the made data is in the training",
        ),
        ({"split_by": "given"}, SOURCE, "task 't' takes given splits, and the made reader gives none"),
    ],
)
def test_what_cannot_be_dealt(changes, source, sentence):
    with pytest.raises(ValueError, match=sentence):
        split(task(**changes), source)


GIVEN = np.array(["train"] * 60 + ["policy"] * 20 + ["validation"] * 25 + ["test"] * 10 + [""] * 5)
GIVEN_SIZES = Splits(train=60, policy=20, validation=25, test=10)


def given_task(**changes) -> Task:
    return task(**{"split_by": "given", "splits": GIVEN_SIZES, **changes})


def test_given_splits_are_taken_as_they_are():
    found = split(given_task(), Source((INPUTS, LABELS), given=GIVEN))
    for name in NAMES:
        assert rows_of(found[name]) == {row.astype(np.float32).tobytes() for row in INPUTS[name == GIVEN]}
    order = RNG.permutation(ROWS)
    again = split(given_task(), Source((INPUTS[order], LABELS[order]), given=GIVEN[order]))
    assert all(np.array_equal(found[name].images, again[name].images) for name in NAMES)


def test_given_splits_beside_an_official_test_set():
    names = np.where(GIVEN == "test", "", GIVEN)
    source = Source((INPUTS, LABELS), (INPUTS[:7], LABELS[:7]), given=names)
    found = split(given_task(splits=Splits(train=60, policy=20, validation=25, test=7)), source)
    assert rows_of(found["test"]) == {row.astype(np.float32).tobytes() for row in INPUTS[:7]}
    assert len(found["train"].labels) == 60  # given is given: what is in test too stays


def test_given_splits_of_another_size_and_empty_ones():
    source = Source((INPUTS, LABELS), given=GIVEN)
    with pytest.raises(ValueError, match="the made data give 60 rows to train, and task 't' says 61"):
        split(given_task(splits=Splits(train=61, policy=20, validation=25, test=10)), source)
    with pytest.raises(ValueError, match="the made data give no rows to policy, and task 't' says 20"):
        split(given_task(), Source((INPUTS, LABELS), given=np.where(GIVEN == "policy", "", GIVEN)))


@given(st.data(), st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any))
def test_shares_are_proportions_rounded(data, available):
    size = data.draw(st.integers(1, sum(available)))
    found = shares(size, available)
    assert sum(found) == size
    for count, there in zip(found, available, strict=True):
        assert count <= there
        assert abs(count - Fraction(size * there, sum(available))) < 1


def test_shares_by_hand():
    # Quotas 1.25, 2.5, 1.25: the half is rounded up.
    assert shares(5, [5, 10, 5]) == [1, 3, 1]
    assert shares(20, [5, 10, 5]) == [5, 10, 5]
