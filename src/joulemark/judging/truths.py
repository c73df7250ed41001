"""What is true of the rows of a split, as a record, and what a score says of them."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
from numpy.typing import NDArray

from joulemark.judging.metrics.metric import Classes, metric
from joulemark.judging.packed import pack, unpack
from joulemark.record import Score, Truth, content_key


def truth_record(
    task: str,
    task_key: str,
    split: str,
    labels: NDArray[np.int64],
    *,
    classes: int,
    groups: NDArray[np.int64] | None = None,
    net: str | None = None,
) -> Truth:
    """The record of what is true of a split; of groups only which rows share one is kept, not their names."""
    if groups is not None:
        _, groups = np.unique(groups, return_inverse=True)
    packed = pack(labels), None if groups is None else pack(groups)
    return Truth(
        key=_key(task_key, split, labels, classes, groups, net), task=task, task_key=task_key, split=split,
        rows=len(labels), classes=classes, labels=packed[0], groups=packed[1], net=net,
    )  # fmt: skip


def truth_key(truth: Truth) -> str:
    """The key that a truth has by its content. Of what is unpacked: other builds of zlib write other bytes."""
    return _key(truth.task_key, truth.split, labels_of(truth), truth.classes, groups_of(truth), truth.net)


def _key(
    task_key: str,
    split: str,
    labels: NDArray[np.int64],
    classes: int,
    groups: NDArray[np.int64] | None,
    net: str | None,
) -> str:
    digests = [
        None if array is None else hashlib.sha256(np.asarray(array, "<i8").tobytes()).hexdigest()
        for array in (labels, groups)
    ]
    return content_key("truth", task_key, split, classes, digests, net)


def labels_of(truth: Truth) -> Classes:
    """The true class of every row. ``ValueError`` if the record does not hold one for each."""
    return _rows(truth.labels, truth.rows, "labels")


def groups_of(truth: Truth) -> NDArray[np.int64] | None:
    """The group of every row, ``None`` where rows do not come in groups."""
    return None if truth.groups is None else _rows(truth.groups, truth.rows, "groups")


def predicted_of(score: Score) -> Classes:
    """What a score keeps as predicted. ``ValueError`` if that is not of every row."""
    if score.predicted is None:
        raise ValueError("a score of the first schema keeps which rows are right, and not what was predicted")
    predicted = _unpacked(score.predicted)
    if len(predicted) != score.rows:
        raise ValueError(f"predictions are of {len(predicted)} rows, and the score is of {score.rows}")
    return predicted


def score_of_logits(logits: NDArray[np.float32], truth: Truth, name: str) -> Score:
    """The metric of that name on logits (rows, classes) of the rows of a truth."""
    by = metric(name)
    predicted = by.keep(logits)
    return Score(
        split=truth.split,
        metric=name,
        rows=truth.rows,
        value=by.value(labels_of(truth), predicted),
        predicted=pack(predicted),
        truth=truth.key,
    )


def _rows(text: str, rows: int, what: str) -> NDArray[np.int64]:
    array = _unpacked(text)
    if array.shape != (rows,):
        raise ValueError(f"{what} of shape {list(array.shape)} are not one for each of {rows} rows")
    return array


@functools.lru_cache(maxsize=16)  # a board reads the same rows for every limit
def _unpacked(text: str) -> NDArray[np.int64]:
    array = unpack(text)
    array.flags.writeable = False
    return array
