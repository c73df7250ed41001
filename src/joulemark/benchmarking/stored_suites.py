"""Suites of users' own tasks, kept beside their results, so that boards are drawn without the user's code and data."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from joulemark.benchmarking.suite import Suite
from joulemark.benchmarking.suite_files import SuiteError, load_suite, narrowed, shipped_suites
from joulemark.record import Record
from joulemark.store import Store, task_folders

if TYPE_CHECKING:
    from joulemark.benchmarking.session import Session


class StoredSuite(Record, frozen=True, kw_only=True):
    """A suite as it was run, and when that began (ISO 8601, UTC)."""

    started: str
    suite: Suite


def keep_suite(session: Session) -> None:
    """Keep the suite of a user's own task beside its results."""
    suite = session.suite
    stored = StoredSuite(started=datetime.now(UTC).isoformat(timespec="microseconds"), suite=suite)
    session.store.write(f"suites/{suite.name}.json", msgspec.json.format(msgspec.json.encode(stored), indent=1) + b"\n")


def suite_of_results(
    name: str, results: str | Path, *, limit_images: int | None = None, limit: float | None = None
) -> Suite:
    """The suite of that name, to read its results: one of ours, of a .toml file, or of a user's task that was run.

    Of a task file (``mine.py``) and its name the latest run counts. Raises :class:`SuiteError` if there is none.
    """
    own = name.endswith(".py")
    if name.endswith(".toml") or (not own and name in shipped_suites()):
        return narrowed(load_suite(name), limit_images=limit_images, limit=limit)
    stem = Path(name).stem if own else name
    found = _stored(stem, results, limit_images)
    if limit is not None:
        found = [one for one in found if one.suite.limits_points == (limit,)]
    if found:
        return max(found, key=lambda one: one.started).suite
    if own:
        of = "" if limit is None else f" at a limit of {limit:g} points"
        raise SuiteError(f"there are no results of {name}{of} in {results}: run `joulemark run {name}`")
    return narrowed(load_suite(name), limit_images=limit_images, limit=limit)  # it says what is known


def _stored(name: str, results: str | Path, limit_images: int | None) -> list[StoredSuite]:
    task = name if limit_images is None else f"{name}-first{limit_images}"
    found = []
    for hardware_class, folder in task_folders(results):
        if not re.fullmatch(rf"{re.escape(task)}-[0-9a-f]{{8}}", folder):
            continue
        data = Store(results, hardware_class=hardware_class, task=folder).read(f"suites/{name}.json")
        try:
            found += [] if data is None else [msgspec.json.decode(data, type=StoredSuite)]
        except msgspec.MsgspecError as error:
            raise SuiteError(f"{hardware_class}/{folder}/suites/{name}.json cannot be read: {error}") from error
    return found
