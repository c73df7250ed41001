"""Verbs that read results, as a person or a script meets them: board, compare, report, explain, check, migrate."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import typer
from made_up import fill as fill_checked
from stored import fill
from synthetic import FAST

from joulemark.benchmarking.suite_files import load_suite
from joulemark.explain import explanation


@pytest.fixture
def results(tmp_path):
    """Made-up results where those of the suite `quick` would be."""
    root, task = tmp_path / "made-up", load_suite("quick").task
    fill(root, task=f"{task.name}-{task.key[:8]}")
    fill(root, task="digits-89abcdef", techniques=["binary-weights"])
    fill(root, hardware="other-cpu", task="digits-89abcdef", techniques=["squeezenet"])
    return root


@pytest.fixture
def compare(joulemark, results):
    """`joulemark compare` on the made-up results."""
    return lambda *words: joulemark("compare", *words, "--results", results)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["board", "quick", "--results", "nowhere://x"], "cannot open nowhere://x"),
        (["board", "quick"], "there are no results of suite 'quick'"),
        (["report", "quick"], "run `joulemark run quick`"),
        (["compare", "int8", "small-dense"], "there are no results of suite 'quick'"),
        (["explain", "magnitud"], "did you mean 'magnitude'"),
        (["explain", "mine", "-t", "nowhere.py"], "nowhere.py is not a Python file"),
        (["explain", "int8", "--results", "nowhere://x"], "cannot open nowhere://x"),
        (["check"], "there are no results in runs"),
        (["migrate"], "there are no records below runs"),
        (["migrate", "--history", "."], "there are no records below runs"),
    ],
)
def test_bad_input_gets_one_sentence(refused, words, said):
    assert said in refused(*words)


def test_results_that_are_a_file_and_words_that_are_nowhere_are_said(refused, tmp_path):
    (tmp_path / "afile").write_text("x")
    for words in (["board", "quick", "--results", "afile"], ["check", "afile"]):
        assert "afile is a file, and results are kept in a folder" in refused(*words)
    (tmp_path / "runs/c/t/studies").mkdir(parents=True)
    (tmp_path / "runs/c/t/studies/s.json").write_text("{")
    assert "cannot read nope.md: No such file or directory" in refused("check", "-w", "nope.md")


def test_a_verdict_is_one_sentence_or_json(compare):
    code, said, err = compare(FAST.technique, "baseline")
    assert code == 0, err
    assert said.startswith("On MNIST digits, 5,000 images, toy-cpu: `conditional-deep-learning` is 2.00x faster")
    answer = json.loads(compare(FAST.technique, "baseline", "--limit", "2", "--json")[1])
    assert (answer["verdict"], answer["sentence"]) == ("cheaper", said.strip())
    assert answer["ratio"]["value"] == pytest.approx(2.0)
    assert answer["damaged"] == []


def test_no_verdict_is_an_answer_too(compare):
    code, said, _ = compare(FAST.technique, "unstructured-pruning")
    assert code == 0
    assert "simulated: no kernel skips unstructured zeros" in said


@pytest.mark.parametrize("name", ["int8", "magnitude", "small-dense+int8:images=64"])
def test_a_technique_that_was_not_run_yet_is_no_mistake(compare, results, name):
    fill(results, hardware="toy-cpu", task="digits-89abcdef", suite="digits", techniques=["int8"])
    # The study names int8, though no attempt of it finished: that is no result.
    code, said, err = compare(FAST.technique, name, "--json")
    assert code == 0, err
    answer = json.loads(said)
    assert (answer["verdict"], answer["ratio"]) == ("none", None)
    assert answer["reason"] == f"`{name}` was not run yet: `joulemark run quick -t {name}`."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["conditional-deep-learnin", "baseline"], "did you mean 'conditional-deep-learning'"),
        (["baseline", "baseline"], "are the same technique"),
        (["baseline", FAST.technique, "--board", "second"], "did you mean 'seconds'"),
        (["baseline", FAST.technique, "--limit", "1"], "run `joulemark run quick --limit 1`"),
        (["baseline", FAST.technique, "--suite", "quik"], "did you mean 'quick'"),
        (["baseline", FAST.technique, "--hardware", "toy"], "did you mean 'toy-cpu'"),
    ],
)
def test_what_cannot_be_compared_gets_one_sentence(refused, results, words, said):
    assert said in refused("compare", *words, "--results", results)


def test_a_page_is_written_where_it_is_asked_for_and_opened_if_asked(joulemark, results, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(typer, "launch", opened.append)
    assert joulemark("report", "--results", results)[:2] == (0, "Wrote report.html.\n")
    assert opened == []
    code, said, _ = joulemark("report", "-o", "page.html", "--open", "--json", "--results", results)
    assert code == 0
    page = tmp_path / "page.html"
    assert json.loads(said) == {"page": "page.html", "bytes": page.stat().st_size, "damaged": []}
    assert page.read_bytes() == (tmp_path / "report.html").read_bytes()
    assert opened == [page.as_uri()]


def test_a_page_that_cannot_be_written_is_not_opened(refused, results, monkeypatch):
    monkeypatch.setattr(typer, "launch", lambda _: pytest.fail("nothing is there to open"))
    assert "cannot write no/where.html" in refused("report", "-o", "no/where.html", "--open", "--results", results)


def test_board_report_and_a_failing_technique(ran, joulemark, tmp_path):
    shown = joulemark("board", "short.toml", cwd=ran[0])[1]
    assert "int8" in shown
    assert "no luck" in shown
    assert len(json.loads(joulemark("board", "short.toml", "--json")[1])) == 3
    page = tmp_path / "page.html"
    assert joulemark("report", "short.toml", "-o", page)[0] == 0
    assert "no luck" in page.read_text()


def test_verbs_that_read_name_a_damaged_record_every_time_and_leave_it(ran, joulemark, tmp_path):
    shutil.copytree(ran[0], tmp_path, dirs_exist_ok=True)
    victim = next((tmp_path / "runs").rglob("attempts/*.json"))
    broken = victim.read_text()[:-200]
    victim.write_text(broken)
    reading = {
        "board": ["board", "short.toml", "--json"],
        "compare": ["compare", "int8", "baseline", "--suite", "short.toml", "--json"],
        "report": ["report", "short.toml", "--json"],
        "explain": ["explain", "int8", "--suite", "short.toml", "--json"],
    }
    for verb, words in (*reading.items(), *reading.items()):  # each time
        code, out, err = joulemark(*words)
        assert f"{victim.name} could not be read and is left out: " in err, verb
        if code == 0 and verb != "board":  # its JSON is a list of boards
            assert [Path(one["path"]).name for one in json.loads(out)["damaged"]] == [victim.name]
        assert victim.read_text() == broken


def test_a_damaged_study_is_named(ran, joulemark, refused, tmp_path):
    shutil.copytree(ran[0], tmp_path, dirs_exist_ok=True)
    victim = next((tmp_path / "runs").rglob("studies/*.json"))
    victim.write_text("{")
    for _ in range(2):
        assert f"{victim.name} could not be read" in refused("board", "short.toml")
    assert f"{victim.name} could not be read" in joulemark("explain", "int8", "--suite", "short.toml")[2]


def test_explain_prints_what_its_json_says(joulemark):
    known = json.loads(joulemark("explain", "int8", "--json")[1])
    assert {one["backend"]: one["execution"] for one in known["executions"]}["onnxruntime"] == "real"
    shown = joulemark("explain", "int8")[1]
    assert known["paper"]["equations"][0] in shown
    assert "recalled, not verified" in shown


def test_committed_results_are_shown_where_there_are_no_runs(joulemark, results, tmp_path, monkeypatch):
    results.rename(tmp_path / "results")
    monkeypatch.setattr(explanation, "executions", lambda technique: ())

    def folders(*words: str) -> set[str]:
        reached = json.loads(joulemark("explain", FAST.technique, "--json", *words)[1])["reached"]
        return {row["folder"] for row in reached}

    assert folders() == {"results"}
    assert folders("--results", "mine") == set()  # what was asked for is not replaced
    shutil.copytree(tmp_path / "results", tmp_path / "runs")
    assert folders() == {"runs"}


@pytest.fixture
def checked(tmp_path):
    """A folder of results that breaks no rule, and its store."""
    root = tmp_path / "checked"
    return root, fill_checked(root)


def test_clean_is_0_broken_is_1_and_no_results_is_2(checked, joulemark, refused):
    root, store = checked
    assert joulemark("check", root) == (0, f"21 records and 6 nets in {root}: nothing broken.\n", "")

    path = next(Path(store.folder, "trials").iterdir())
    path.write_text(path.read_text().replace('"technique": "', '"technique": "x'))
    code, out, _ = joulemark("check", root, "--json")
    assert code == 1
    found = json.loads(out)
    assert found["clean"] is False
    assert any(f"trials/{path.name}" in one["path"] and "edited" in one["problem"] for one in found["broken"])
    assert joulemark("check", root)[0] == 1

    assert "there are no results in nowhere" in refused("check", "nowhere")


def test_words_of_a_text_are_held_against_the_results(checked, joulemark, tmp_path):
    root, _ = checked
    text, other = tmp_path / "note.md", tmp_path / "other.md"
    text.write_text("All is well.\n\nIt saves energy.\n")
    other.write_text("All is well.\n")
    assert joulemark("check", root, "-w", other)[0] == 0
    code, out, _ = joulemark("check", root, "--words", text, "-w", other)
    assert code == 1
    assert f"{text}:3: claims saved energy, but no measured trial is named behind it: It saves energy." in out
    code, out, _ = joulemark("check", root, "-w", text, "-w", other, "--json")
    assert code == 1
    words = json.loads(out)["words"]
    assert [one["line"] for one in words[str(text)]] == [3]
    assert words[str(other)] == []


def test_no_torch_is_needed_to_check(checked):
    root, _ = checked
    code = (
        "import sys; from joulemark.check.results import check_results; from joulemark.check.claims import unbacked;"
        f"assert check_results({str(root)!r}).broken == (); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_left_as_it_is_is_named_and_is_exit_code_1(joulemark, tmp_path):
    folder = tmp_path / "runs/here/t/failures"
    folder.mkdir(parents=True)
    old = {"schema": 1, "key": "k", "task": "t", "task_key": "tk", "technique": "int8", "seed": 0,
           "knobs": {"images": 256}, "reason": "it hung", "started": "2026-01-02T03:04:05Z"}  # fmt: skip
    (folder / "k.json").write_bytes(msgspec.json.encode(old))
    assert joulemark("migrate") == (0, "1 record: 1 brought over, 0 left as they are.\n", "")
    (folder / "bad.json").write_text("{")
    code, out, _ = joulemark("migrate", "runs")
    assert code == 1
    assert out.startswith("left as it is: runs/here/t/failures/bad.json: it is no record")
    assert out.endswith("2 records: 0 brought over, 1 left as they are.\n")
    code, out, _ = joulemark("migrate", "runs", "--json")
    assert code == 1
    found = json.loads(out)
    assert (found["records"], found["written"], len(found["failed"])) == (2, 0, 1)


def test_a_history_that_is_no_repository_is_one_sentence(refused, results):
    assert "is no Git repository" in refused("migrate", results, "--history", results)


REGISTERS = """
import joulemark
joulemark.register("metric", "of-this-test", "accuracy", module="joulemark.judging.metrics.accuracy")
"""


@pytest.fixture
def own_metric(tmp_path):
    """A suite that is judged by a metric nobody here knows, and a file that registers one of that name."""
    from suite_text import whole_text

    text = whole_text("quick")
    assert 'metric = "' not in text
    suite = tmp_path / "own.toml"
    suite.write_text(text.replace("[task]\n", '[task]\nmetric = "of-this-test"\n', 1))
    file = tmp_path / "registers.py"
    file.write_text(REGISTERS)
    yield suite, file
    from joulemark import vocabulary

    vocabulary._registered.pop(("metric", "of-this-test"), None)


@pytest.mark.parametrize("verb", ["board", "report"])
def test_results_of_a_metric_that_nobody_knows_are_refused_with_what_to_do(refused, own_metric, verb):
    suite, file = own_metric
    assert "unknown metric 'of-this-test'" in (said := refused(verb, suite))
    assert said.endswith("; name the file that registers it behind -t\n")
    assert "which is no Metric of that name" in refused(verb, suite, "-t", file)  # found, and looked at


def test_a_file_behind_t_that_is_none_is_refused(refused, tmp_path):
    assert "nowhere.py is not a Python file" in refused("check", tmp_path, "-t", "nowhere.py")
