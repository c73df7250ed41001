"""Data sets: one reader per set, splits by content."""

from __future__ import annotations

import importlib

from joulemark.data.splits import Split, split
from joulemark.record import unknown_name
from joulemark.task import Task

READERS = {"mnist5k": "joulemark.data.mnist5k"}


def load(task: Task) -> dict[str, Split]:
    """The splits of a task. ``ValueError`` for an unknown reader, ``FileNotFoundError`` where data are missing."""
    if task.data not in READERS:
        raise ValueError(unknown_name("data set", task.data, READERS))
    images, labels = importlib.import_module(READERS[task.data]).read()
    return split(task, images, labels)
