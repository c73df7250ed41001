"""Splits by content, not by position: the same input is in the same split whatever the file order."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemark.data.dealing import Rows, by_class, by_group, given
from joulemark.data.digests import digest
from joulemark.data.source import NAMES, Source
from joulemark.task import Task

LARGEST_INTEGER = 2**24
"""Up to here float32 holds every whole number."""
UNPINNED = "unknown"
"""A task's ``data_sha256`` where nobody has computed it yet: its reader's own checksums are then all there is."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Inputs (n, ...), float32, scaled; labels (n,), int64; the group of every row, ``None`` if there are none.

    Inputs are an array, or, where they are too many for the memory, rows that are made when they are asked for.
    """

    images: Any
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None


def split(task: Task, source: Source) -> dict[str, Split]:
    """Train, policy, validation and test of ``task``, dealt as its ``split_by`` says.

    Test comes from the official test set where there is one, and the other three from the training rows alone; without
    an official test set all four come from the one set. Raises ``ValueError`` if the data are not the task's, if they
    have too few rows or groups, or if a class is missing from train.
    """
    _check(task, source)
    deal = {"class": by_class, "group": by_group, "given": given}[task.split_by]
    dealt = deal(task, source)
    _refuse_unlearnable(task, dealt)
    return {name: _split(task, dealt[name]) for name in NAMES}


def _split(task: Task, rows: Rows) -> Split:
    # Mixed, so that the first n rows of a split hold every class.
    chosen = np.random.default_rng(task.split_seed).permutation(rows.chosen)[: task.limit_images]
    groups = None if rows.groups is None else rows.groups[chosen]
    return Split(_scaled(task, rows.inputs[chosen]), rows.labels[chosen], groups)


def _check(task: Task, source: Source) -> None:
    """Raise ``ValueError`` if these are not the data of ``task``."""
    shape = source.train[0].shape[1:]
    if shape != task.input_shape or (source.test and source.test[0].shape[1:] != shape):
        raise ValueError(f"the {task.data} images are {list(shape)}: task {task.name!r} has {list(task.input_shape)}")
    found = digest(source)
    if task.data_sha256 not in (found, UNPINNED):
        raise ValueError(
            f"the {task.data} data here are not those of task {task.name!r} (digest {found[:12]}, expected "
            f"{task.data_sha256[:12]}): use the published files, or the package version that the project pins"
        )
    if any(pair is not None and pair[1].max() >= task.classes for pair in (source.train, source.test)):
        raise ValueError(f"the {task.data} data hold labels that are none of the {task.classes} classes")


def _refuse_unlearnable(task: Task, dealt: dict[str, Rows]) -> None:
    counts = np.bincount(dealt["train"].labels[dealt["train"].chosen], minlength=task.classes)
    if missing := np.flatnonzero(counts == 0).tolist():
        raise ValueError(
            f"no training row of task {task.name!r} has label {missing[0]}, so nothing could learn it: deal "
            "more rows to train, or declare fewer classes"
        )


def _scaled(task: Task, inputs: NDArray[Any]) -> NDArray[np.float32]:
    axes = (1,) * (inputs.ndim - 2)
    with np.errstate(over="ignore"):
        result = inputs.astype(np.float32)
    if inputs.dtype == np.uint8:
        result /= np.float32(255.0)  # in place: CIFAR-10 is 600 MB in this form
    if task.mean:
        mean, deviation = (np.array(v, np.float32).reshape(-1, *axes) for v in (task.mean, task.deviation))
        result -= mean
        result /= deviation
    if inputs.dtype.kind in "iu" and _largest(inputs) > LARGEST_INTEGER:
        raise ValueError(
            f"the {task.data} inputs are integers beyond {LARGEST_INTEGER:,}, which 32-bit numbers would round: number "
            "them anew in their reader"
        )
    if inputs.dtype.kind == "f" and not np.isfinite(result).all():
        raise ValueError(f"the {task.data} inputs do not fit into 32-bit numbers: scale them in their reader")
    return result


def _largest(inputs: NDArray[Any]) -> int:
    """The largest whole number, sign dropped; of the smallest of its kind, too, whose sign cannot be dropped."""
    return 0 if not inputs.size else max(int(inputs.max()), -int(inputs.min()))
