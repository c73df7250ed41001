"""Data sets: one reader per set, splits by content.

A reader is a module with ``read() -> Source``. Installed packages add theirs as entry points of group
``joulemark.data``, whose value is that module.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

from joulemark.data.source import Source
from joulemark.data.splits import Split, split
from joulemark.record import unknown_name
from joulemark.task import Task

READERS = {
    "mnist5k": "joulemark.data.mnist5k",
    "mnist": "joulemark.data.mnist",
    "fashion": "joulemark.data.fashion",
    "cifar10": "joulemark.data.cifar10",
    "svhn": "joulemark.data.svhn",
}


def load(task: Task) -> dict[str, Split]:
    """The splits of a task. ``ValueError`` for an unknown reader, ``FileNotFoundError`` where data are missing."""
    known = readers()
    if task.data not in known:
        raise ValueError(unknown_name("data set", task.data, known))
    source = importlib.import_module(known[task.data]).read()
    if not isinstance(source, Source):
        raise ValueError(f"data set {task.data!r} ({known[task.data]}) gave {type(source).__name__}, not a Source")
    return split(task, source)


def readers() -> dict[str, str]:
    """Names of all data sets and the modules that read them: ours, then those of installed packages."""
    found = {entry.name: entry.value for entry in entry_points(group="joulemark.data")}
    return {**found, **READERS}
