"""Whole numbers and bits as short text in a record: the class of every row, the group of every row, right or wrong.

Whole numbers are written as ``u1[1000]:eJx...``: an unsigned little-endian type just wide enough, the shape, and the
values compressed by zlib and written in base64. Bits are hex, first row first, the last byte padded with zeros.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import zlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

LARGEST_BYTES = 1 << 28
"""No packed array unpacks to more than this: a few bytes of a hostile file must not fill the memory."""

_TYPES = ("u1", "u2", "u4")
_FORM = re.compile(r"(u1|u2|u4)\[([0-9]{1,10}(?:,[0-9]{1,10}){0,3})\]:([A-Za-z0-9+/]*={0,2})")


def pack(values: ArrayLike) -> str:
    """Whole numbers of at least 0 and below 2^32, in up to four axes, as text.

    >>> unpack(pack([3, 1, 300])).tolist()
    [3, 1, 300]
    """
    array = np.asarray(values)
    if array.dtype.kind not in "iu" or not 1 <= array.ndim <= 4:
        raise ValueError(f"only whole numbers in one to four axes can be packed, not {array.dtype} {array.shape}")
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if low < 0 or high >= 1 << 32:
        raise ValueError(f"only whole numbers from 0 to 2^32 - 1 can be packed, and these are {low} to {high}")
    kind = next(one for one in _TYPES if high < 1 << 8 * int(one[1]))
    content = np.ascontiguousarray(array, dtype=f"<{kind}").tobytes()
    text = base64.b64encode(zlib.compress(content, 9)).decode("ascii")
    return f"{kind}[{','.join(map(str, array.shape))}]:{text}"


def unpack(text: str) -> NDArray[np.int64]:
    """Inverse of :func:`pack`. ``ValueError`` for what :func:`pack` does not write."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError(f"{text[:24]!r} is no packed array: one begins like 'u1[1000]:'")
    kind, shape = form[1], tuple(int(size) for size in form[2].split(","))
    size = math.prod(shape) * int(kind[1])
    if 8 * math.prod(shape) > LARGEST_BYTES:  # eight bytes each, once they are unpacked
        raise ValueError(f"a packed array says it holds {size:,} bytes, and at most {LARGEST_BYTES:,} are unpacked")
    reader = zlib.decompressobj()
    try:
        content = reader.decompress(base64.b64decode(form[3], validate=True), size + 1)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"a packed array is damaged: {error}") from error
    if len(content) != size or not reader.eof or reader.unused_data:
        raise ValueError(
            f"a packed array is damaged: its shape {list(shape)} asks for {size:,} bytes, and it holds others"
        )
    return np.frombuffer(content, f"<{kind}").reshape(shape).astype(np.int64)


def pack_bits(right: NDArray[np.bool_]) -> str:
    """One bit a row.

    >>> pack_bits(np.array([True, False, True]))
    'a0'
    """
    return np.packbits(right).tobytes().hex()


def unpack_bits(text: str, rows: int) -> NDArray[np.bool_]:
    """Inverse of :func:`pack_bits` for so many rows. ``ValueError`` if the text does not hold one bit for each."""
    if rows < 1 or not re.fullmatch(r"(?:[0-9a-f]{2})*", text) or len(text) != 2 * math.ceil(rows / 8):
        raise ValueError(f"does not hold one bit for each of {rows} rows")
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))
    if bits[rows:].any():
        raise ValueError("has bits set behind its last row")
    return bits[:rows].astype(bool)
