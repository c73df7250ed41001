"""Suites by name and path: each is in the file of its name, and one that cannot be read is refused with its place."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from suite_text import whole_text

from joulemark.benchmarking.suite_files import SuiteError, load_suite, narrowed, parse_suite, shipped_suites
from joulemark.benchmarking.task_files import shipped_tasks

QUICK = load_suite("quick")


@pytest.mark.parametrize("name", shipped_suites())
def test_a_suite_is_in_the_file_of_its_name(name):
    assert load_suite(name).name == name


def test_a_suite_is_the_same_by_name_and_by_path(tmp_path):
    path = tmp_path / "other-name.toml"
    path.write_text(shipped_suites()["quick"])
    assert load_suite(str(path)) == QUICK
    path.write_text(whole_text("quick"))
    assert load_suite(str(path)) == QUICK


def test_a_suite_that_is_no_text_is_refused_by_name(tmp_path):
    path = tmp_path / "odd.toml"
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(SuiteError, match=r"odd\.toml is no text in UTF-8"):
        load_suite(str(path))


def test_an_unknown_suite_offers_the_nearest():
    with pytest.raises(SuiteError, match="did you mean 'quick'"):
        load_suite("quik")
    with pytest.raises(SuiteError, match="no suite file"):
        load_suite("nothing.toml")


def test_a_limit_of_images_makes_another_task():
    suite = load_suite("quick")
    small = narrowed(suite, techniques=("int8",), seeds=3, limit_images=100)
    assert small.task.key != suite.task.key
    assert small.seeds == (0, 1, 2)
    assert small.techniques == ("int8",)
    assert narrowed(suite, techniques=(), seeds=None, limit_images=None) == suite


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
    (tmp_path / "odd.toml").write_text(shipped_tasks()["mnist"].replace("classes = 10", 'classes = "ten"'))
    (tmp_path / "suite.toml").write_text(shipped_suites()["quick"].replace('"mnist-5k"', '"odd.toml"'))
    with pytest.raises(SuiteError, match=r"suite\.toml: .*odd\.toml: Expected `int`, got `str` - at `\$\.classes`"):
        load_suite(str(tmp_path / "suite.toml"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"^mine\.toml: .*missing required field"),
        ("name = ", r"^mine\.toml: Invalid value"),
        ("name = 3", r"^mine\.toml: .*Expected `str`, got `int` - at `\$\.name`"),
        (shipped_suites()["quick"] + "\ncolour = 2\n", r"^mine\.toml: .*unknown field `colour`"),
    ],
)
def test_a_text_that_is_no_suite_is_refused_with_its_place(text, words):
    with pytest.raises(SuiteError, match=words) as caught:
        parse_suite(text, where="mine.toml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "quik", "Quick", "suites/quick", "quick.TOML"])
def test_a_name_that_is_none_offers_the_way_by_path(name):
    with pytest.raises(
        SuiteError, match=r"^unknown suite .*\(or give the path of a \.toml file, or your own task file"
    ):
        load_suite(name)


def test_a_folder_is_no_suite_file(tmp_path):
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(SuiteError, match=r"^there is no suite file .*folder\.toml$"):
        load_suite(str(tmp_path / "folder.toml"))


def test_without_options_a_suite_stays_as_it_is():
    assert narrowed(QUICK) == QUICK
    assert narrowed(QUICK, techniques=()) == QUICK


@given(st.integers(1, 40))
def test_so_many_seeds_are_the_first(seeds):
    suite = narrowed(QUICK, seeds=seeds)
    assert suite.seeds == tuple(range(seeds))
    assert msgspec.structs.replace(suite, seeds=QUICK.seeds) == QUICK


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_tasks_of_other_limits_are_never_mixed(one, other):
    first, second = (narrowed(QUICK, limit_images=limit).task for limit in (one, other))
    assert first.limit_images == one
    assert first.name == f"{QUICK.task.name}-first{one}"
    assert (first.key == second.key) == (one == other)
    assert first.key != QUICK.task.key


def test_a_limit_changes_nothing_but_the_task():
    small = narrowed(QUICK, limit_images=100)
    assert msgspec.structs.replace(small, task=QUICK.task) == QUICK
    task = msgspec.structs.replace(small.task, name=QUICK.task.name, limit_images=QUICK.task.limit_images)
    assert task == QUICK.task
