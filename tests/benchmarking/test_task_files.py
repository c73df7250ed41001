"""Tasks by name: each shipped one keeps its key, and a bad one is refused with its file and field."""

import re
from pathlib import Path

import pytest

from joulemark.benchmarking.suite_files import SuiteError, load_suite, parse_suite, shipped_suites
from joulemark.benchmarking.task_files import TaskError, load_task, parse_task, shipped_tasks

ROOT = Path(__file__).parents[2]
MNIST = shipped_tasks()["mnist"]


def committed() -> set[str]:
    """Folders of tasks, name and start of the key, that hold committed records or shipped baselines."""
    folders = [*ROOT.glob("results/*/*"), *ROOT.glob("src/joulemark/baselines/*")]
    return {folder.name for folder in folders if folder.is_dir() and re.fullmatch(r".+-[0-9a-f]{8}", folder.name)}


def test_every_task_has_the_key_of_its_committed_folders():
    keys = {f"{task.name}-{task.key[:8]}" for task in map(load_task, shipped_tasks())}
    assert committed() <= keys
    assert len(committed()) == 9
    assert len(keys - committed()) == 1  # of SVHN nothing is committed
    assert {f"{suite.task.name}-{suite.task.key[:8]}" for suite in map(load_suite, shipped_suites())} == keys


@pytest.mark.parametrize("name", shipped_tasks())
def test_a_task_is_in_the_file_of_its_name(name):
    assert load_task(name).name == name


def test_no_suite_repeats_a_task():
    assert [name for name, text in shipped_suites().items() if "[task" in text] == []


def test_a_suite_from_elsewhere_names_a_task_its_file_or_holds_it(tmp_path):
    quick = shipped_suites()["quick"]
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.toml").write_text(shipped_tasks()["mnist-5k"])
    (tmp_path / "suite.toml").write_text(quick.replace('task = "mnist-5k"', 'task = "tasks/mine.toml"'))
    assert load_suite(str(tmp_path / "suite.toml")) == load_suite("quick")  # seen from the suite's folder
    table = "\n[task]\n" + shipped_tasks()["mnist-5k"].replace("\n[", "\n[task.")
    assert parse_suite(quick.replace('task = "mnist-5k"\n', "") + table, where="x.toml") == load_suite("quick")


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ('"mnist5"', r"mine\.toml: unknown task 'mnist5': did you mean 'mnist"),
        ('"gone.toml"', r"mine\.toml: there is no task file gone\.toml"),
        ("3", r"mine\.toml: Expected `object`, got `int` - at `\$\.task`"),
    ],
)
def test_a_suite_whose_task_is_not_there_is_refused(task, words):
    with pytest.raises(SuiteError, match=words):
        parse_suite(shipped_suites()["quick"].replace('"mnist-5k"', task), where="mine.toml")


def test_a_broken_task_file_is_named_with_the_field(tmp_path):
    (tmp_path / "odd.toml").write_text(MNIST.replace("classes = 10", 'classes = "ten"'))
    (tmp_path / "suite.toml").write_text(shipped_suites()["quick"].replace('"mnist-5k"', '"odd.toml"'))
    with pytest.raises(SuiteError, match=r"suite\.toml: .*odd\.toml: Expected `int`, got `str` - at `\$\.classes`"):
        load_suite(str(tmp_path / "suite.toml"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[splits]", "[splits", "odd.toml: "),
        ("classes = 10", "classes = 10\ncolour = 2", "unknown field `colour`"),
        ("classes = 10\n", "", "missing required field `classes`"),
        ('name = "mnist"', 'name = "../mnist"', "must be 1 to 64 letters"),
        ("mean = [0.1307]", "mean = []", "one entry for each of the 1 channels"),
    ],
)
def test_a_bad_task_is_refused_with_the_place(old, new, words):
    assert MNIST.count(old) == 1
    with pytest.raises(TaskError) as caught:
        parse_task(MNIST.replace(old, new), where="odd.toml")
    assert words in str(caught.value)
    assert str(caught.value).startswith("odd.toml: ")


def test_a_task_that_is_no_text_is_refused_by_name(tmp_path):
    (tmp_path / "odd.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(TaskError, match=r"odd\.toml is no text in UTF-8"):
        load_task("odd.toml", folder=tmp_path)
