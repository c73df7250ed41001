"""The digest of a data set: the same whatever the order of its rows."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from joulemark.data.source import Source

BYTE = 255
"""Labels up to this are hashed as one byte, others as eight."""


def digest(source: Source) -> str:
    """SHA-256 of all inputs with their labels, and with groups and given splits where there are any.

    Of one set of images of bytes: the SHA-256 of the sorted SHA-256 digests of (label byte, pixels). Other data hash
    more: the type and shape of an input first, and in each row its group and its given split. With an official test
    set: the SHA-256 of that of the training rows followed by that of the test rows, both as bytes.
    """
    width = 1 if all(pair is None or pair[1].max() <= BYTE for pair in (source.train, source.test)) else 8
    head = _head(source, width)
    sets = [(*source.train, source.groups, source.given)]
    if source.test is not None:
        sets.append((*source.test, source.test_groups, None))
    parts = [_digest(head, width, *one) for one in sets]
    return (parts[0] if source.test is None else hashlib.sha256(b"".join(parts)).digest()).hex()


def _head(source: Source, width: int) -> bytes:
    """Empty for images of bytes with one-byte labels: such data had a digest before there were any others."""
    inputs = source.train[0]
    stated = {
        "type": inputs.dtype.newbyteorder("<").str,
        "shape": inputs.shape[1:],
        "label_bytes": width,
        "groups": source.groups is not None,
        "given": source.given is not None,
    }
    usual = {"type": "|u1", "shape": inputs.shape[1:], "label_bytes": 1, "groups": False, "given": False}
    return b"" if stated == usual and inputs.ndim == 4 else msgspec.json.encode(stated, order="deterministic")


def _digest(
    head: bytes,
    width: int,
    inputs: NDArray[Any],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    given: NDArray[np.str_] | None,
) -> bytes:
    rows = []
    for index, (row, label) in enumerate(zip(inputs, labels, strict=True)):
        told = int(label).to_bytes(width, "little") + row_bytes(row)
        told += b"" if groups is None else int(groups[index]).to_bytes(8, "little", signed=True)
        told += b"" if given is None else str(given[index]).encode()
        rows.append(hashlib.sha256(told).digest())
    return hashlib.sha256(head + b"".join(sorted(rows))).digest()


def row_bytes(row: NDArray[Any]) -> bytes:
    """The bytes of one input, little-endian whatever the machine or file has."""
    return row.astype(row.dtype.newbyteorder("<"), copy=False).tobytes()
