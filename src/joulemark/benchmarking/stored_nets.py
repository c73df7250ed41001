"""One net of all that are stored, by the beginning of a key: that of its trial or attempt, or its own hash."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from joulemark.benchmarking.task_files import load_task, shipped_tasks
from joulemark.data import load
from joulemark.data.files import cache_folder
from joulemark.nets.net import Net, hash_of
from joulemark.record import Attempt, Trial
from joulemark.store import Store, folders
from joulemark.task import Task
from joulemark.vocabulary import look_up

SHORTEST = 6
"""Characters of a key that are needed to name a net by it."""


@dataclasses.dataclass(frozen=True)
class StoredSubject:
    """A net, its hash and the record that led to it; ``None`` where only the net itself is known."""

    net: Net
    hash: str
    record: Trial | Attempt | None


def stored_subject(subject: str, results: str) -> StoredSubject:
    """The net that ``subject`` names: a saved .safetensors file, or the beginning of a key below ``results``.

    All hardware classes and tasks are searched. Raises ``ValueError`` for what names no net, or several.
    """
    if subject.endswith(".safetensors"):
        return _of_file(Path(subject), results)
    if len(subject) < SHORTEST:
        raise ValueError(f"{subject!r} is too short to name a net: give at least {SHORTEST} characters of its key")
    found: dict[str, list[tuple[Store, Trial | Attempt | None]]] = {}
    for store in _stores(results):
        for net, record in _named(store, subject):
            found.setdefault(net, []).append((store, record))
    if not found:
        raise ValueError(
            f"no trial, attempt or net below {results} begins with {subject!r:.80}: `joulemark board SUITE` lists the "
            "keys, and --results names another folder"
        )
    if len(found) > 1:
        raise ValueError(f"{subject!r:.80} is the beginning of {len(found)} nets' keys: give more characters")
    ((net, places),) = found.items()
    for store, record in places:
        data = store.read(f"nets/{net}.safetensors")
        if data is None:
            continue
        if hash_of(data) != net:
            raise ValueError(f"the net {net} in {store.folder}/nets is damaged: run its suite again to make it again")
        return StoredSubject(Net.from_bytes(data), net, record or _record_of(store, net))
    raise ValueError(
        f"the net {net} of {subject} is not in {places[0][0].folder}/nets, where only its records are: run its suite "
        "again, or name the folder of results that holds it with --results"
    )


def task_of(record: Trial | Attempt, more: Iterable[Task] = ()) -> Task | None:
    """The task of a record among ours and ``more``, by its key; ``None`` if it is none of these."""
    known = (*more, *(load_task(name) for name in shipped_tasks()))
    return next((task for task in known if task.key == record.task_key), None)


def validation_images(task: Task, rows: int) -> NDArray[np.float32] | None:
    """The first validation images, scaled, (rows, *input_shape); ``None`` where the data would have to be fetched."""
    return load(task)["validation"].images[:rows] if _data_here(task) else None


def _data_here(task: Task) -> bool:
    """Whether the data are in an installed package, in the folder that JOULEMARK_DATA names or in the cache."""
    below = getattr(look_up("data set", task.data), "FOLDERS", None)
    if below is None:
        return True
    given = os.environ.get("JOULEMARK_DATA")
    there = given is not None and any((Path(given) / folder).is_dir() for folder in below if Path(folder).parts)
    return there or (cache_folder() / task.data).is_dir()


def _of_file(path: Path, results: str) -> StoredSubject:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    net = Net.from_bytes(data)
    records = (_record_of(store, hash_of(data)) for store in _stores(results))
    return StoredSubject(net, hash_of(data), next((record for record in records if record is not None), None))


def _stores(results: str) -> list[Store]:
    return [Store(results, hardware_class=hardware, task=task) for hardware, task in folders(results)]


def _named(store: Store, subject: str) -> Iterator[tuple[str, Trial | Attempt | None]]:
    """Hash of each net that ``subject`` may mean, and the record that has it."""
    for kind, read in (("trials", store.trial), ("attempts", store.attempt)):
        for name in store.names(kind):
            if not name.startswith(subject) or not name.endswith(".json"):
                continue
            record: Trial | Attempt | None = read(name.removesuffix(".json"))
            if record is None:
                raise ValueError(f"{store.folder}/{kind}/{name} cannot be read: {store.damaged[-1].reason}")
            if record.net is None:
                raise ValueError(f"the attempt {record.key} left no net: {record.reason or 'it failed'}")
            yield record.net, record
    for name in store.names("nets"):
        if name.startswith(subject):
            yield name.removesuffix(".safetensors"), None


def _record_of(store: Store, net: str) -> Trial | Attempt | None:
    """A record of a net: its trial, or else an attempt."""
    records: list[Trial | Attempt] = [*store.trials(), *store.attempts()]
    return next((record for record in records if record.net == net), None)
