"""Suites of users' tasks beside their results: found again by the name of the task file, without the file."""

from __future__ import annotations

import msgspec
import pytest
from tiny import tiny_suite

from joulemark import vocabulary
from joulemark.benchmarking.session import Session
from joulemark.benchmarking.stored_suites import keep_suite, suite_of_results
from joulemark.benchmarking.suite_files import SuiteError, load_suite, narrowed
from joulemark.record import Study
from joulemark.store import Store
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
    told = []
    for sha, limit in (("a", 1.0), ("b", 2.0), ("c", 1.0), ("d", 3.0)):
        keep(own_suite(sha, limit), tmp_path)
    assert suite_of_results("mine.py", tmp_path, warn=told.append).task.data_sha256 == "d"
    assert told == ["this is the latest board of mine.py; there are others: --limit 1, --limit 2"]
    assert suite_of_results("mine.py", tmp_path, limit=1.0, warn=told.append).task.data_sha256 == "c"
    assert len(told) == 1
    missing = (
        r"the board of mine\.py --limit 0\.5 is not in .*, where it was run with --limit 1 or with --limit 2 or with "
        r"--limit 3: `joulemark run mine\.py --limit 0\.5` makes what is missing of it"
    )
    for name in ("mine.py", "mine"):
        with pytest.raises(SuiteError, match=missing):
            suite_of_results(name, tmp_path, limit=0.5)


def test_boards_of_several_limits_stand_side_by_side(tmp_path):
    suite = own_suite()
    for one in (suite, narrowed(suite, limit=2.0), narrowed(suite, limit=1.0)):
        store = keep(one, tmp_path)
    assert store.names("suites") == ["mine-limit2.json", "mine.json"]
    assert suite_of_results("mine.py", tmp_path).name == "mine"
    assert suite_of_results("mine.py", tmp_path, limit=1.0).name == "mine"
    assert suite_of_results("mine", tmp_path, limit=2.0) == narrowed(suite, limit=2.0)


def test_a_limit_that_stands_among_others_is_found(tmp_path):
    suite = msgspec.structs.replace(own_suite(), limits_points=(1.0, 3.0))
    keep(suite, tmp_path)
    assert suite_of_results("mine.py", tmp_path) == suite
    for limit in (1.0, 3.0):
        assert suite_of_results("mine.py", tmp_path, limit=limit) == msgspec.structs.replace(
            suite, limits_points=(limit,)
        )
    with pytest.raises(SuiteError, match="run with --limit 1 or with --limit 3: "):
        suite_of_results("mine.py", tmp_path, limit=2.0)


def test_a_limit_of_a_suite_of_ours_is_cut_from_it_unless_it_was_run_alone(tmp_path):
    whole = load_suite("mnist")
    assert suite_of_results("mnist", tmp_path, limit=1.0) == msgspec.structs.replace(whole, limits_points=(1.0,))
    alone = narrowed(whole, limit=1.0)
    store = Store(tmp_path, hardware_class="toy-cpu", task=f"mnist-{whole.task.key[:8]}")
    store.put(Study(key=alone.name, settings="s", baselines=()))
    assert suite_of_results("mnist", tmp_path, limit=1.0) == msgspec.structs.replace(whole, limits_points=(1.0,))
    store.write("attempts/a.json", b"{}")
    assert suite_of_results("mnist", tmp_path, limit=1.0) == alone
    assert suite_of_results("mnist", tmp_path, limit=0.1).name == "mnist-limit0.1"


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


def test_the_command_that_is_told_repeats_the_options(tmp_path, monkeypatch):
    (tmp_path / "files").mkdir()
    file = tmp_path / "files" / "mine.py"
    file.write_text("def net(): ...\n")
    monkeypatch.setattr(vocabulary, "_registered", {})
    vocabulary.register("builder", "user/mine", "net", file=file)
    keep(narrowed(own_suite(), limit=2.0, limit_images=10), tmp_path / "runs")
    file.write_text("def net(): return 1\n")
    told = []
    suite_of_results(str(file), tmp_path / "runs", limit_images=10, warn=told.append)
    assert told == [
        f"{file} was changed since these results were made: `joulemark run {file} --limit 2 --limit-images 10` makes "
        "those of its new state"
    ]


def test_a_smoke_run_is_kept_apart(tmp_path):
    suite = narrowed(own_suite(), limit_images=10)
    keep(suite, tmp_path)
    assert suite_of_results("mine.py", tmp_path, limit_images=10) == suite
    told = r"the board of mine\.py is not in .*, where it was run with --limit 1 --limit-images 10: `joulemark run mine"
    with pytest.raises(SuiteError, match=told):
        suite_of_results("mine.py", tmp_path)
    with pytest.raises(SuiteError, match=r"mine\.py --limit 1 --limit-images 11 is not in .* --limit-images 10: "):
        suite_of_results("mine.py", tmp_path, limit=1.0, limit_images=11)
    with pytest.raises(SuiteError, match=r"no results of other\.py --limit-images 10 in .*: run `joulemark run other"):
        suite_of_results("other.py", tmp_path, limit_images=10)


def test_a_name_of_ours_is_ours_whatever_is_stored(tmp_path):
    assert suite_of_results("quick", tmp_path) == load_suite("quick")
    assert suite_of_results("quick", tmp_path, limit=2.0) == load_suite("quick")
    assert suite_of_results("quick", tmp_path, limit=1.0).name == "quick-limit1"
    with pytest.raises(SuiteError, match="did you mean 'quick'"):
        suite_of_results("quik", tmp_path)


@pytest.mark.parametrize("name", ["quick.py", "min.py", "mi.*", "mine-25cced94"])
def test_another_name_finds_nothing(tmp_path, name):
    keep(own_suite(), tmp_path)
    with pytest.raises(SuiteError):
        suite_of_results(name, tmp_path)


def test_a_damaged_one_is_named_and_hides_no_other(tmp_path):
    store = keep(own_suite("old"), tmp_path)
    store.write("suites/mine.json", b'{"started": 1}')
    told = r"/mine-[0-9a-f]{8}/suites/mine\.json cannot be read and is left out \(Expected `str`"
    with pytest.raises(SuiteError, match=told):
        suite_of_results("mine.py", tmp_path)
    keep(own_suite("new"), tmp_path)
    heard = []
    assert suite_of_results("mine.py", tmp_path, warn=heard.append) == own_suite("new")
    (sentence,) = heard
    assert sentence.startswith(str(tmp_path)) and "the `joulemark run` that wrote it does so again" in sentence
