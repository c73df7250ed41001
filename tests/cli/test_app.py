"""What verbs share: how they print, write files, read a shape, show boards and tell of damage."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from stored import fill

from joulemark.benchmarking.suite_files import load_suite
from joulemark.cli import app
from joulemark.cli.app import Refused, write_output


def test_a_full_disk_leaves_the_old_page(tmp_path, monkeypatch):
    page, link = tmp_path / "page.html", tmp_path / "link.html"
    page.write_text("old")
    link.symlink_to(page)
    write_output(link, "newer")
    assert (page.read_text(), link.is_symlink()) == ("newer", True)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Refused, match=f"cannot write .*: {os.strerror(errno.ENOSPC)}"):
        write_output(page, "newest")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["link.html", "page.html"]
    assert page.read_text() == "newer"


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_output(pipe, "µJ\n")
        assert os.read(reading, 100) == "µJ\n".encode()
    finally:
        os.close(reading)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_link_to_nothing_makes_what_it_names(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("new.html")
    write_output(link, "text")
    assert link.is_symlink()
    assert (tmp_path / "new.html").read_text() == "text"


@pytest.mark.parametrize(("place", "why"), [("no/where.html", errno.ENOENT), (".", errno.EISDIR)])
def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path, place, why):
    with pytest.raises(Refused, match=f"^cannot write {re.escape(str(tmp_path / place))}: {os.strerror(why)}$"):
        write_output(tmp_path / place, "text")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160])
def test_lists_break_no_word(width, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(app, "console", lambda: Console(width=width, file=out))
    row = {"technique": "conditional-deep-learning", "family": "conditional computation", "knob": None,
           "what it does": "Attach early linear exits that pay for themselves, in operations."}  # fmt: skip
    app.print_table([row, {**row, "technique": "[bold]int8", "knob": "threshold"}])
    assert max(map(len, out.getvalue().splitlines())) <= width
    said = out.getvalue().split()
    assert "[bold]int8" in said
    assert said.count("conditional-deep-learning") == 1
    for word in ("computation", "themselves,", "operations."):
        assert said.count(word) == 2


def test_in_a_table_what_is_none_is_empty_and_zero_is_not(capsys):
    app.print_table([{"net": "lenet", "joules": None, "macs": 0}])
    assert [line.split() for line in capsys.readouterr().out.splitlines()][-2:] == [["lenet", "0"], []]


def test_a_table_without_rows_has_no_word(capsys):
    app.print_table([])
    assert capsys.readouterr().out.split() == []


def test_a_file_or_pipe_gets_lines_of_120_characters(capsys):
    app.console().print("word " * 100)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert len(lines[0]) == 119  # 24 words, and 23 spaces


def test_json_is_printed_as_it_is(capsys):
    value = {"net": "µ", "joules": None, "layers": [1, 2.5]}
    app.print_json(value)
    said = capsys.readouterr().out
    assert json.loads(said) == value
    assert said.startswith('{\n  "net": "µ",\n')


def test_a_line_sends_nothing_to_the_terminal_but_what_can_be_read(capsys):
    app.print_lines(["\x1b[31mred\x07\x9b", "a\tb\nc\rd", "µ ≤ 図\u202e", ""])
    assert capsys.readouterr().out == "\\x1b[31mred\\x07\\x9b\na\tb\nc\\rd\nµ ≤ 図\\u202e\n\n"


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=5))
def test_a_shape_is_read_as_it_is_written(sizes):
    assert app.parse_shape(",".join(map(str, sizes))) == tuple(sizes)
    assert app.parse_shape(" , ".join(map(str, sizes))) == tuple(sizes)


def test_no_shape_is_none():
    assert app.parse_shape(None) is None


@pytest.mark.parametrize("text", ["", ",", "3,", "3,x", "3;4", "3,16.5,16", "3,0,4", "-1", "inf,3,3", "nan"])
def test_what_is_no_shape_is_one_sentence(text):
    with pytest.raises(Refused, match=f"^--shape {re.escape(text)}: give whole numbers of at least 1, as 3,224,224$"):
        app.parse_shape(text)


def test_damage_is_told_on_standard_error_and_to_scripts(capsys):
    damaged = [("runs/a.json", "it ends early"), ("runs/b.json", "it was edited")]
    app.tell_damaged(damaged)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "joulemark: runs/a.json could not be read and is left out: it ends early",
        "joulemark: runs/b.json could not be read and is left out: it was edited",
    ]
    assert app.damaged_json(damaged) == [
        {"path": "runs/a.json", "reason": "it ends early"},
        {"path": "runs/b.json", "reason": "it was edited"},
    ]
    assert app.damaged_json([]) == []


@pytest.fixture
def quick(tmp_path):
    """The suite `quick`, and made-up results where its own would be."""
    suite = load_suite("quick")
    fill(tmp_path, task=f"{suite.task.name}-{suite.task.key[:8]}")
    return suite


def test_a_script_gets_each_board_once_and_sizes_and_zeros_with_those_of_seconds(quick, tmp_path, capsys):
    app.show_boards(quick, str(tmp_path), None, json=True)
    boards = json.loads(capsys.readouterr().out)
    costs = [one["board"]["cost"] for one in boards]
    assert costs.count("seconds") == costs.count("joules") == len(quick.limits_points)
    assert len(boards) == len(quick.limits_points) * (2 + len(quick.models))
    for one in boards:
        assert ({"sizes", "zeros"} <= set(one)) == (one["board"]["cost"] == "seconds")


def test_a_person_gets_every_board_and_what_they_come_to(quick, tmp_path, capsys):
    app.show_boards(quick, str(tmp_path), "toy-cpu")
    said = " ".join(capsys.readouterr().out.split())
    for words in ("measured seconds per input", "modelled joules per input", "conditional-deep-learning", "2.00"):
        assert words in said


def test_stored_results_are_those_of_the_hardware_asked_for_and_damage_is_told(quick, tmp_path, capsys):
    victim = next(tmp_path.rglob("trials/*.json"))
    victim.write_text(victim.read_text()[:-50])
    known = app.stored_results(quick, str(tmp_path), "toy-cpu")
    assert known.hardware_class == "toy-cpu"
    (line,) = capsys.readouterr().err.splitlines()
    assert f"/{victim.name} could not be read and is left out: " in line
    with pytest.raises(ValueError, match="did you mean 'toy-cpu'"):
        app.stored_results(quick, str(tmp_path), "toy-cpus")


def test_what_a_terminal_would_obey_is_written_as_an_escape(capsys):
    hostile = "a\x1b[31mX\x07[/b]"
    app.print_lines([hostile])
    app.print_table([{"window": hostile, "n": 1}])
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out
    assert out.count("a\\x1b[31mX\\x07[/b]") == 2
