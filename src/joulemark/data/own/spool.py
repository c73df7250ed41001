"""Rows that are read once: kept in memory while they are few, and in a mapped file when they are not."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemark.data.own.batches import Batch

MEMORY_BYTES = 1 << 30
"""Inputs of one split up to this size stay in memory."""


class DiskFullError(ValueError):
    """More rows than the disk should hold; the message is one sentence."""


def gathered(
    name: str, batches: Iterable[Batch], *, most: int | None = None, memory_bytes: int = MEMORY_BYTES
) -> Batch:
    """All rows of ``batches``, inputs in memory or in a mapped file that goes with the process; types stay as they are.

    Raises ``ValueError`` where batches are of different kinds, hold NaN or infinity, or where there are more than
    ``most`` rows or none; :class:`DiskFullError` where they would take more than half of the free disk.
    """
    kept: list[Batch] = []
    pool = _Pool(name, memory_bytes)
    for batch in checked(name, batches, most=most):
        pool.add(batch.inputs)
        kept.append(Batch(batch.inputs[:0], batch.labels, batch.groups))
    labels = None if kept[0].labels is None else np.concatenate([one.labels for one in kept if one.labels is not None])
    groups = None if kept[0].groups is None else np.concatenate([one.groups for one in kept if one.groups is not None])
    return Batch(pool.whole(), labels, groups)


def checked(name: str, batches: Iterable[Batch], *, most: int | None = None) -> Iterator[Batch]:
    """The same batches one by one. Raises ``ValueError`` as :func:`gathered` does."""
    first: Batch | None = None
    rows = 0
    for batch in batches:
        first = first or batch._replace(inputs=batch.inputs[:0])
        _refuse_unlike(name, first, batch, rows)
        rows += len(batch.inputs)
        if most is not None and rows > most:
            raise ValueError(
                f"{name} gave more than {most:,} rows and did not end: if there are more, say how many at most, as "
                f"`rows = {10 * most}` in the task file"
            )
        yield batch
    if not rows:
        raise ValueError(f"{name} gave no rows")


class _Pool:
    """Inputs as they come in."""

    def __init__(self, name: str, memory_bytes: int) -> None:
        self.name, self.memory_bytes = name, memory_bytes
        self.parts: list[NDArray[Any]] = []
        self.bytes = 0
        self.path: Path | None = None
        self.remove: weakref.finalize[..., _Pool] | None = None  # of the folder, if the rows are refused on the way
        self.rows = 0
        self.form: tuple[np.dtype[Any], tuple[int, ...]] = (np.dtype(np.float32), ())

    def add(self, inputs: NDArray[Any]) -> None:
        self.form = inputs.dtype, inputs.shape[1:]
        self.rows += len(inputs)
        self.bytes += inputs.nbytes
        # A copy: the user may fill the same array again. A mapped file is not read into memory for that.
        self.parts.append(inputs if _is_mapped(inputs) else inputs.copy())
        if self.bytes > self.memory_bytes:
            self._spill()

    def whole(self) -> NDArray[Any]:
        if self.path is None:
            return self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts)
        self._spill()
        mapped = np.memmap(self.path, self.form[0], "r", shape=(self.rows, *self.form[1]))
        if self.remove is not None:  # from now on the folder stays as long as the rows
            self.remove.detach()
        weakref.finalize(mapped, shutil.rmtree, str(self.path.parent), ignore_errors=True)
        return mapped

    def _spill(self) -> None:
        if self.path is None:
            folder = tempfile.mkdtemp(prefix="joulemark-rows-")
            self.path = Path(folder, "rows")
            self.remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        waiting = sum(part.nbytes for part in self.parts)
        free = shutil.disk_usage(self.path.parent).free
        if waiting > free / 2:
            raise DiskFullError(
                f"{self.name} gives more than half of what is free on the disk ({self.bytes / 1e9:.1f} GB so far): "
                "free some space, or give a Dataset with a length, whose rows are then read when they are needed"
            )
        with self.path.open("ab") as file:
            for part in self.parts:
                file.write(np.ascontiguousarray(part).data)
        self.parts = []


def _is_mapped(array: NDArray[Any]) -> bool:
    """Whether an array, or what it is a view of, is a file that is mapped into memory."""
    owner: Any = array
    while isinstance(owner, np.ndarray) and not isinstance(owner, np.memmap):
        owner = owner.base
    return isinstance(owner, np.memmap)


def _refuse_unlike(name: str, first: Batch, batch: Batch, before: int) -> None:
    """Raise ``ValueError`` for a batch of another kind than the first, or that holds NaN or infinity."""
    if batch.inputs.shape[1:] != first.inputs.shape[1:] or batch.inputs.dtype != first.inputs.dtype:
        forms = [f"{one.inputs.dtype} {list(one.inputs.shape[1:])}" for one in (batch, first)]
        raise ValueError(
            f"{name} gave rows of {forms[0]} behind row {before:,}, and of {forms[1]} before: give one kind"
        )
    for what in ("labels", "groups"):
        if (getattr(batch, what) is None) != (getattr(first, what) is None):
            raise ValueError(f"{name} gave {what} with some rows and not with others: give them with all, or with none")
    if batch.inputs.dtype.kind == "f":
        bad = ~np.isfinite(batch.inputs).all(axis=tuple(range(1, batch.inputs.ndim)))
        if bad.any():
            raise ValueError(
                f"row {before + int(np.flatnonzero(bad)[0]):,} of {name} holds NaN, infinity or a number too large for "
                "float32: clean it, or leave it out"
            )
