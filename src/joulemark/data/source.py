"""What a reader gives back: inputs and labels as published, with the official test set apart."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pair: TypeAlias = tuple[NDArray[Any], NDArray[np.int64]]
"""Inputs (n, ...), of any shape and type of number, and their labels (n,), from 0 upwards.

Images are (n, channels, height, width), one byte a value. Windows of a sensor are (n, channels, time).
"""

NAMES = ("train", "policy", "validation", "test")
"""The splits of every task."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set. ``test`` is the official test set, ``None`` where there is none.

    ``groups`` says which rows belong together, as those of one subject: one number for each row of ``train``, and
    ``test_groups`` one for each of ``test``. ``given`` says to which split the source gives each row of ``train``, ""
    being none; the official test set is the test split. Raises ``ValueError`` if something is not of that form.
    """

    train: Pair
    test: Pair | None = None
    groups: NDArray[np.int64] | None = None
    test_groups: NDArray[np.int64] | None = None
    given: NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        for name, pair in (("training", self.train), ("test", self.test)):
            if pair is not None:
                _refuse_pair(name, *pair)
        if self.test is not None and self.test[0].dtype != self.train[0].dtype:
            raise ValueError(
                f"training inputs are {self.train[0].dtype} and test inputs {self.test[0].dtype}: give one type"
            )
        if (self.groups is None or self.test is None) != (self.test_groups is None):
            raise ValueError("groups are of training and of test rows, or of neither: give both, or leave both out")
        for rows, groups in (
            (self.train[1], self.groups),
            (None if self.test is None else self.test[1], self.test_groups),
        ):
            if groups is not None and rows is not None and (groups.shape != rows.shape or groups.dtype != np.int64):
                raise ValueError(f"{len(rows)} rows need as many int64 groups, not {groups.dtype} {groups.shape}")
        if self.given is not None:
            _refuse_given(self.given, len(self.train[1]), NAMES if self.test is None else NAMES[:3])


def _refuse_pair(name: str, inputs: NDArray[Any], labels: NDArray[np.int64]) -> None:
    if inputs.ndim < 2 or inputs.dtype.kind not in "uif":
        raise ValueError(f"inputs must be numbers of shape (n, ...), not {inputs.dtype} {inputs.shape}")
    if labels.shape != inputs.shape[:1] or labels.dtype != np.int64:
        raise ValueError(f"{len(inputs)} inputs need as many int64 labels, not {labels.dtype} {labels.shape}")
    if not len(labels):
        raise ValueError(f"there are no {name} rows: the reader found an empty file, or left everything out")
    if labels.min() < 0:
        raise ValueError(f"labels must be 0 or more, not {labels.min()} to {labels.max()}")
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        row = int(np.flatnonzero(~np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1))[0])
        raise ValueError(
            f"{name} row {row} holds NaN or infinity: clean the data in their reader, or leave the row out"
        )


def _refuse_given(given: NDArray[np.str_], rows: int, names: tuple[str, ...]) -> None:
    if given.shape != (rows,) or given.dtype.kind != "U":
        raise ValueError(f"{rows} training rows need as many names of splits, not {given.dtype} {given.shape}")
    if unknown := sorted({*given.tolist()} - {"", *names}):
        raise ValueError(f"training rows can be given to {', '.join(names)} or to none, not to {unknown[0]!r}")
