"""Verbs that make results: what is refused before anything runs, what a dry run says, and what a run leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from suite_text import whole_text

pytestmark = pytest.mark.usefixtures("own_registrations")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "quik"], "did you mean 'quick'"),
        (["run", "nowhere.toml"], "no suite file nowhere.toml"),
        (["run", "quick", "-t", "int9"], "did you mean 'int8'"),
        (["run", "quick", "-t", "nowhere.py"], "nowhere.py is not a Python file"),
        (["run", "quick", "-t", "int8+optimal-brain-damage"], "cannot come here"),
        (["run", "quick", "-t", "optimal-brain-damage:sparsity=1.5"], "sparsity = 1.5 is out of range, 0.3 to 0.99"),
        (["run", "quick", "-t", "optimal-brain-damage:sparsty=0.9"], "did you mean 'sparsity'"),
        (["run", "quick", "-t", "optimal-brain-damage:sparsity=much"], "sparsity must be a number"),
        (["run", "quick", "-t", "optimal-brain-damage:0.9"], "write knobs as name:knob=value"),
        (["run", "quick", "--seeds", "0"], "--seeds"),
        (["run", "quick", "--limit-images", "9"], "--limit-images"),
        (["free", "quik"], "did you mean 'quick'"),
        (["publish", "quik", "--to", "there"], "did you mean 'quick'"),
        (["publish", "quick", "--to", "there"], "no baseline of suite 'quick' was trained in runs"),
    ],
)
def test_bad_input_gets_one_sentence(refused, words, said):
    assert said in refused(*words)


def test_results_that_are_a_file_are_refused(refused, tmp_path):
    (tmp_path / "afile").write_text("x")
    assert "afile is a file, and results are kept in a folder" in refused("run", "quick", "--results", "afile")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("threads = 1\n", "threads = 1000000\n", "the suite asks for 1000000 threads"),
        ('builder = "lenet"', 'builder = "lenett"', "unknown builder 'lenett': did you mean 'lenet'"),
        ('data = "mnist5k"', 'data = "mnist6k"', "unknown data set 'mnist6k'"),
    ],
)
def test_a_suite_that_names_what_is_not_there_is_refused_before_it_runs(refused, tmp_path, old, new, said):
    text = whole_text("quick")
    assert text.count(old) == 1
    (tmp_path / "odd.toml").write_text(text.replace(old, new))
    for words in (["--dry-run"], []):
        assert said in refused("run", "odd.toml", *words)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import joulemark\nraise ValueError('half written')\n", "cannot be imported: ValueError: half written"),
        ("import sys\nsys.exit(0)\n", "cannot be imported: SystemExit: 0"),
        ("x = 1\n", "defines no technique"),
    ],
)
def test_a_broken_technique_file_gets_one_sentence(refused, tmp_path, text, said):
    (tmp_path / "broken.py").write_text(text)
    told = refused("run", "quick", "-t", "broken.py")
    assert "broken.py" in told
    assert said in told


def test_a_dry_run_does_nothing(joulemark, tmp_path):
    code, out, _ = joulemark("run", "quick", "--dry-run")
    assert code == 0
    assert "train the baseline, seed 0" in out
    assert not list(tmp_path.iterdir())
    assert json.loads(joulemark("run", "quick", "--dry-run", "--json")[1]) == out.splitlines()


@pytest.fixture
def planned(joulemark, tmp_path):
    """A function that says which techniques a run would try, in its order; `two.py` has two."""
    one = "@joulemark.technique('{0}', paper='none', family='test')\ndef {0}(net, bench):\n    return net\n"
    (tmp_path / "two.py").write_text("import joulemark\n" + one.format("early") + one.format("late"))

    def run(*words: str) -> list[str]:
        code, out, err = joulemark("run", "quick", "--seeds", "1", "--dry-run", "--json", *words)
        assert code == 0, err
        return [line.partition(", seed 0")[0] for line in json.loads(out) if "attempt" in line]

    return run


@pytest.mark.parametrize(
    ("words", "tried"),
    [
        (["-t", "two.py"], ["early", "late"]),
        (["-t", "two.py", "-t", "late"], ["late", "early"]),
        (["-t", "late+int8", "-t", "two.py"], ["late+int8", "early"]),
        (["-t", "int8", "-t", "two.py", "-t", "int8"], ["int8", "early", "late"]),
        (["-t", "baseline"], []),
    ],
)
def test_a_file_means_each_of_its_techniques_that_is_not_named_otherwise(planned, words, tried):
    assert planned(*words) == tried


def test_seeds_replace_the_suites(joulemark):
    out = joulemark("run", "quick", "--seeds", "3", "-t", "baseline", "--dry-run")[1]
    assert [line for line in out.splitlines() if "baseline, seed" in line] == [
        f"train the baseline, seed {seed}: 16 epochs" for seed in range(3)
    ]


@pytest.mark.parametrize(("verb", "function"), [("run", "run"), ("free", "run_free")])
def test_stopped_it_says_that_nothing_finished_is_lost(joulemark, monkeypatch, verb, function):
    def stop(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"joulemark.benchmarking.run.{function}", stop)
    code, out, err = joulemark(verb, "quick")
    assert (code, out) == (130, "")
    assert err == "\njoulemark: stopped. What was finished is kept; the same command goes on from there.\n"


def test_a_run_shows_its_boards_and_a_technique_that_fails_is_exit_code_1(ran):
    _, done = ran
    assert done.returncode == 1
    assert "bad-idea raised RuntimeError: no luck" in done.stderr
    assert "measured seconds per input" in done.stdout
    assert "4 steps made, 0 kept from before" in done.stdout


def test_a_run_that_is_there_makes_nothing_again(ran, joulemark):
    code, out, _ = joulemark("run", "short.toml", "-t", "int8", "--json", cwd=ran[0])
    assert code == 0
    outcome = json.loads(out.splitlines()[-1])
    assert outcome["made"] == 0
    assert outcome["kept"] > 0
    assert outcome["damaged"] == []


def test_a_damaged_record_is_made_again_and_kept_aside(ran, joulemark, tmp_path):
    shutil.copytree(ran[0], tmp_path, dirs_exist_ok=True)
    victim = next((tmp_path / "runs").rglob("attempts/*.json"))
    broken = victim.read_text()[:-200]
    victim.write_text(broken)
    code, out, err = joulemark("run", "short.toml", "-t", "int8", "--json")
    assert code == 0, err
    assert f"{victim.name} could not be read and was made again" in err
    (said,) = json.loads(out.splitlines()[-1])["damaged"]
    assert Path(said["aside"]).name == f"attempts-{victim.name}"
    assert (tmp_path / said["aside"]).read_text() == broken
    assert json.loads(victim.read_text())["key"] == victim.stem
    assert "could not be read" not in joulemark("board", "short.toml")[2]


def test_a_trained_baseline_is_published_with_its_net(ran, joulemark, tmp_path):
    code, out, _ = joulemark("publish", "short.toml", "--to", tmp_path / "there", "--json", cwd=ran[0])
    assert code == 0
    (written,) = json.loads(out)
    record = Path(written)
    assert record.is_relative_to(tmp_path / "there")
    assert json.loads(record.read_text())["technique"] == "baseline"
    assert sorted(path.suffix for path in record.parent.iterdir()) == [".json", ".safetensors"]
    assert joulemark("publish", "short.toml", "--to", tmp_path / "again")[1].startswith("Wrote ")
