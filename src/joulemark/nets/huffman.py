"""Huffman codes of whole numbers: the shortest way to write each symbol in bits of its own, and back.

Source: D. A. Huffman, "A Method for the Construction of Minimum-Redundancy Codes", Proc. IRE 40(9), 1952. Codes are
canonical (ordered by length, then by symbol), so that the lengths alone say them.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Symbols = NDArray[np.int64]

LONGEST_CODE = 48
"""Bits; a code is built in 64 of them. A symbol this rare needs more than ten thousand million others."""


def code_lengths(counts: Sequence[int]) -> tuple[int, ...]:
    """Bits of the code of each symbol 0, 1, ... that occurs ``counts`` times; 0 for one that does not occur.

    A single symbol gets one bit. Raises ``ValueError`` for a negative count.

    >>> code_lengths([5, 1, 1, 0, 2])
    (1, 3, 3, 0, 2)
    """
    if any(count < 0 for count in counts):
        raise ValueError("a symbol cannot occur less than never")
    lengths = [0] * len(counts)
    ties = itertools.count()  # equal counts are merged in the order in which they came
    heap = [(count, next(ties), [symbol]) for symbol, count in enumerate(counts) if count]
    if len(heap) == 1:
        lengths[heap[0][2][0]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        (one, _, few), (other, _, more) = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in (*few, *more):
            lengths[symbol] += 1
        heapq.heappush(heap, (one + other, next(ties), few + more))
    return tuple(lengths)


def encode(symbols: Symbols, lengths: Sequence[int]) -> bytes:
    """The symbols, of shape (n,), one code after the other, filled up with zeros to whole bytes.

    Raises ``ValueError`` for a symbol without a code.
    """
    bits = np.asarray(lengths, np.int64)
    if len(symbols) and (symbols.min() < 0 or symbols.max() >= len(bits) or not bits[symbols].all()):
        raise ValueError("a symbol has no code")
    codes = np.array(_codes(lengths), np.int64)
    counts = bits[symbols]
    starts = np.cumsum(counts) - counts
    out = np.zeros(int(counts.sum()), np.uint8)
    for place in range(int(bits.max(initial=0))):  # the place-th bit of every code that is long enough
        long = counts > place
        out[starts[long] + place] = (codes[symbols[long]] >> (counts[long] - 1 - place)) & 1
    return np.packbits(out).tobytes()


def decode(data: bytes, lengths: Sequence[int], count: int) -> Symbols:
    """The first ``count`` symbols of what :func:`encode` wrote, shape (count,).

    Raises ``ValueError`` if the lengths make no code, or the data hold no such symbols.
    """
    known = sorted((length, symbol) for symbol, length in enumerate(lengths) if length)
    if any(not 0 <= length <= LONGEST_CODE for length in lengths) or sum(2.0**-length for length, _ in known) > 1.0:
        raise ValueError("these lengths make no code")
    codes = _codes(lengths)
    table = {(length, codes[symbol]): symbol for length, symbol in known}
    longest = known[-1][0] if known else 0
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).tolist()
    found: list[int] = []
    code = length = 0
    for bit in bits:
        if len(found) == count:
            break
        code, length = 2 * code + bit, length + 1
        symbol = table.get((length, code))
        if symbol is not None:
            found.append(symbol)
            code = length = 0
        elif length > longest:
            raise ValueError("the data hold a code that there is not")
    if len(found) < count:
        raise ValueError(f"the data end after {len(found)} of {count} symbols")
    return np.array(found, np.int64)


def _codes(lengths: Sequence[int]) -> list[int]:
    """Canonical codes: counted up within a length, shifted from one length to the next."""
    codes, code, before = [0] * len(lengths), 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths) if length):
        code <<= length - before
        codes[symbol], code, before = code, code + 1, length
    return codes
