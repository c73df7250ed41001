"""Reading what a user's functions give, once: the rows of each split, their hashes, and what is odd about them."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemark.data.digests import row_bytes
from joulemark.data.own.batches import Batch, Indexed, arrays, indexed, iterated
from joulemark.data.own.calling import called
from joulemark.data.own.folder import PictureFolder
from joulemark.data.own.spool import checked, gathered

READ_TWICE = 256
"""Rows that are read twice, to see whether they are drawn anew each time."""
MOST_ITERATED = 1_000_000
"""Rows that are read of an iterable at most, unless the user says how many there are."""


@dataclasses.dataclass(frozen=True)
class Given:
    """The rows of one split as the user gave them.

    ``hashes`` (n,) are SHA-256 digests of inputs, 32 hex digits each. Of a data set too large to be kept, ``lazy``, the
    inputs are read when they are needed. ``classes`` are the folders of a folder of pictures.
    """

    name: str
    inputs: NDArray[Any] | Indexed
    labels: NDArray[np.int64] | None
    groups: NDArray[np.str_] | None
    hashes: NDArray[np.bytes_]
    shape: tuple[int, ...]
    lazy: bool = False
    classes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def kind(self) -> str:
        """The type of its numbers: "uint8"."""
        return str((self.inputs.fetch(self.inputs.places[:1]).inputs if self.lazy else self.inputs).dtype)  # type: ignore[union-attr]

    @property
    def digest(self) -> str:
        """SHA-256 of all rows with their labels and groups, the same whatever their order."""
        labels = [b""] * len(self) if self.labels is None else [b"%d" % label for label in self.labels.tolist()]
        groups = [b""] * len(self) if self.groups is None else [str(one).encode() for one in self.groups.tolist()]
        rows = sorted(b"\0".join(row) for row in zip(map(bytes, self.hashes), labels, groups, strict=True))
        return hashlib.sha256(f"{self.shape}".encode() + b"\1".join(rows)).hexdigest()


def read(name: str, made: Any, *, random_allowed: bool, most: int | None = None) -> Given:
    """The rows of one split, read once; ``name`` is that of the function that gave them.

    A data set that gives other rows when it is read again is refused unless ``random_allowed``: then the draw that is
    read is kept, with a warning. Raises ``ValueError`` in one sentence for what cannot be used.
    """
    classes: tuple[str, ...] = ()
    if isinstance(made, str | Path):
        made = PictureFolder(name, Path(made))
        classes = tuple(made.classes)
    whole = arrays(name, made)
    if whole is not None:
        return _given(name, gathered(name, [whole], memory_bytes=whole.inputs.nbytes))
    rows = indexed(name, made)
    if rows is None:
        return _given(name, gathered(name, iterated(name, made), most=most or MOST_ITERATED))
    if not len(rows.places):
        raise ValueError(f"{name} gave no rows")
    warnings = _drawn_anew(name, rows, random_allowed=random_allowed)
    if _bytes(rows) > _free_bytes() / 2:
        if warnings:
            raise ValueError(
                f"{name} gives other inputs each time it is read, and is too large to keep one draw: move what is "
                "random to augment(batch, generator)"
            )
        return _lazy(name, rows, classes)
    given = _given(name, gathered(name, rows.batches()))
    return dataclasses.replace(given, classes=classes, warnings=warnings)


def _given(name: str, batch: Batch) -> Given:
    return Given(
        name=name, inputs=batch.inputs, labels=batch.labels, groups=batch.groups, hashes=_hashes(batch.inputs),
        shape=batch.inputs.shape[1:],
    )  # fmt: skip


def _hashes(inputs: NDArray[Any]) -> NDArray[np.bytes_]:
    # Bytes of NumPy's "S" lose zeros at their end, so digests are written in hex.
    return np.array([hashlib.sha256(row_bytes(row)).hexdigest()[:32] for row in inputs], "S32")


def _drawn_anew(name: str, rows: Indexed, *, random_allowed: bool) -> tuple[str, ...]:
    """Read some rows twice: a warning, or ``ValueError``, if they are not the same."""
    spread = np.unique(np.linspace(0, len(rows.places) - 1, min(READ_TWICE, len(rows.places))).round().astype(int))
    places = [rows.places[index] for index in spread.tolist()]
    first, second = (rows.fetch(places).inputs for _ in range(2))
    if first.shape == second.shape and np.array_equal(first, second, equal_nan=first.dtype.kind == "f"):
        return ()
    if not random_allowed:
        raise ValueError(
            f"{name} gives other inputs each time it is read: leave random changes out of it (nets must be judged on "
            "the same rows)"
        )
    return (
        f"{name} gives other inputs each time it is read: one draw is kept; move what is random to "
        "augment(batch, generator)",
    )


def _lazy(name: str, rows: Indexed, classes: tuple[str, ...]) -> Given:
    """A data set that is too large to be kept: read once for labels and hashes, and again when rows are needed."""
    first = rows.fetch([rows.places[0]])
    told = [(one.labels, one.groups, _hashes(one.inputs)) for one in checked(name, rows.batches())]
    return Given(
        name=name,
        inputs=rows,
        labels=None if first.labels is None else np.concatenate([one for one, _, _ in told if one is not None]),
        groups=None if first.groups is None else np.concatenate([one for _, one, _ in told if one is not None]),
        hashes=np.concatenate([one for _, _, one in told]),
        shape=first.inputs.shape[1:],
        lazy=True,
        classes=classes,
    )


def _bytes(rows: Indexed) -> int:
    return rows.fetch([rows.places[0]]).inputs.nbytes * len(rows.places)


def _free_bytes() -> int:
    return shutil.disk_usage(tempfile.gettempdir()).free


def read_all(functions: Mapping[str, Callable[[], Any]], *, most: int | None = None) -> dict[str, Given]:
    """The splits that a user's functions give, by name; each function is called once.

    Raises ``ValueError`` in one sentence where one raises, or where the splits do not fit together.
    """
    found: dict[str, Given] = {}
    for name, function in functions.items():
        made = called(f"{name}()", function)
        found[name] = read(f"{name}()", made, random_allowed=name in ("train", "policy"), most=most)
    _refuse_unlike(list(found.values()))
    return found


def _refuse_unlike(given: Sequence[Given]) -> None:
    """Raise ``ValueError`` where splits are of different shapes, or only some have labels."""
    first = given[0]
    for one in given[1:]:
        if one.shape != first.shape:
            raise ValueError(
                f"{one.name} gives rows of shape {list(one.shape)} and {first.name} of {list(first.shape)}: "
                "give one shape"
            )
        if one.kind != first.kind:
            raise ValueError(
                f"{one.name} gives {one.kind} and {first.name} gives {first.kind}: give one type of number"
            )
        if (one.labels is None) != (first.labels is None):
            has, lacks = (first, one) if one.labels is None else (one, first)
            raise ValueError(f"{has.name} gives labels and {lacks.name} gives none: give all of them labels, or none")
        if one.classes != first.classes and one.classes and first.classes:
            raise ValueError(
                f"{one.name} has the classes {', '.join(one.classes)[:80]} and {first.name} has "
                f"{', '.join(first.classes)[:80]}: give the same folders"
            )
