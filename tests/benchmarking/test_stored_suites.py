"""Suites of users' tasks beside their results: found again by the name of the task file, without the file."""

from __future__ import annotations

import msgspec
import pytest
from tiny import tiny_suite

from joulemark import vocabulary
from joulemark.benchmarking.session import Session
from joulemark.benchmarking.stored_suites import keep_suite, suite_of_results
from joulemark.benchmarking.suite_files import SuiteError, load_suite
from joulemark.task import Own


def own_suite(sha="a", limit=1.0, **changes):
    suite = tiny_suite(name="mine", limits_points=(limit,), **changes)
    return msgspec.structs.replace(
        suite,
        task=msgspec.structs.replace(suite.task, name="mine", data="user/mine", data_sha256=sha, own=Own(net="n")),
    )


def keep(suite, folder):
    session = Session.open(suite, folder, command="test")
    keep_suite(session)
    return session.store


@pytest.mark.parametrize("name", ["mine.py", "mine", "else/where/mine.py"])
def test_a_kept_suite_comes_back_whole(tmp_path, name):
    suite = own_suite(measuring=msgspec.structs.replace(tiny_suite().measuring, blocks=17))
    keep(suite, tmp_path)
    found = suite_of_results(name, tmp_path)
    assert found == suite
    assert found.task.key == suite.task.key


def test_the_latest_run_counts_and_a_limit_chooses(tmp_path):
    for sha, limit in (("a", 1.0), ("b", 2.0), ("c", 1.0), ("d", 3.0)):
        keep(own_suite(sha, limit), tmp_path)
    assert suite_of_results("mine.py", tmp_path).task.data_sha256 == "d"
    assert suite_of_results("mine.py", tmp_path, limit=1.0).task.data_sha256 == "c"
    told = r"mine\.py at --limit 0\.5 is not in .*last run was at --limit 1, --limit 2, --limit 3: `joulemark run mine"
    with pytest.raises(SuiteError, match=told):
        suite_of_results("mine.py", tmp_path, limit=0.5)


def test_a_task_file_that_was_changed_since_is_told(tmp_path, monkeypatch):
    file = tmp_path / "mine.py"
    file.write_text("def net(): ...\n")
    monkeypatch.setattr(vocabulary, "_registered", {})
    vocabulary.register("builder", "user/mine", "net", file=file)
    keep(own_suite(), tmp_path)
    told = []
    suite_of_results(str(file), tmp_path, warn=told.append)
    suite_of_results("mine", tmp_path, warn=told.append)
    assert told == []
    file.write_text("def net(): return 1\n")
    suite_of_results(str(file), tmp_path, warn=told.append)
    assert told == [
        f"{file} was changed since these results were made: `joulemark run {file}` makes those of its new state"
    ]
    file.unlink()
    suite_of_results(str(file), tmp_path, warn=told.append)
    assert len(told) == 1


def test_a_smoke_run_is_kept_apart(tmp_path):
    suite = own_suite()
    few = msgspec.structs.replace(suite.task, name="mine-first10", limit_images=10)
    keep(msgspec.structs.replace(suite, task=few), tmp_path)
    assert suite_of_results("mine.py", tmp_path, limit_images=10).task == few
    with pytest.raises(SuiteError, match="there are no results of mine"):
        suite_of_results("mine.py", tmp_path)


def test_a_name_of_ours_is_ours_whatever_is_stored(tmp_path):
    assert suite_of_results("quick", tmp_path) == load_suite("quick")
    assert suite_of_results("quick", tmp_path, limit=1.0).name == "quick-limit1"
    with pytest.raises(SuiteError, match="did you mean 'quick'"):
        suite_of_results("quik", tmp_path)


@pytest.mark.parametrize("name", ["quick.py", "min.py", "mi.*", "mine-25cced94"])
def test_another_name_finds_nothing(tmp_path, name):
    keep(own_suite(), tmp_path)
    with pytest.raises(SuiteError):
        suite_of_results(name, tmp_path)


def test_a_damaged_one_is_named(tmp_path):
    store = keep(own_suite(), tmp_path)
    store.write("suites/mine.json", b'{"started": 1}')
    with pytest.raises(SuiteError, match=r"mine-[0-9a-f]{8}/suites/mine\.json cannot be read: Expected `str`"):
        suite_of_results("mine.py", tmp_path)
