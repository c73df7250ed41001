"""Settings of a study, stated as they are today: once they held the digest of all code, which no study has to share.

They are restated only where the suites of the commits that made its rows say the same as that of today; a study of
other settings keeps what it says, and the next run begins it anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from joulemark.benchmarking.study_settings import filled_models, opened_models, study_settings
from joulemark.benchmarking.suite import Suite
from joulemark.benchmarking.suite_files import parse_suite, shipped_suites
from joulemark.migrating.history import History

COUNTERS: list[tuple[str, str]] = []
"""Records of the first schema were made where there was no energy counter."""


def restated(stated: Mapping[str, Any], path: Path, history: History) -> dict[str, Any]:
    """A study with the settings of today, if they can be known; else as it is. ``path`` is where it lies."""
    text = shipped_suites().get(stated["key"])
    rows = list(_rows(stated, path.parent.parent))
    if text is None or not rows or any(_counted(row) for row in rows):
        return dict(stated)
    suite = parse_suite(text, where=stated["key"])
    commits = {row["provenance"].get("commit") for row in rows}
    then = [found for commit in commits if (found := history.file(commit, f"suites/{stated['key']}.toml")) is not None]
    if not then or any(not _same(parse_suite(one.decode(), where=stated["key"]), suite) for one in then):
        return dict(stated)
    try:
        filled = filled_models(suite.models, opened_models(suite))
    except ValueError:  # a model of this machine that is not here: it would be another one
        return dict(stated)
    hardware_class = path.parent.parent.parent.name
    return {**stated, "settings": study_settings(suite, filled, hardware_class, COUNTERS)}


def _rows(stated: Mapping[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    """Its attempts and trials, as far as they are there."""
    names = [
        f"attempts/{key}" for key in [*stated["baselines"], *(k for keys in stated["attempts"].values() for k in keys)]
    ]
    for name in [*names, *(f"trials/{key}" for key in stated["trials"])]:
        file = folder / f"{name}.json"
        if file.is_file():
            yield msgspec.json.decode(file.read_bytes())


def _counted(row: Mapping[str, Any]) -> bool:
    """Whether joules were measured, by a counter that nobody names."""
    return any(isinstance(one, dict) and one.get("value") is not None for one in (row.get("joules"),))


def _same(one: Suite, other: Suite) -> bool:
    """Whether they ask for the same, whichever techniques they name."""
    plain = [msgspec.structs.replace(suite, techniques=(), free=False) for suite in (one, other)]
    return plain[0] == plain[1]
