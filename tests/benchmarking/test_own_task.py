"""A task file as a task: what counts in its key, where its rows go, and live objects that are never used again."""

from __future__ import annotations

import sys

import msgspec
import numpy as np
import pytest
import torch
from own_files import own_file

from joulemark import vocabulary
from joulemark.benchmarking.own_task import live_task, open_task, register_task
from joulemark.data import load
from joulemark.data.own import own_data
from joulemark.judging.metrics.accuracy import accuracy
from joulemark.nets import own_nets


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """What a test's task files register is gone after it, or when it calls this: as in another process."""

    def forget() -> None:
        for module, name in (
            (vocabulary, "_registered"), (vocabulary, "_live"), (own_nets, "_given"), (own_nets, "_sources"),
            (own_data, "_held"),
        ):  # fmt: skip
            monkeypatch.setattr(module, name, {})

    monkeypatch.setattr(sys, "path", [*sys.path])
    forget()
    return forget


@pytest.fixture
def opened(tmp_path, forget):
    """Opens a task file with more code, as another process would."""

    def opened(more="", **words):
        forget()
        return open_task(own_file(tmp_path, more, **words), limit=5.0)

    return opened


def test_all_that_the_file_says_is_in_the_task(opened):
    task, suite, net = opened("title = 'Four kinds'")
    assert (task.name, task.title, task.data, task.metric) == ("mine", "Four kinds", "user/mine", "accuracy")
    assert (task.input_shape, task.classes, task.split_by) == ((1, 8, 8), 4, "given")
    assert msgspec.to_builtins(task.splits) == {"train": 90, "policy": 10, "validation": 300, "test": 300}
    assert (task.recipe.builder, task.recipe.epochs, task.recipe.learning_rate) == ("user/mine", 1, 0.05)
    assert (task.own.trains, task.own.labelled, task.own.scratch, task.own.isolated) == (True, True, True, True)
    assert task.own.warnings == ()
    assert (suite.name, suite.task, suite.backends) == ("mine-limit5", task, ("eager",))  # a limit of its own
    assert net.builder == "user/mine"


def test_the_splits_are_the_rows_that_were_given(opened):
    task, _, _ = opened("def preprocess(batch): return batch * 2")
    module = vocabulary.look_up("data set", "user/mine")
    splits = load(task)
    for name, made in (("validation", module.validation()), ("test", module.test())):
        found = {row.tobytes(): label for row, label in zip(splits[name].images, splits[name].labels, strict=True)}
        assert found == {row.tobytes(): label for row, label in zip(made[0] * 2, made[1], strict=True)}
    train = {row.tobytes() for row in module.train()[0] * 2}
    dealt = [{row.tobytes() for row in splits[name].images} for name in ("train", "policy")]
    assert dealt[0] | dealt[1] == train
    assert not dealt[0] & dealt[1]


PREPROCESS = "\ndef preprocess(batch):\n    return batch {}\n"
SAME = {
    "a comment": ("# hello\n", ""),
    "another order of rows": (
        "made = test\ndef test():\n    x, y = made()\n    return x[::-1].copy(), y[::-1].copy()\n",
        "",
    ),
    "a docstring": ('\ndef preprocess(batch):\n    """Say."""\n    return batch + 0\n', PREPROCESS.format("+ 0")),
    "another suite": ("suite['seeds'] = [4]\n", ""),
}
OTHER = {
    "a row": "made = test\ndef test():\n    x, y = made()\n    x[0] += 1e-3\n    return x, y\n",
    "a weight": "good = net\ndef net():\n    one = good()\n    one[0].bias.data[0] += 1e-6\n    return one\n",
    "preprocess": PREPROCESS.format("+ 1e-9"),
    "augment": "def augment(batch, generator): return batch\n",
    "loss": "def loss(outputs, labels): return nn.functional.cross_entropy(outputs, labels)\n",
    "recipe": "recipe['epochs'] = 2\n",
    "metric": "metric = 'weighted-f1'\n",
    "version": "version = 2\n",
}


@pytest.mark.parametrize("case", SAME)
def test_what_changes_nothing_keeps_the_key(opened, case):
    more, before = SAME[case]
    assert opened(more).task.key == opened(before).task.key


@pytest.mark.parametrize("case", OTHER)
def test_what_changes_results_changes_the_key(opened, case):
    assert opened(OTHER[case]).task.key != opened().task.key


def test_a_file_that_is_edited_builds_from_another_source(opened):
    sources = [opened(more).net.source for more in ("", "# a comment\n", "x = 1\n")]
    assert sources[0] == sources[1] != sources[2]


def test_the_rows_of_a_preprocess_that_was_changed_are_another_tasks(opened):
    keys = {opened(PREPROCESS.format(f"+ {number}")).task.key for number in range(3)}
    assert len(keys) == 3


def test_without_train_and_recipe_nothing_trains(opened):
    task, suite, _ = opened("del recipe", without="train")
    assert (task.own.trains, task.own.scratch) == (False, False)
    assert task.splits.validation + task.splits.policy == 300
    assert suite.techniques == ("int8", "small-dense")


def test_without_labels_the_nets_own_answers_are_the_truth(opened):
    unlabelled = "".join(
        f"{name}_ = {name}\ndef {name}(): return {name}_()[0]\n" for name in ("train", "validation", "test")
    )
    task, _, net = opened(unlabelled)
    assert (task.metric, task.own.labelled) == ("agreement", False)
    split = load(task)["test"]
    with torch.no_grad():
        expected = net.module()(torch.from_numpy(np.asarray(split.images))).argmax(1)
    np.testing.assert_array_equal(split.labels, expected)
    with pytest.raises(ValueError, match="metric 'accuracy' needs labels, and there are none: leave it out"):
        opened(unlabelled + "metric = 'accuracy'")


def test_a_metric_of_the_users_own_is_registered_by_its_name(opened):
    task, _, _ = opened(
        "import dataclasses\nfrom joulemark.judging.metrics.accuracy import accuracy\n"
        "metric = dataclasses.replace(accuracy, name='mine-too')\n"
    )
    assert task.metric == "mine-too"
    assert vocabulary.look_up("metric", "mine-too").value is accuracy.value


def test_what_it_imports_stands_beside_it(opened, tmp_path):
    (tmp_path / "kinds_beside.py").write_text("TITLE = 'beside'\n")
    assert opened("from kinds_beside import TITLE as title\n").task.title == "beside"


def test_a_file_is_registered_without_reading_its_data(tmp_path):
    path = own_file(tmp_path, "def test(): raise RuntimeError\n")
    assert register_task(path) == "mine"
    assert own_nets.own_structure("user/mine")[0].out_channels == 8
    with pytest.raises(ValueError, match=r"mine\.py: test\(\) raised RuntimeError$"):
        open_task(path)


def test_a_file_that_is_edited_while_it_is_used_is_refused(tmp_path):
    path = own_file(tmp_path)
    register_task(path)
    own_file(tmp_path, "x = 1\n")
    with pytest.raises(ValueError, match="was changed since it was registered"):
        own_nets.given_net("user/mine")


def live() -> dict:
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)).eval()
    rows = np.random.default_rng(0).normal(size=(700, 1, 2, 2)).astype(np.float32)
    labels = np.arange(700) % 2
    return {
        "net": lambda: module,
        "validation": lambda: (rows[:350], labels[:350]),
        "test": lambda: (rows[350:], labels[350:]),
    }


def test_live_objects_are_marked_and_told_apart():
    defined = live()
    first, again = (live_task("mine", defined, limit=5.0) for _ in range(2))
    assert not first.task.own.isolated
    assert first.net.source != again.net.source  # nothing made of the first is taken for one of the second
    assert first.net.state["1.weight"].shape == (2, 4)


def test_a_folder_is_no_task_file(tmp_path):
    (tmp_path / "mine.py").mkdir()
    with pytest.raises(ValueError, match=r"mine\.py is a folder: a task file is one Python file"):
        open_task(tmp_path / "mine.py")


def test_a_name_that_is_no_folder_is_refused():
    with pytest.raises(ValueError, match="name 'a/b' must be"):
        live_task("a/b", live())
