"""The command as a whole: every verb is there, explains itself and speaks JSON, and nothing slow is imported early."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from importlib.metadata import version

import pytest

VERBS = ["init", "run", "free", "publish", "export", "board", "compare", "report", "explain", "check", "migrate"]
VERBS += ["list", "doctor", "profile", "agree", "audit", "calibrate", "measure", "replay", "selftest-gpu"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(joulemark, verb):
    code, out, err = joulemark(verb, "--help")
    assert (code, err) == (0, "")
    assert "--json" in out


def test_help_names_every_verb_once(joulemark):
    code, out, _ = joulemark("--help")
    assert code == 0
    assert sorted(re.findall(r"^│ ([a-z][a-z-]*) {2,}", out, re.MULTILINE)) == sorted(VERBS)


WORDS = {
    "run": ["short.toml", "-t", "int8", "--json"],  # it is there already
    "publish": ["short.toml", "--to", "published", "--json"],
    "board": ["short.toml", "--json"],
    "compare": ["int8", "baseline", "--suite", "short.toml", "--json"],
    "report": ["short.toml", "-o", "page.html", "--json"],
    "explain": ["int8", "--suite", "short.toml", "--json"],
    "check": ["runs", "--json"],
    "migrate": ["runs", "--json"],  # they are of today
    "list": ["techniques", "--json"],
    "profile": ["lenet", "--inputs", "1", "--json"],
    "agree": ["lenet", "convnet", "--json"],
    "doctor": ["--json"],
    "measure": ["--json", "true"],
}
"""All verbs but `free`, `audit` and `calibrate`, which measure for long; their JSON is tested with their rooms."""


@pytest.mark.parametrize("verb", WORDS)
def test_a_verb_prints_json_and_nothing_else(ran, joulemark, verb):
    code, out, err = joulemark(verb, *WORDS[verb], cwd=ran[0])
    assert code == 0, err
    said = err if verb == "measure" else out  # what the command prints is its own
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
    done = subprocess.run([sys.executable, "-m", "joulemark.cli", "--help"], capture_output=True)
    assert done.returncode == 0
    assert time.monotonic() - began < 2.0  # 0.3 s on a quiet machine, Python's start included


@pytest.mark.parametrize("words", [["--version"], ["--version", "run"]])
def test_the_version_is_said_at_once(joulemark, words):
    assert joulemark(*words) == (0, f"joulemark {version('joulemark')}\n", "")


def test_a_short_option_asks_for_help_too(joulemark):
    assert joulemark("-h") == joulemark("--help")
    assert joulemark("profile", "-h") == joulemark("profile", "--help")
