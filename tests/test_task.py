"""A task's key changes with every field, and impossible tasks are refused."""

from __future__ import annotations

import msgspec
import pytest

from joulemark.benchmarking.suite_files import load_suite, shipped_suites
from joulemark.task import Own, Recipe, Splits, Task

STATED = {
    "name": "t",
    "title": "T",
    "data": "mnist5k",
    "data_sha256": "00",
    "splits": {"train": 4, "policy": 3, "validation": 2, "test": 1},
    "split_seed": 0,
    "input_shape": [1, 28, 28],
    "classes": 10,
    "mean": [0.5],
    "deviation": [0.25],
    "metric": "accuracy",
    "split_by": "class",
    "recipe": {
        "builder": "lenet",
        "options": {},
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.0,
    },
    "limit_images": None,
}
CHANGES = {
    "name": "u",
    "title": "U",
    "data": "other",
    "data_sha256": "01",
    "split_seed": 1,
    "split_by": "group",
    "metric": "weighted-f1",
    "input_shape": [1, 28, 29],
    "classes": 11,
    "mean": [0.6],
    "deviation": [0.26],
    "limit_images": 100,
    "own": {"net": "0123456789abcdef"},
    **{f"splits.{name}": 9 for name in STATED["splits"]},
    "recipe.builder": "other",
    "recipe.options": {"width": 0.5},
    "recipe.epochs": 3,
    "recipe.batch_size": 9,
    "recipe.learning_rate": 0.2,
    "recipe.momentum": 0.8,
    "recipe.weight_decay": 0.1,
    "recipe.augment": "crop-flip",
    "recipe.precision": "bf16",
}


def changed(path: str, value: object) -> dict:
    outer, _, inner = path.partition(".")
    return {**STATED, outer: {**STATED[outer], inner: value} if inner else value}


def task(stated: dict) -> Task:
    return msgspec.convert(stated, Task)


def test_every_field_is_tried():
    fields = {f"splits.{name}" for name in Splits.__struct_fields__}
    fields |= {f"recipe.{name}" for name in Recipe.__struct_fields__}
    fields |= set(Task.__struct_fields__) - {"splits", "recipe"}
    assert fields == set(CHANGES)


@pytest.mark.parametrize("path", CHANGES)
def test_key_changes_with(path):
    assert task(changed(path, CHANGES[path])).key != task(STATED).key


def test_key_is_the_same_for_the_same_task():
    again = msgspec.json.decode(msgspec.json.encode(task(STATED)), type=Task)
    assert again.key == task(STATED).key
    assert len(again.key) == 16


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("splits.train", 0),
        ("recipe.epochs", 0),
        ("recipe.learning_rate", 0.0),
        ("recipe.momentum", 1.0),
        ("recipe.weight_decay", -1.0),
        ("classes", 0),
        ("metric", ""),
        ("limit_images", 0),
        ("split_by", "subject"),
        ("mean", []),
        ("mean", [0.5, 0.5]),
        ("recipe.epoch", 3),
        ("colour", "red"),
    ],
)
def test_impossible_tasks_are_refused(path, value):
    with pytest.raises(msgspec.ValidationError):
        task(changed(path, value))


def test_inputs_may_have_any_rank_and_need_no_scaling():
    for shape in ([5], [3, 128], [1, 28, 28], [2, 4, 4, 4]):
        assert task({**STATED, "input_shape": shape, "mean": [], "deviation": []}).input_shape == tuple(shape)
    assert task({**STATED, "input_shape": [3, 128], "mean": [0.0] * 3, "deviation": [1.0] * 3}).mean == (0.0,) * 3


def test_crops_are_of_images():
    cropped = {**STATED["recipe"], "augment": "crop-flip"}
    with pytest.raises(msgspec.ValidationError, match=r"augment 'crop-flip' is of images, and inputs are \[3, 128\]"):
        task({**STATED, "input_shape": [3, 128], "mean": [], "deviation": [], "recipe": cropped})


def test_keys_of_shipped_tasks_are_those_of_published_results():
    keys = {load_suite(name).task.name: load_suite(name).task.key for name in shipped_suites()}
    published = {
        "cifar10": "ab260496e3045fd0", "cifar10-alexnet": "e97258b88da87db9", "cifar10-convnet": "07daedbb2b8e51fe",
        "cifar10-inception": "58275de86af93730", "cifar10-vgg": "7709a8be477119f4", "fashion": "fe7a7eb244cc55ce",
        "mnist": "81eddf099a418344", "mnist-1989": "97641ba8a4a41405", "mnist-5k": "a938522bb20d73bf",
    }  # fmt: skip
    assert {name: keys[name] for name in published} == published


def test_a_field_that_is_added_changes_no_key_unless_it_is_used():
    class Later(Recipe, frozen=True, kw_only=True):
        distilled: bool = False

    task = load_suite("mnist").task
    later, used = (Later(**msgspec.structs.asdict(task.recipe), **more) for more in ({}, {"distilled": True}))
    assert msgspec.structs.replace(task, recipe=later).key == task.key
    assert msgspec.structs.replace(task, recipe=used).key != task.key
    assert msgspec.structs.replace(task, recipe=msgspec.structs.replace(task.recipe, momentum=0.8)).key != task.key


def test_how_a_warning_is_worded_makes_no_other_task():
    own = Own(net="n", warnings=("a",), functions={"augment": "d"})
    keys = [
        task({**STATED, "own": msgspec.to_builtins(one)}).key
        for one in (
            own,
            msgspec.structs.replace(own, warnings=()),
            msgspec.structs.replace(own, net="m"),
            msgspec.structs.replace(own, trains=False),
        )
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
