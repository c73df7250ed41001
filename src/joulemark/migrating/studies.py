"""Settings of a study, stated as they are today: once they held the digest of all code, which no study has to share.

They are restated, once, only where the suites of all the commits that made its rows say the same as that of today; a
study of other settings, or of which that is not known, keeps what it says, and the next run begins it anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from joulemark.benchmarking.study_settings import filled_models, opened_models, study_settings
from joulemark.benchmarking.suite import Suite
from joulemark.benchmarking.suite_files import parse_suite, shipped_suites
from joulemark.energy.model import LEARNED
from joulemark.migrating.history import History

COUNTERS: list[tuple[str, str]] = []
"""Records of the first schema were made where there was no energy counter."""


def restated(stated: Mapping[str, Any], path: Path, history: History) -> dict[str, Any]:
    """A study with the settings of today, if they can be known; else as it is. ``path`` is where it lies."""
    text = shipped_suites().get(stated["key"])
    rows = list(_rows(stated, path.parent.parent))
    if text is None or not rows:
        return dict(stated)
    suite = parse_suite(text, where=stated["key"])
    if any(name.endswith((".toml", ".json")) or name.partition(":")[0] == LEARNED for name in suite.models):
        return dict(stated)  # filled with a file of some machine: nobody knows with which
    name = f"suites/{stated['key']}.toml"
    then = [history.file(commit, name) for commit in {row["provenance"].get("commit") for row in rows}]
    if any(one is None or not _says_the_same(one, suite) for one in then):
        return dict(stated)
    filled = filled_models(suite.models, opened_models(suite))
    hardware_class = path.resolve().parent.parent.parent.name
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


def _says_the_same(text: bytes, suite: Suite) -> bool:
    """Whether a suite of then asks for what that of today asks for, whichever techniques they name."""
    try:
        then = parse_suite(text.decode(), where=suite.name)
    except ValueError:
        return False
    plain = [msgspec.structs.replace(one, techniques=(), free=False) for one in (then, suite)]
    return plain[0] == plain[1]
