"""The data of tasks of users' own, held in this process: they are read when a task is opened, and not again."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemark.data.own.dealing import Dealt
from joulemark.data.own.reading import Given
from joulemark.data.own.rows import Prepare, prepared
from joulemark.data.splits import Split
from joulemark.task import Task


@dataclasses.dataclass(frozen=True)
class OwnData:
    """What a user gave, dealt to splits, and what his functions make of it.

    ``labels`` are those of the rows of a split where he gave none: what the original net predicts.
    """

    splits: dict[str, Dealt]
    prepare: Prepare
    labels: dict[str, NDArray[np.int64]] = dataclasses.field(default_factory=dict)
    augment: Callable[..., Any] | None = None
    loss: Callable[..., Any] | None = None


_held: dict[str, OwnData] = {}


def hold(label: str, data: OwnData) -> None:
    """Keep the data of the task of that label for this process."""
    _held[label] = data


def own_data(task: Task) -> OwnData:
    """The data of a user's task. ``ValueError`` if the task was not opened in this process."""
    if task.data not in _held:
        raise ValueError(f"the data of task {task.name!r} are its user's own: open its task file first")
    return _held[task.data]


def own_splits(task: Task) -> dict[str, Split]:
    """The four splits of a user's task."""
    data = own_data(task)
    return {name: _split(task, data, name) for name in data.splits}


def _split(task: Task, data: OwnData, name: str) -> Split:
    given, places = data.splits[name]
    places = places[: task.limit_images]
    labels = data.labels[name] if given.labels is None else given.labels[data.splits[name].places]
    groups = None
    if given.groups is not None:
        groups = np.unique(given.groups[places], return_inverse=True)[1].astype(np.int64)
    return Split(prepared(given.inputs, places, data.prepare), labels[: task.limit_images], groups)


def digest_of(given: dict[str, Given]) -> str:
    """SHA-256 of all that a user's functions gave, the same whatever the order of rows in a split."""
    told = "\n".join(f"{name} {one.digest}" for name, one in sorted(given.items()))
    return hashlib.sha256(told.encode()).hexdigest()
