"""Verbs that look at this machine, a net or a command: lists, doctor, audit and measure, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from joulemark.auditing.images import Preprocessing
from joulemark.explain import listing
from joulemark.meters.rapl import PERMISSION_FIX
from joulemark.meters.source import Unavailable


@pytest.mark.parametrize("what", ["techniques", "suites", "tasks", "meters", "models", "backends", "nets"])
def test_lists_are_tables_and_json(joulemark, what):
    rows = json.loads(joulemark("list", what, "--json")[1])
    assert rows
    table = joulemark("list", what)[1]
    assert str(next(iter(rows[0].values()))) in table


@pytest.mark.parametrize("what", ["technique", "app", "__doc__"])
def test_what_cannot_be_listed_is_one_sentence(refused, what):
    said = refused("list", what)
    assert f"unknown list {what!r}" in said
    assert ("did you mean 'techniques'" in said) == (what == "technique")


def test_doctor_says_what_can_be_measured(joulemark):
    found = json.loads(joulemark("doctor", "--json")[1])
    code, out, _ = joulemark("doctor", "--strict")
    assert code == (0 if found["joules_measurable"] else 3)
    assert all(row["detail"] for row in found["meters"])
    assert ("cannot be measured" in out) == (not found["joules_measurable"])
    assert out.splitlines()[0].split() == ["Hardware", "class", found["machine"]["hardware_class"]]


@pytest.mark.parametrize("there", [False, True])
def test_strict_is_decided_by_whether_there_is_a_counter(joulemark, monkeypatch, there):
    counter = SimpleNamespace(
        name="made up",
        scope="toy package",
        path="wall/toy",
        update_seconds=1e-3,
        gain_uncertainty=None,
        citation="",
        close=lambda: None,
    )
    probed = ([counter], []) if there else ([], [Unavailable("made up", "it is not there", "none")])
    for function in ("probe", "probe_counters"):
        monkeypatch.setattr(f"joulemark.meters.probe.{function}", lambda **_: probed)
    code, out, _ = joulemark("doctor", "--strict")
    assert code == (0 if there else 3)
    assert ("Joules can be measured here." in out) == there
    assert joulemark("doctor")[0] == 0
    assert joulemark("doctor", "--json", "--strict")[0] == code


def test_a_long_fix_is_told_once_and_a_short_one_every_time(joulemark, monkeypatch):
    fixes = [("rapl a", PERMISSION_FIX), ("rapl b", PERMISSION_FIX), ("wall a", "buy one"), ("wall b", "buy one")]
    rows = [{"meter": name, "status": "unavailable", "detail": "so", "fix": fix} for name, fix in fixes]
    monkeypatch.setattr(listing, "meters", lambda *, cited: rows)
    out = " ".join(joulemark("doctor")[1].split())
    first = PERMISSION_FIX.splitlines()[0].split()[0]
    assert out.count(first) == PERMISSION_FIX.count(first)
    assert out.count("as for rapl a") == 1
    assert out.count("buy one") == 2
    assert json.loads(joulemark("doctor", "--json")[1])["meters"] == rows  # a script needs no other row


@pytest.mark.parametrize("shape", ["inf,3,3", "nan,3,3", "3,16.5,16", "3,0,4", "3;4", ""])
def test_an_odd_shape_is_one_sentence(refused, shape):
    assert refused("audit", "none.onnx", "--shape", shape).startswith(f"joulemark: --shape {shape}: give ")


@pytest.mark.parametrize("option", ["--mean", "--std"])
@pytest.mark.parametrize(("text", "said"), [("", "numbers separated by commas"), ("0.5;1", "numbers separated by"),
                                            ("1,nan", "finite numbers"), ("inf", "finite numbers")])  # fmt: skip
def test_odd_numbers_are_one_sentence(refused, option, text, said):
    assert f"{option} {text}: give {said}" in refused("audit", "none.onnx", option, text)


def test_an_audit_of_what_is_not_there_is_one_sentence(joulemark):
    code, out, err = joulemark("audit", "none.onnx")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "joulemark: there is no file none.onnx"


@pytest.fixture
def asked(monkeypatch):
    """What an audit would be asked for; it is not made."""
    heard = []

    def audit(*words, tell, **how):
        tell("opening the net")
        heard.append((*words, how))
        raise KeyboardInterrupt

    monkeypatch.setattr("joulemark.auditing.audit.audit", audit)
    return heard


def test_an_audit_is_asked_for_what_the_words_say_and_stopped_keeps_nothing(joulemark, asked, tmp_path):
    words = ["--images", "there", "--scale", "1", "--mean", "104,117,123.5", "--std", "1", "--bgr", "--shape", "3,8,8"]
    code, out, err = joulemark("audit", "net.onnx", *words, "--minutes", "2", "-o", "page.html")
    assert (code, out) == (130, "")
    assert err == "  opening the net\n\njoulemark: stopped; an audit keeps nothing.\n"
    how = Preprocessing(scale=1.0, mean=(104.0, 117.0, 123.5), std=(1.0,), bgr=True)
    assert asked == [("net.onnx", Path("there"), {"how": how, "shape": (3, 8, 8), "minutes": 2.0})]
    assert not list(tmp_path.iterdir())


def test_an_audit_has_the_usual_preprocessing_unless_told_otherwise(joulemark, asked):
    joulemark("audit", "net.onnx")
    assert asked == [("net.onnx", None, {"how": Preprocessing(), "shape": None, "minutes": 5.0})]


def test_the_measured_commands_own_options_are_not_ours(joulemark, tmp_path):
    code, out, err = joulemark("measure", "--json", "sh", "-c", 'echo "$@" > said', "sh", "--repeat", "--json", "-o")
    assert (code, out) == (0, "")
    assert (tmp_path / "said").read_text() == "--repeat --json -o\n"
    assert json.loads(err)["repeat"] == 1


def test_the_report_in_a_file_is_that_of_json(joulemark, tmp_path):
    code, _, err = joulemark("measure", "--json", "-o", "report.json", "--", "sh", "-c", "exit 5")
    assert code == 5
    assert (tmp_path / "report.json").read_text() == err
    report = json.loads(err)
    assert (report["command"], report["exit_code"]) == (["sh", "-c", "exit 5"], 5)
    code, _, err = joulemark("measure", "--repeat", "2", "true")
    assert code == 0
    assert err.startswith("joulemark: true (exit code 0, 2 of 2 runs, medians)\n")


def test_a_report_that_cannot_be_written_is_said_and_the_exit_code_kept(joulemark):
    code, _, err = joulemark("measure", "-o", "no/where", "true")
    assert code == 2
    assert err.endswith("joulemark: cannot write no/where: No such file or directory\n")
    assert joulemark("measure", "-o", "no/where", "sh", "-c", "exit 5")[0] == 5


@pytest.mark.parametrize(("word", "code"), [("no-such-command-anywhere", 127), ("/", 126)])
def test_what_cannot_be_run_is_one_sentence_and_leaves_no_report(joulemark, tmp_path, word, code):
    given, out, err = joulemark("measure", "--json", "-o", "report.json", "--", word)
    assert (given, out) == (code, "")
    assert err.startswith("joulemark: ")
    assert word in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--repeat", "0"], ["--idle", "-1"], ["--idle", "nan"], []])
def test_measure_refuses_odd_words(refused, words):
    assert "measure --help" in refused("measure", *words, *(["true"] if words else []))
