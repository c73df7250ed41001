"""The data of a user's task, held in this process, as splits of rows that a net takes."""

from __future__ import annotations

import numpy as np
import pytest

from joulemark.data import load
from joulemark.data.own import own_data as module
from joulemark.data.own.dealing import Dealt, dealt
from joulemark.data.own.own_data import OwnData, digest_of, hold, own_data, own_splits
from joulemark.data.own.reading import read
from joulemark.task import Own, Recipe, Splits, Task

NAMES = ("train", "policy", "validation", "test")


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch):
    monkeypatch.setattr(module, "_held", {})


def task(**changes) -> Task:
    return Task(
        name="t", title="T", data="user/t", data_sha256="x", splits=Splits(train=9, policy=9, validation=9, test=9),
        split_by="given", input_shape=(2,), classes=3, own=Own(net="n"),
        recipe=Recipe(builder="user/t", epochs=1, batch_size=2, learning_rate=0.1), **changes,
    )  # fmt: skip


def given(labelled=True):
    made = {}
    for number, name in enumerate(NAMES):
        inputs = (10 * number + np.arange(18).reshape(9, 2)).astype(np.uint8)
        labels = np.arange(9) % 3 if labelled else None
        made[name] = read(f"{name}()", (inputs, labels, [f"s{k // 3}" for k in range(9)]), random_allowed=False)
    return made


def prepare(raw):
    return raw.astype(np.float32) + 0.5


def test_data_that_nobody_opened_are_refused():
    with pytest.raises(ValueError, match="the data of task 't' are its user's own: open its task file first"):
        own_data(task())


def test_every_row_keeps_its_label_and_its_group():
    hold("user/t", OwnData(dealt(given()), prepare))
    for number, name in enumerate(NAMES):
        split = load(task())[name]
        rows = ((split.images - 0.5 - 10 * number)[:, 0] / 2).astype(int)  # what row it was
        assert sorted(rows.tolist()) == list(range(9))
        assert split.images.dtype == np.float32
        np.testing.assert_array_equal(split.labels, rows % 3)
        np.testing.assert_array_equal(split.groups, rows // 3)


def test_labels_of_the_net_stand_in_where_there_are_none():
    splits = dealt(given(labelled=False))
    made = {name: np.arange(9) for name in NAMES}
    hold("user/t", OwnData(splits, prepare, made))
    np.testing.assert_array_equal(own_splits(task())["test"].labels, np.arange(9))


def test_a_limit_takes_the_first_rows_of_each():
    hold("user/t", OwnData(dealt(given()), prepare))
    whole, few = own_splits(task()), own_splits(task(limit_images=4))
    for name in NAMES:
        for part in ("images", "labels"):
            np.testing.assert_array_equal(getattr(few[name], part), getattr(whole[name], part)[:4])
        assert len(few[name].groups) == 4


def test_the_digest_is_of_all_splits_by_name():
    one, two = given(), given()
    assert digest_of(one) == digest_of(dict(reversed(two.items())))
    two["train"], two["test"] = two["test"], two["train"]
    assert digest_of(one) != digest_of(two)
    assert isinstance(dealt(one)["train"], Dealt)
