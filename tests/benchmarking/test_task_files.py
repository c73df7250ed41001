"""Tasks by name: each shipped one keeps its key, and a bad one is refused with its file and field."""

import re
from pathlib import Path

import msgspec
import pytest

from joulemark.benchmarking.stored_suites import StoredSuite
from joulemark.benchmarking.suite_files import load_suite, shipped_suites
from joulemark.benchmarking.task_files import TaskError, load_task, parse_task, shipped_tasks

ROOT = Path(__file__).parents[2]
MNIST = shipped_tasks()["mnist"]


def committed() -> set[str]:
    """Folders of our tasks, name and start of the key, that hold committed records or shipped baselines."""
    folders = [*ROOT.glob("results/*/*"), *ROOT.glob("src/joulemark/baselines/*")]
    ours = [folder for folder in folders if folder.is_dir() and not (folder / "suites").is_dir()]
    return {folder.name for folder in ours if re.fullmatch(r".+-[0-9a-f]{8}", folder.name)}


def test_every_task_has_the_key_of_its_committed_folders():
    keys = {f"{task.name}-{task.key[:8]}" for task in map(load_task, shipped_tasks())}
    assert committed() <= keys
    assert len(committed()) == 9
    assert len(keys - committed()) == 1  # of SVHN nothing is committed
    assert {f"{suite.task.name}-{suite.task.key[:8]}" for suite in map(load_suite, shipped_suites())} == keys


def test_a_users_task_has_the_key_of_its_committed_folder():
    paths = sorted(ROOT.glob("results/*/*/suites/*.json"))
    tasks = [msgspec.json.decode(path.read_bytes(), type=StoredSuite).suite.task for path in paths]
    assert [f"{task.name}-{task.key[:8]}" for task in tasks] == [path.parent.parent.name for path in paths]
    assert [task.name for task in tasks] == ["digits", "mobile", "motion", "se_residual"]


@pytest.mark.parametrize("name", shipped_tasks())
def test_a_task_is_in_the_file_of_its_name(name):
    assert load_task(name).name == name


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
