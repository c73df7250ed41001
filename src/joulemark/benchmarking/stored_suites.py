"""Suites of users' own tasks, kept beside their results, so that boards are drawn without the user's code and data."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from joulemark.benchmarking.suite import Suite
from joulemark.benchmarking.suite_files import SuiteError, load_suite, narrowed, shipped_suites
from joulemark.record import Record
from joulemark.store import Store, task_folders
from joulemark.vocabulary import registrations

if TYPE_CHECKING:
    from joulemark.benchmarking.session import Session


class StoredSuite(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A suite as it was run, when that began (ISO 8601, UTC), and the digest that its task file had then."""

    started: str
    suite: Suite
    file_sha256: str | None = None  # of objects of a session: none


def keep_suite(session: Session) -> None:
    """Keep the suite of a user's own task beside its results."""
    suite = session.suite
    file = next((one.digest for one in registrations() if (one.kind, one.name) == ("builder", suite.task.data)), None)
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    stored = StoredSuite(started=now, suite=suite, file_sha256=file)
    session.store.write(f"suites/{suite.name}.json", msgspec.json.format(msgspec.json.encode(stored), indent=1) + b"\n")


def suite_of_results(
    name: str,
    results: str | Path,
    *,
    limit_images: int | None = None,
    limit: float | None = None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Suite:
    """The suite of that name, to read its results: one of ours, of a .toml file, or of a user's task that was run.

    Of a task file (``mine.py``) and its name the latest run counts; ``warn`` hears a sentence if that file was changed
    since. Raises :class:`SuiteError` if there is none.
    """
    own = name.endswith(".py")
    if name.endswith(".toml") or (not own and name in shipped_suites()):
        return narrowed(load_suite(name), limit_images=limit_images, limit=limit)
    stored = _stored(Path(name).stem if own else name, results, limit_images)
    found = [one for one in stored if limit is None or one.suite.limits_points == (limit,)]
    if found:
        latest = max(found, key=lambda one: one.started)
        if own and _changed(name, latest.file_sha256):
            warn(
                f"{name} was changed since these results were made: `joulemark run {name}` makes those of its new state"
            )
        return latest.suite
    if own:
        raise SuiteError(_none_of(name, results, limit, stored))
    return narrowed(load_suite(name), limit_images=limit_images, limit=limit)  # it says what is known


def _none_of(name: str, results: str | Path, limit: float | None, stored: Sequence[StoredSuite]) -> str:
    """Why there is nothing to show of a task file at a limit, and at which limits there is something."""
    if not stored:
        return f"there are no results of {name} in {results}: run `joulemark run {name}`"
    last = ", ".join(f"--limit {one:g}" for one in sorted({max(one.suite.limits_points) for one in stored}))
    return (
        f"the board of {name} at --limit {limit:g} is not in {results}, where the last run was at {last}: "
        f"`joulemark run {name} --limit {limit:g}` draws it and makes only what is not there"
    )


def _changed(name: str, before: str | None) -> bool:
    """Whether a task file is known to have another digest now; it need not be here."""
    try:
        return before is not None and hashlib.sha256(Path(name).read_bytes()).hexdigest() != before
    except OSError:
        return False


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
