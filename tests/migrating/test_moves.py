"""The table of moved modules: what stood at the old names stands at the new ones, and nothing is told twice."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from joulemark.judging.syntax import OURS
from joulemark.judging.trace import DECLARE, is_unit, trace
from joulemark.migrating.history import moved
from joulemark.migrating.moves import MOVED

ROOT = Path(__file__).parents[2]


def test_every_moved_module_stands_where_the_table_says():
    """Of every chain of moves only the end is there."""
    ends = {new for new in MOVED.values() if new not in MOVED}
    assert set(trace(ends)) >= ends - DECLARE
    for old in MOVED:
        stem = OURS.joinpath(*old.split("."))
        assert old in MOVED.values() or not stem.with_name(f"{stem.name}.py").exists(), old


def test_every_name_is_one_of_ours():
    assert all(is_unit(name) and name.startswith("joulemark.") for pair in MOVED.items() for name in pair)


def test_no_two_modules_were_moved_to_one_place():
    assert len(set(MOVED.values())) == len(MOVED)  # whoever asks what a module was called finds one name


def test_no_chain_of_moves_ends_where_it_began():
    for old in MOVED:
        seen = [old]
        while seen[-1] in MOVED:
            seen.append(MOVED[seen[-1]])
            assert len(set(seen)) == len(seen), seen


def test_the_names_are_in_order_and_each_stands_once():
    lines = re.findall(r'^    "(.+)": "(.+)",$', (OURS / "joulemark/migrating/moves.py").read_text(), re.MULTILINE)
    assert [old for old, _ in lines] == sorted(MOVED)
    assert dict(lines) == MOVED


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout


def test_every_old_name_was_a_module_once():
    if git("rev-parse", "--is-shallow-repository").strip() != "false":
        pytest.skip("the history is not here")
    added = git("log", "--diff-filter=A", "--name-only", "--format=", "--", "src/joulemark").splitlines()
    stems = {path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__") for path in added}
    assert set(MOVED) <= {stem.replace("/", ".") for stem in stems}


@pytest.mark.parametrize("folder", ["results", "src/joulemark/baselines"])
def test_units_of_committed_records_have_names_of_today(folder):
    """A record that names a module by its old name was not brought over when the module was moved."""
    traces = []
    for path in (ROOT / folder).rglob("*.json"):
        record = msgspec.json.decode(path.read_bytes())
        traces.append(record.get("code", {}) if isinstance(record, dict) else {})
    if not any(traces):
        pytest.skip(f"no record in {folder}")
    # Some packages have the name that a module in them had: beside that module, the package is meant.
    assert not {unit for code in traces for unit in code if unit in MOVED and MOVED[unit] not in code}


def test_the_migrator_gives_every_old_name_the_one_of_today():
    ends = {old: new for old, new in MOVED.items() if new not in MOVED}
    assert set(moved(dict.fromkeys(ends, "0" * 16), OURS)) == set(ends.values())
