"""`joulemark check` as a person or a script meets it: lines, JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def check(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "joulemark.cli", "check", *words], capture_output=True, text=True, timeout=120
    )


def test_clean_is_0_broken_is_1_and_no_results_is_2(folder, tmp_path):
    root, store = folder
    done = check(str(root))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"21 records and 6 nets in {root}: nothing broken.\n"

    path = next(Path(store.folder, "trials").iterdir())
    path.write_text(path.read_text().replace('"technique": "', '"technique": "x'))
    done = check(str(root), "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["clean"] is False
    assert any(f"trials/{path.name}" in one["path"] and "edited" in one["problem"] for one in found["broken"])

    done = check(str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "there are no results in" in done.stderr
    assert "Traceback" not in done.stderr


def test_words_of_a_text_are_held_against_the_results(folder, tmp_path):
    root, _ = folder
    text = tmp_path / "note.md"
    text.write_text("All is well.\n\nIt saves energy.\n")
    done = check(str(root), "--words", str(text))
    assert done.returncode == 1
    assert f"{text}:3: claims saved energy, but no measured trial is named behind it: It saves energy." in done.stdout


def test_no_torch_is_needed(folder):
    root, _ = folder
    code = (
        "import sys; from joulemark.check.results import check_results; from joulemark.check.claims import unbacked;"
        f"assert check_results({str(root)!r}).broken == (); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
