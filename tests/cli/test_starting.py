"""init: the task file that it writes is ours, word for word, and nothing of the user's is written over."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from joulemark.benchmarking.own_task import FUNCTIONS, VALUES
from joulemark.vocabulary import import_file


def test_it_writes_the_example_with_its_own_name(joulemark, tmp_path):
    code, out, err = joulemark("init", "digits.py")
    assert (code, err) == (0, "")
    assert "joulemark run digits.py" in out
    text = (tmp_path / "digits.py").read_text()
    assert text == (files("joulemark") / "tasks/own.py.txt").read_text().replace("NAME.py", "digits.py")
    assert text.count("joulemark run digits.py") == 2


def test_it_is_called_mine_unless_it_is_called_otherwise_and_says_so_to_a_script(joulemark, tmp_path):
    code, out, _ = joulemark("init", "--json")
    assert (code, json.loads(out)) == (0, {"path": "mine.py"})
    assert (tmp_path / "mine.py").is_file()


def test_the_example_defines_what_a_task_file_may_define(joulemark, tmp_path):
    joulemark("init")
    module = import_file(tmp_path / "mine.py")
    own = {name for name, value in vars(module).items() if not name.startswith("_") and callable(value)}
    assert {"net", "train", "validation", "test", "preprocess", "augment"} == own & set(FUNCTIONS)
    text = (tmp_path / "mine.py").read_text()
    assert [name for name in (*FUNCTIONS, *VALUES) if name not in text] == ["title", "version"]


def test_what_is_there_stays(refused, tmp_path):
    (tmp_path / "mine.py").write_text("x = 1\n")
    assert "mine.py is there already and is left as it is" in refused("init")
    assert (tmp_path / "mine.py").read_text() == "x = 1\n"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("mine", "mine: a task file is Python, so its name ends in .py"),
        ("my net.py", "the name of a task file 'my net' must be"),
        ("nowhere/mine.py", "there is no folder nowhere to write mine.py to"),
    ],
)
def test_a_path_that_cannot_be_written_gets_one_sentence(refused, path, said):
    assert said in refused("init", path)
