"""Dealing the rows of a source out to splits: by class, by group, or as the source gives them."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemark.data.digests import row_bytes
from joulemark.data.source import NAMES, Source
from joulemark.task import Task


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some rows of a set: ``chosen`` are their places in it."""

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    chosen: NDArray[np.int64]


def by_class(task: Task, source: Source) -> dict[str, Rows]:
    """Every split holds the classes in the proportions of the rows it is dealt from; sizes are rows.

    Rows are dealt in the order of the SHA-256 of (split seed, input). A training row that is also a test row, byte by
    byte, is left out. Rows that repeat within a set are not looked for (MNIST, Fashion-MNIST and CIFAR-10 have neither
    kind).
    """
    result = {}
    for names, pool in _pools(source):
        sizes = _sizes(task, names, len(pool.labels), "images")
        order = _in_order(task, pool)
        members = [order[pool.labels[order] == c] for c in range(task.classes)]
        for name, size in sizes.items():
            counts = shares(size, [len(rows) for rows in members])
            chosen = np.concatenate([rows[:count] for rows, count in zip(members, counts, strict=True)])
            members = [rows[count:] for rows, count in zip(members, counts, strict=True)]
            result[name] = dataclasses.replace(pool, chosen=chosen)
    return result


def by_group(task: Task, source: Source) -> dict[str, Rows]:
    """Every split holds whole groups, such as subjects, and none is in two splits; sizes are groups.

    Groups are dealt in the order of the SHA-256 of (split seed, number of the group).
    """
    if source.groups is None:
        raise ValueError(f"task {task.name!r} splits by group, and the {task.data} reader gives no groups")
    if source.test_groups is not None and (both := np.intersect1d(source.groups, source.test_groups)).size:
        raise ValueError(
            f"group {both[0]} of the {task.data} data is in the training and in the test set: split by class, or leave "
            "it out of one of them"
        )
    result = {}
    for names, pool in _pools(source):
        if pool.groups is None:
            raise ValueError(f"task {task.name!r} splits by group, and the {task.data} reader gives no groups")
        groups = sorted({*pool.groups.tolist()}, key=lambda group: _hash(task, f"group {group}".encode()))
        sizes, order, start = _sizes(task, names, len(groups), "groups"), _in_order(task, pool), 0
        for name, size in sizes.items():
            mine = groups[start : start + size]
            start += size
            result[name] = dataclasses.replace(pool, chosen=order[np.isin(pool.groups[order], mine)])
    return result


def given(task: Task, source: Source) -> dict[str, Rows]:
    """The splits that the source gives; sizes are rows, and must be those of the source."""
    if source.given is None:
        raise ValueError(f"task {task.name!r} takes given splits, and the {task.data} reader gives none")
    pool = Rows(*source.train, source.groups, np.arange(len(source.train[1])))
    order = _in_order(task, pool)
    result = {name: dataclasses.replace(pool, chosen=order[source.given[order] == name]) for name in NAMES}
    if source.test is not None:
        test = Rows(*source.test, source.test_groups, np.arange(len(source.test[1])))
        result["test"] = dataclasses.replace(test, chosen=_in_order(task, test))
    for name, rows in result.items():
        stated, found = getattr(task.splits, name), len(rows.chosen)
        if stated != found:
            raise ValueError(
                f"the {task.data} data give {found or 'no'} rows to {name}, and task {task.name!r} says {stated}"
            )
    return result


def shares(size: int, available: list[int]) -> list[int]:
    """How many of each class to take: ``size`` in the proportions of ``available``, by largest remainder.

    Never more of a class than there are, as long as ``size`` is at most their sum. Equal remainders: the first class.

    >>> shares(5, [10, 20, 30])
    [1, 2, 2]
    """
    total = sum(available)
    whole = [size * count // total for count in available]
    by_remainder = sorted(range(len(available)), key=lambda c: -(size * available[c] % total))
    for c in by_remainder[: size - sum(whole)]:
        whole[c] += 1
    return whole


def _pools(source: Source) -> list[tuple[tuple[str, ...], Rows]]:
    """Which splits are dealt from which rows."""
    inputs, labels, groups = *source.train, source.groups
    if source.test is None:
        return [(NAMES, Rows(inputs, labels, groups, np.arange(len(labels))))]
    seen = {row_bytes(row) for row in source.test[0]}
    fresh = np.array([row_bytes(row) not in seen for row in inputs], bool)
    if not fresh.all():
        inputs, labels, groups = inputs[fresh], labels[fresh], None if groups is None else groups[fresh]
    test = Rows(*source.test, source.test_groups, np.arange(len(source.test[1])))
    return [(NAMES[:3], Rows(inputs, labels, groups, np.arange(len(labels)))), (NAMES[3:], test)]


def _sizes(task: Task, names: tuple[str, ...], there: int, what: str) -> dict[str, int]:
    sizes = {name: getattr(task.splits, name) for name in names}
    if sum(sizes.values()) > there:
        raise ValueError(
            f"task {task.name!r} wants {sum(sizes.values())} {what} for {', '.join(names)}: there are {there}"
        )
    return sizes


def _in_order(task: Task, rows: Rows) -> NDArray[np.int64]:
    keys = [_hash(task, row_bytes(row)) for row in rows.inputs]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)


def _hash(task: Task, content: bytes) -> bytes:
    return hashlib.sha256(f"{task.split_seed}:".encode() + content).digest()
