"""Bringing stored records to the schema of today, in place: what they say stays, what was not known then is null.

Of the first schema: scores keep which rows are right and not the predicted classes, knobs of a chain become one
dictionary for each link, and the digest of all code becomes a trace, where the commit that made the record can be read.
Of every schema: modules that were moved since get the names of today. A record is written anew only if something
changes, sealed, under the name that it had.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec

from joulemark.benchmarking.errors import sentence
from joulemark.benchmarking.task_files import parse_task, shipped_tasks
from joulemark.judging.syntax import OURS
from joulemark.machine.atomic_files import replace_file
from joulemark.migrating.history import History, moved
from joulemark.migrating.knobs import migrate_knobs
from joulemark.migrating.scores import migrate_scores
from joulemark.migrating.studies import restated
from joulemark.record import SCHEMA, Record
from joulemark.store import KINDS, seal_of

TRACED = ("made", "attempts", "trials", "free")
"""Folders of the records that keep a trace."""


class Migrated(Record, frozen=True, kw_only=True):
    """What was brought over: records read, records written, those of them whose code is not known, and what failed."""

    records: int
    written: int
    unknown: int
    failed: tuple[str, ...]


def migrate(results: Path, *, repository: Path | None = None) -> Migrated:
    """Bring every record below ``results`` over: a folder of results, or of published baselines.

    ``repository`` is where the commits are that the records name; without one, or where it lacks a commit, the code
    that made a record of the first schema stays unknown until it is run again with one. Raises ``ValueError`` if there
    is nothing to bring over, or if ``repository`` is none.
    """
    paths = [path for path in sorted(results.rglob("*.json")) if _kind(path) is not None and _is_plain(path)]
    if not paths:
        raise ValueError(f"there are no records below {results}: name a folder of results")
    written = unknown = 0
    failed = []
    with History(repository, _tasks()) if repository is not None else nullcontext() as history:
        for path in paths:
            try:
                changed, known = _brought_over(path, history)
            except Exception as error:  # noqa: BLE001  (a file may hold anything: the others are brought over)
                failed.append(f"{path}: {_sentence(error)}")
                continue
            written, unknown = written + changed, unknown + (not known)
    return Migrated(records=len(paths), written=written, unknown=unknown, failed=tuple(failed))


def _brought_over(path: Path, history: History | None) -> tuple[bool, bool]:
    """Whether a file was written anew, and whether the code of its record is known."""
    kind = str(_kind(path))
    stated, seal = _opened(path)
    record = brought_over(stated, kind, history)
    if kind == "studies" and history is not None and stated["schema"] == 1:
        record = restated(record, path, history)
    if record != stated:
        # What had no seal gets none: nobody can tell what was edited in it.
        sealed = {**record, "seal": seal_of(record)} if seal is not None else record
        replace_file(path, msgspec.json.format(msgspec.json.encode(sealed), indent=1) + b"\n")
    return record != stated, kind not in TRACED or bool(record["code"])


def brought_over(stated: Mapping[str, Any], kind: str, history: History | None) -> dict[str, Any]:
    """One record, as plain JSON values without its seal, in the schema of today.

    Raises ``ValueError`` for a schema that this version does not know.
    """
    record = dict(stated)
    schema = record["schema"]
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise ValueError(f"it has schema {schema!s:.20}, this version reads 1 to {SCHEMA}: update Joulemark")
    if record["schema"] == 1:
        record = migrate_scores(record)
        if "knobs" in record:
            record["knobs"] = migrate_knobs(record["technique"], record["knobs"])
        if kind in TRACED:
            record["code"] = {}
        record["schema"] = 2
    if kind in TRACED and not record["code"] and history is not None:
        record["code"] = history.trace(record, kind)
    if kind in TRACED:
        record["code"] = moved(record["code"], OURS)
    plain = msgspec.to_builtins(msgspec.convert(record, type=_TYPES[kind]))  # the order and form of a new record
    return dict(msgspec.json.decode(msgspec.json.encode(plain)))


_TYPES = {folder: record_type for record_type, folder in KINDS.items()}


def _kind(path: Path) -> str | None:
    """Folder of the type of a record: that it lies in, or "made" for a published baseline."""
    if path.parent.name in _TYPES:
        return path.parent.name
    return "made" if path.parent.parent.name == "baselines" else None


def _is_plain(path: Path) -> bool:
    """Whether it is a file: a pipe would be waited for, and a link leads elsewhere."""
    return stat.S_ISREG(path.lstat().st_mode)


def _opened(path: Path) -> tuple[dict[str, Any], str | None]:
    """The JSON values of a record without its seal, and the seal. ``ValueError`` if it was edited since."""
    try:
        stated = msgspec.json.decode(path.read_bytes())
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"it is no record: {error}") from error
    if not isinstance(stated, dict) or "schema" not in stated:
        raise ValueError("it is no record")
    seal = stated.pop("seal", None)
    if seal is not None and seal != seal_of(stated):
        raise ValueError("it was edited after it was made: its seal does not fit its content")
    return stated, seal


def _sentence(error: Exception) -> str:
    known = isinstance(error, ValueError | OSError)
    return (
        sentence(error)
        if known
        else f"its values are not those of a record ({type(error).__name__}: {sentence(error)})"
    )


def _tasks() -> dict[str, Any]:
    """The tasks of the package, by key."""
    tasks = (parse_task(text, where=name) for name, text in shipped_tasks().items())
    return {task.key: task for task in tasks}


def lines(migrated: Migrated) -> Iterator[str]:
    """What was done, for a person."""
    yield from (f"left as it is: {one}" for one in migrated.failed)
    every = f"{migrated.records} {'record' if migrated.records == 1 else 'records'}"
    yield f"{every}: {migrated.written} brought over, {len(migrated.failed)} left as they are."
    if migrated.unknown:
        yield f"The code of {migrated.unknown} is not known: add --history REPOSITORY with the commits they name."
