"""Data sets: one reader per set, splits by content.

A reader is a module with ``read() -> Source``. Installed packages add theirs as entry points of group
``joulemark.data``, whose value is that module.
"""

from __future__ import annotations

from joulemark.data.own.own_data import own_splits
from joulemark.data.source import Source
from joulemark.data.splits import Split, split
from joulemark.task import Task
from joulemark.vocabulary import look_up, names


def load(task: Task) -> dict[str, Split]:
    """The splits of a task. ``ValueError`` for an unknown reader, ``FileNotFoundError`` where data are missing."""
    if task.own is not None:
        return own_splits(task)
    reader = look_up("data set", task.data)
    try:
        source = reader.read()
    except (ValueError, OSError):
        raise  # what a reader says of its files
    except Exception as error:  # a reader is anybody's
        raise ValueError(
            f"data set {task.data!r} ({readers()[task.data]}) raised {type(error).__name__}: {error}"
        ) from error
    if not isinstance(source, Source):
        where = readers()[task.data]
        raise ValueError(f"data set {task.data!r} ({where}) gave {type(source).__name__}, not a Source")
    return split(task, source)


def readers() -> dict[str, str]:
    """Names of all data sets and the modules that read them."""
    return names("data set")
