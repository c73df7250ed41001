"""Inputs that are made when they are asked for: what a user's ``preprocess`` makes of rows on disk or in a data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemark.data.own.batches import CHUNK, Indexed

MEMORY_BYTES = 1 << 31
"""Inputs of one split that take up to this as float32 are made once and kept."""

Prepare = Callable[[NDArray[Any]], NDArray[np.float32]]
"""Raw inputs (n, ...) -> what the net takes, float32 (n, ...)."""


class PreparedRows:
    """Rows (n, ...) that are read and prepared at each access; slices and arrays of places give float32 arrays."""

    def __init__(self, raw: NDArray[Any] | Indexed, places: NDArray[np.int64], prepare: Prepare) -> None:
        self.raw, self.places, self.prepare = raw, places, prepare
        self.row_shape = self[:1].shape[1:]

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, then the shape of one."""
        return (len(self.places), *self.row_shape)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        return self.prepare(raw_rows(self.raw, self.places[rows]))


def raw_rows(raw: NDArray[Any] | Indexed, places: NDArray[np.int64]) -> NDArray[Any]:
    """The inputs at some places, as the user gave them."""
    if isinstance(raw, Indexed):
        return raw.fetch([raw.places[place] for place in places.tolist()]).inputs
    return np.asarray(raw[places])


def prepared(
    raw: NDArray[Any] | Indexed, places: NDArray[np.int64], prepare: Prepare
) -> NDArray[np.float32] | PreparedRows:
    """The inputs at some places as the net takes them: made now if they fit into memory, else when asked for."""
    rows = PreparedRows(raw, places, prepare)
    if 4 * int(np.prod(rows.shape, dtype=np.int64)) > MEMORY_BYTES:
        return rows
    whole = np.empty(rows.shape, np.float32)
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        if part.shape[1:] != rows.row_shape:
            raise ValueError(
                f"preprocess(batch) makes rows of shape {list(part.shape[1:])} here and {list(rows.row_shape)} there: "
                "make one shape"
            )
        whole[start : start + CHUNK] = part
    return whole
