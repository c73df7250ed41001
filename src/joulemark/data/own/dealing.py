"""Dealing a user's rows to the four splits, and what they share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from joulemark.data.own.reading import Given

POLICY_SHARE, POLICY_MOST = 0.1, 5_000
"""Of the training rows, what trains decisions (exits, gates) instead of weights."""
MOST_SHARED = 0.5
"""Share of the test rows that may be in another split as well before nothing is believed of them."""


class Dealt(NamedTuple):
    """Some rows of what one function gave: their places in it."""

    given: Given
    places: NDArray[np.int64]


def dealt(given: Mapping[str, Given]) -> dict[str, Dealt]:
    """Train, policy, validation and test, each in the order of its hashes, so that the order of files decides nothing.

    Policy rows are those that ``policy()`` gives; else a tenth of train, at most 5,000, and without train half of
    validation, whole groups where there are any. Without train nothing is trained: ``train`` is then the policy rows,
    of which ranges are calibrated.
    """
    order = {name: np.argsort(one.hashes, kind="stable") for name, one in given.items()}
    result = {name: Dealt(given[name], places) for name, places in order.items()}
    if "policy" not in given:
        source = "train" if "train" in given else "validation"
        rows = len(given[source])
        count = min(POLICY_MOST, int(rows * POLICY_SHARE)) if source == "train" else rows // 2
        if not 0 < count < rows:
            raise ValueError(f"{given[source].name} gives {rows} rows, too few to take policy rows from: give policy()")
        # Alike rows have one hash, and must not part: the same row in two splits would be seen twice. Nor must those of
        # one group where the other part is what nets are judged by.
        order[source], together = _together(given[source], order[source], groups=source == "validation")
        edges = np.flatnonzero(together[1:] != together[:-1]) + 1
        if not len(edges):
            grouped = given[source].groups is not None and source == "validation"
            what = "the rows of one group only" if grouped else f"one row {rows:,} times"
            raise ValueError(f"{given[source].name} gives {what}: give policy()")
        count = int(edges[min(int(np.searchsorted(edges, count)), len(edges) - 1)])
        result["policy"] = Dealt(given[source], np.sort(order[source][:count]))
        result[source] = Dealt(given[source], np.sort(order[source][count:]))
        for name in ("policy", source):
            one, places = result[name]
            result[name] = Dealt(one, places[np.argsort(one.hashes[places], kind="stable")])
    if "train" not in given:
        result["train"] = result["policy"]
    return {name: result[name] for name in ("train", "policy", "validation", "test")}


def _together(given: Given, order: NDArray[np.int64], *, groups: bool) -> tuple[NDArray[np.int64], NDArray[np.bytes_]]:
    """Places in an order in which what must not part stands together, and what it is, place by place."""
    if not groups or given.groups is None:
        return order, given.hashes[order]
    marks = np.array([hashlib.sha256(str(one).encode()).hexdigest()[:32] for one in given.groups.tolist()], "S32")
    order = order[np.argsort(marks[order], kind="stable")]
    return order, marks[order]


def shared_rows(given: Mapping[str, Given]) -> list[str]:
    """A warning for each two splits that share rows, or subjects.

    Raises ``ValueError`` if more than half of the test rows are in another split.
    """
    warnings = [*_shared_groups(given), *_without_groups(given)]
    names = [name for name in ("test", "validation", "policy", "train") if name in given]
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            share = float(np.isin(given[name].hashes, given[other].hashes).mean())
            if name == "test" and share > MOST_SHARED:
                raise ValueError(
                    f"{100 * share:.0f} % of the rows of test() are in {other}() as well: what is measured on them "
                    "says nothing of new rows, so take them out of one of the two"
                )
            if share:
                shown = f"{100 * share:.0f}" if share > 0.1 else f"{100 * share:.2g}"
                warnings.append(f"{shown} % of the rows of {name}() are in {other}() as well")
    return warnings


def _without_groups(given: Mapping[str, Given]) -> Iterator[str]:
    has = [name for name, one in given.items() if one.groups is not None]
    for name, one in given.items() if has else ():
        if one.groups is None and name in ("validation", "test"):
            yield f"{name}() gives no groups and {has[0]}() does: its rows count as independent of each other"
        elif one.groups is None:
            yield f"{name}() gives no groups and {has[0]}() does: whether one of them is in both is not known"


def missing_classes(given: Mapping[str, Given], classes: int) -> list[str]:
    """A warning for each split that lacks a class.

    Raises ``ValueError`` for a label that is none of ``classes``.
    """
    warnings = []
    for one in given.values():
        if one.labels is None:
            continue
        if int(one.labels.max()) >= classes:
            raise ValueError(f"{one.name} gives the label {int(one.labels.max())}, and net() has {classes} outputs")
        missing = np.flatnonzero(np.bincount(one.labels, minlength=classes) == 0).tolist()
        if missing:
            listed = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
            word = "class" if len(missing) == 1 else "classes"
            warnings.append(f"{one.name} has no row of {word} {listed}: nothing is known there of what is lost on it")
    return warnings


def _shared_groups(given: Mapping[str, Given]) -> Iterator[str]:
    names = [name for name, one in given.items() if one.groups is not None]
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            both = np.intersect1d(given[name].groups, given[other].groups)  # type: ignore[arg-type]
            if len(both) and {name, other} != {"train", "policy"}:
                yield f"group {both[0]} is in {name}() and in {other}(): rows of one group are not independent"
