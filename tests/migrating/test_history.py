"""Traces from the commits that records name, in a repository of three commits made here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from joulemark.migrating.history import History
from joulemark.migrating.moves import MOVED

TREE = {
    "__init__.py": "",
    "training.py": "from joulemark import stats\n\ndef fit():\n    return stats.mean()\n",
    "stats.py": "def mean():\n    return 1\n",
    "data/__init__.py": "import numpy\n",
    "benchmark/__init__.py": "",
    "benchmark/making.py": "from joulemark.training import fit\n",
    "unused.py": "x = 1\n",
}


def git(folder: Path, *words: str) -> str:
    settings = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *settings, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path) -> Path:
    git(tmp_path, "init", "-q")
    for name, text in TREE.items():
        path = tmp_path / "src/joulemark" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def record(commit: str | None) -> dict:
    return {
        "task_key": "unknown", "technique": "baseline", "provenance": {"commit": commit, "versions": {"numpy": "9.9"}},
    }  # fmt: skip


def test_the_trace_is_that_of_the_commit_with_the_names_of_today(repository):
    first = git(repository, "rev-parse", "--short=12", "HEAD")
    stats = repository / "src/joulemark/stats.py"
    stats.write_text("def mean():\n    return 2\n")
    git(repository, "commit", "-qam", "another mean")
    second = git(repository, "rev-parse", "HEAD")
    with History(repository, {}) as history:
        old, new = (history.trace(record(commit), "made") for commit in (first, second))
        assert history.trace(record(first), "made") == old
    assert set(old) == {
        "joulemark.training", "joulemark.data", "joulemark.benchmarking.making", "joulemark.judging.statistics",
        "joulemark.benchmarking",
        "package numpy",
    }  # fmt: skip
    assert old["package numpy"] == "numpy 9.9"  # the record says it
    assert {unit for unit in old if old[unit] != new[unit]} == {"joulemark.judging.statistics"}
    assert MOVED["joulemark.stats"] == "joulemark.judging.statistics"


@pytest.mark.parametrize(
    "commit", [None, "unknown", "0123456789ab", "HEAD", "--help", "0123456789ab+dirty", "0123456 x"]
)
def test_what_names_no_commit_has_no_trace(repository, commit):
    with History(repository, {}) as history:
        assert history.trace(record(commit), "made") == {}


def test_what_is_no_repository_is_said(tmp_path):
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(ValueError, match="is no Git repository: name the folder that holds the commits"):
            History(folder, {})


def test_what_was_read_is_gone_at_the_end(repository):
    with History(repository, {}) as history:
        history.trace(record(git(repository, "rev-parse", "HEAD")), "made")
        (folder,) = history._trees.values()
        assert folder.is_dir()
    assert not folder.exists()
