"""The entry point: exit codes, and one sentence for whatever is refused, on standard output too for a script."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from joulemark.cli.app import Refused
from joulemark.cli.main import asked_for_json, main, sentence
from joulemark.explain import listing


@pytest.mark.parametrize(
    ("words", "said", "verb"),
    [
        (["lst"], "No such command 'lst'. Did you mean 'list'? See", ""),
        (["--nope"], "No such option: --nope. See", ""),
        (["board"], "Missing argument", " board"),
        (["board", "quick", "more"], "(more). See", " board"),
        (["doctor", "--strct"], "--strict", " doctor"),
    ],
)
def test_a_word_that_is_wrong_is_one_sentence_that_names_the_help(refused, words, said, verb):
    told = refused(*words)
    assert said in told
    assert re.search(rf"[.?] See `[^`]*joulemark{verb} --help`\.\n$", told)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["board", "quick", "--json"], "there are no results of suite 'quick'"),
        (["check", "--json"], "there are no results in runs"),
        (["explain", "magnitud", "--json"], "did you mean 'magnitude'"),
        (["board", "quick", "--nope", "--json"], "No such option: --nope"),
    ],
)
def test_a_script_finds_the_refusal_on_standard_output(joulemark, words, said):
    code, out, err = joulemark(*words)
    assert code == 2
    refusal = json.loads(out)
    assert list(refusal) == ["error"]
    assert said in refusal["error"]
    assert err == f"joulemark: {refusal['error']}\n"


def test_the_output_of_a_measured_command_is_its_own(refused):
    assert "No such option" in refused("measure", "--nope", "--json", "true")
    assert not asked_for_json(["measure", "--json", "true"])
    assert not asked_for_json([])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FloatingPointError("the loss is nan: train slower"), "joulemark: the loss is nan: train slower\n"),
        (OverflowError("math range error"), "this cannot be computed (math range error)"),
        (MemoryError(), "there is not enough memory"),
        (RecursionError("too deep"), "nested too deeply"),
        (Refused("not\nlike\n  this"), "joulemark: not like this\n"),
        (ValueError("no such net"), "joulemark: no such net\n"),
        (OSError("the disk is full"), "joulemark: the disk is full\n"),
    ],
)
def test_what_cannot_be_computed_gets_one_sentence(refused, monkeypatch, error, words):
    def fail() -> None:
        raise error

    monkeypatch.setattr(listing, "nets", fail)
    assert words in refused("list", "nets")


def test_a_fault_of_ours_is_not_hidden_behind_a_sentence(monkeypatch):
    def fail() -> None:
        raise KeyError("a fault")

    monkeypatch.setattr(listing, "nets", fail)
    monkeypatch.setattr(sys, "argv", ["joulemark", "list", "nets"])
    with pytest.raises(KeyError, match="a fault"):
        main()


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (typer.Exit(7), 7), (typer.Abort(), 1)])
def test_who_stops_a_verb_decides_its_exit_code(joulemark, monkeypatch, stop, code):
    def fail() -> None:
        raise stop

    monkeypatch.setattr(listing, "nets", fail)
    assert joulemark("list", "nets")[:2] == (code, "")


def test_a_verb_that_is_done_is_0(joulemark):
    assert joulemark("list", "backends", "--json")[0] == 0


def test_without_a_word_it_shows_its_help(joulemark):
    _, out, err = joulemark()
    assert "Usage:" in out + err
    assert "doctor" in out + err


def test_a_terminal_without_our_characters_still_shows_the_rest(monkeypatch):
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, encoding="latin-1", errors="strict"))
    monkeypatch.setattr(sys, "argv", ["joulemark", "list", "nets", "--json"])
    monkeypatch.setattr(listing, "nets", lambda: [{"net": "≤ 12 µJ"}])
    with pytest.raises(SystemExit):
        main()
    sys.stdout.flush()
    assert json.loads(data.getvalue().decode("latin-1")) == [{"net": "? 12 µJ"}]


@given(
    st.text(), st.sampled_from([ValueError, OSError, OverflowError, FloatingPointError, MemoryError, RecursionError])
)
def test_a_sentence_is_one_line_and_keeps_the_words(text, kind):
    said = sentence(kind(text))
    assert len(said.splitlines()) <= 1
    assert " ".join(text.split()) in said


def test_a_memory_error_says_what_was_asked_for_if_it_is_known():
    assert sentence(MemoryError()) == "there is not enough memory (none was given): ask for less at a time"
    assert sentence(MemoryError("9 GB")) == "there is not enough memory (9 GB): ask for less at a time"
