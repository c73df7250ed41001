"""Suites of users' own tasks, kept beside their results, so that boards are drawn without the user's code and data."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from joulemark.benchmarking.suite import Suite
from joulemark.benchmarking.suite_files import SuiteError, load_suite, narrowed, shipped_suites
from joulemark.record import Record
from joulemark.run_command import run_command
from joulemark.store import Store, hardware_classes, task_folders
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

    With a ``limit`` in points it is one that was run at this limit, alone or among others. Of a task file (``mine.py``)
    and its name the latest run counts. ``warn`` hears a sentence if there are boards at other limits, if that file was
    changed since, and of what cannot be read. Raises :class:`SuiteError` if there is none.
    """
    own = name.endswith(".py")
    file = name if own else f"{name}.py"
    if name.endswith(".toml") or (not own and name in shipped_suites()):
        whole = narrowed(load_suite(name), limit_images=limit_images)
        alone = narrowed(whole, limit=limit)
        return _cut(whole, limit) if limit in whole.limits_points and not _was_run(alone, results) else alone
    stored, unread = _stored(Path(name).stem if own else name, results)
    found = [
        one
        for one in stored
        if one.suite.task.limit_images == limit_images and (limit is None or limit in one.suite.limits_points)
    ]
    if not stored and not own:
        return narrowed(load_suite(name), limit_images=limit_images, limit=limit)  # it says what is known
    if not found:
        raise SuiteError(_none_of(file, results, _options(limit, limit_images), stored, unread))
    for sentence in unread:
        warn(sentence)
    latest = max(found, key=lambda one: one.started)
    limits = {points for one in found for points in one.suite.limits_points} - set(latest.suite.limits_points)
    if limits and limit is None:
        warn(f"this is the latest board of {file}; there are others: {_each(limits)}")
    if own and _changed(name, latest.file_sha256):
        command = run_command(latest.suite).replace(Path(name).name, name, 1)
        warn(f"{name} was changed since these results were made: `{command}` makes those of its new state")
    return _cut(latest.suite, limit)


def _cut(suite: Suite, limit: float | None) -> Suite:
    """The suite with one of its limits alone, under its name."""
    return suite if limit is None else msgspec.structs.replace(suite, limits_points=(limit,))


def _was_run(suite: Suite, results: str | Path) -> bool:
    folder = f"{suite.task.name}-{suite.task.key[:8]}"
    stores = (Store(results, hardware_class=one, task=folder) for one in hardware_classes(results, folder))
    return any(f"{suite.name}.json" in store.names("studies") for store in stores)


def _none_of(name: str, results: str | Path, asked: str, stored: Sequence[StoredSuite], unread: Sequence[str]) -> str:
    """Why there is nothing to show of a task file as it was asked for, and what there is of it."""
    if not stored and unread:
        return unread[0]
    if not stored:
        return f"there are no results of {name}{asked} in {results}: run `joulemark run {name}{asked}`"
    there = {_options(points, one.suite.task.limit_images) for one in stored for points in one.suite.limits_points}
    return (
        f"the board of {name}{asked} is not in {results}, where it was run with{' or with'.join(sorted(there))}: "
        f"`joulemark run {name}{asked}` makes what is missing of it"
    )


def _options(limit: float | None, limit_images: int | None) -> str:
    points = "" if limit is None else f" --limit {limit:g}"
    return points if limit_images is None else f"{points} --limit-images {limit_images}"


def _each(limits: Iterable[float]) -> str:
    return ", ".join(f"--limit {one:g}" for one in sorted(limits))


def _changed(name: str, before: str | None) -> bool:
    """Whether a task file is known to have another digest now; it need not be here."""
    try:
        return before is not None and hashlib.sha256(Path(name).read_bytes()).hexdigest() != before
    except OSError:
        return False


def _stored(name: str, results: str | Path) -> tuple[list[StoredSuite], list[str]]:
    """Every suite of a task that is kept, of all its states and limits; a sentence of each that cannot be read."""
    found, unread = [], []
    for hardware_class, folder in task_folders(results):
        if not re.fullmatch(rf"{re.escape(name)}(-first\d+)?-[0-9a-f]{{8}}", folder):
            continue
        store = Store(results, hardware_class=hardware_class, task=folder)
        for file in store.names("suites"):
            data = store.read(f"suites/{file}") if file.endswith(".json") else None
            try:
                found += [] if data is None else [msgspec.json.decode(data, type=StoredSuite)]
            except msgspec.MsgspecError as error:
                place = f"{results}/{hardware_class}/{folder}/suites/{file}"
                unread.append(
                    f"{place} cannot be read and is left out ({error}): the `joulemark run` that wrote it does so again"
                )
    return found, unread
