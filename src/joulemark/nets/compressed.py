"""A net in as few bytes as its weights need: shared values by their place in a codebook, zeros by the gaps between.

Source: S. Han, H. Mao, W. Dally, "Deep compression", ICLR 2016 (arXiv 1510.00149), figures 2 to 5 (recalled): of a
sparse tensor the surviving weights are stored one after the other, each as the index of its value in the layer's
codebook and its distance from the one before; both streams are Huffman coded. A distance above ``LONGEST_GAP`` is
written as several. Tensors that are not shared (biases, batch norms) stay as they are.

A file is ``MAGIC``, the length of the header (8 bytes, little endian), the header as JSON, then the bytes of its
tensors in that order: codebook, lengths of both codes, both streams; or the plain values.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from joulemark.nets.header import Header
from joulemark.nets.huffman import code_lengths, decode, encode
from joulemark.nets.net import Net
from joulemark.record import Record

MAGIC = b"JOULEMARK-WEIGHTS-1\n"

LONGEST_GAP = 254
"""Places skipped at most before a weight; the symbol after it means "skip so many and no weight yet"."""

MOST_VALUES = 1 << 12
"""Different values of a tensor that is stored by a codebook, at most: beyond 12 bits little is won."""

MOST_ELEMENTS = 1 << 31
"""Of one tensor. A file that claims more is refused before anything is made for it."""

PLAIN = {"float32": torch.float32, "float64": torch.float64, "int64": torch.int64, "bool": torch.bool}

Size = Annotated[int, msgspec.Meta(ge=0)]


class Stored(Record, frozen=True, kw_only=True):
    """One tensor of a file. ``values``: entries of its codebook; 0: its plain values follow."""

    name: str
    shape: tuple[Size, ...]
    dtype: str
    masked: bool = False  # whether the places that are not stored are masked
    values: Size = 0
    symbols: Size = 0  # in each stream: weights, and skips without one
    value_bytes: Size = 0
    gap_bytes: Size = 0


class Contents(Record, frozen=True, kw_only=True):
    """The header: the net without its tensors, and what tensors follow."""

    net: Header
    tensors: tuple[Stored, ...]


def compress(net: Net) -> bytes:
    """The net as bytes; :func:`decompress` gives the same net again, but that masked weights and zeros are plain 0.

    A weight (float32, two axes or more) is stored by codebook and gaps if it is masked, or has few different values and
    is smaller so. Raises ``ValueError`` for a net of parts, a mask on another tensor, and for tensors of other kinds.
    """
    if net.parts:
        raise ValueError("a net of parts is compressed part by part")
    tensors, blocks = [], []
    for name in sorted(net.state):
        tensor, mask = net.state[name].detach(), net.masks.get(name)
        stored = _shared(name, tensor, mask) or _plain(name, tensor, mask)
        tensors.append(stored[0])
        blocks.append(stored[1])
    header = msgspec.json.encode(Contents(net=net._header({}, ""), tensors=tuple(tensors)))
    return b"".join([MAGIC, struct.pack("<Q", len(header)), header, *blocks])


def decompress(data: bytes) -> Net:
    """Inverse of :func:`compress`. Raises ``ValueError`` in one sentence if the bytes are not such a file."""
    start = len(MAGIC) + 8
    if data[: len(MAGIC)] != MAGIC or len(data) < start:
        raise ValueError("not a compressed net: it does not begin like one")
    length = struct.unpack("<Q", data[len(MAGIC) : start])[0]
    try:
        contents = msgspec.json.decode(data[start : start + length], type=Contents)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"not a compressed net: {error}") from error
    state, masks, place = {}, {}, start + length
    for stored in contents.tensors:
        if stored.dtype not in PLAIN or math.prod(stored.shape) > MOST_ELEMENTS:
            raise ValueError(f"not a compressed net: {stored.name!r} is {stored.dtype} of shape {stored.shape}")
        lengths = list(_lengths(stored))
        block = memoryview(data)[place : place + sum(lengths)]
        if len(block) < sum(lengths):
            raise ValueError(f"not a compressed net: it ends within {stored.name!r}")
        place += sum(lengths)
        tensor, there = _read(stored, block, lengths)
        state[stored.name] = tensor
        if stored.masked:
            masks[stored.name] = there
    net = contents.net
    return Net(
        builder=net.builder, input_shape=net.input_shape, options=net.options, edits=net.edits, state=state,
        masks=masks, formats=net.formats, route=net.route,
    )  # fmt: skip


def _shared(name: str, tensor: Tensor, mask: Tensor | None) -> tuple[Stored, bytes] | None:
    """A float tensor by codebook and gaps; ``None`` if it is not one of few values, or would be no smaller."""
    if tensor.dim() < 2 or tensor.dtype != torch.float32:
        return None
    flat = tensor.flatten().numpy()
    there = flat != 0 if mask is None else mask.flatten().numpy()
    codebook, indices = np.unique(flat[there], return_inverse=True)
    if not len(codebook):
        codebook = np.zeros(1, np.float32)  # 0 entries would mean plain values
    if mask is None and len(codebook) > MOST_VALUES:
        return None
    gaps, is_weight = _gaps(np.flatnonzero(there))
    values = indices.astype(np.int64)
    codes = [code_lengths(np.bincount(one, minlength=size).tolist()) for one, size in (
        (values, len(codebook)), (gaps, LONGEST_GAP + 2))]  # fmt: skip
    streams = [encode(values, codes[0]), encode(gaps, codes[1])]
    block = b"".join([codebook.tobytes(), bytes(codes[0]), bytes(codes[1]), *streams])
    if mask is None and len(block) >= flat.nbytes:
        return None
    stored = Stored(
        name=name, shape=tuple(tensor.shape), dtype="float32", masked=mask is not None, values=len(codebook),
        symbols=len(is_weight), value_bytes=len(streams[0]), gap_bytes=len(streams[1]),
    )  # fmt: skip
    return stored, block


def _gaps(places: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Symbols that lead from one place to the next, and of each whether a weight stands behind it."""
    skipped = np.diff(places, prepend=-1) - 1
    wide = LONGEST_GAP + 1
    empty = skipped // wide  # skips of so many places without a weight, before this one
    ends = np.cumsum(empty + 1) - 1
    gaps = np.full(int(ends[-1]) + 1 if len(ends) else 0, wide, np.int64)
    is_weight = np.zeros(len(gaps), np.bool_)
    gaps[ends], is_weight[ends] = skipped % wide, True
    return gaps, is_weight


def _plain(name: str, tensor: Tensor, mask: Tensor | None) -> tuple[Stored, bytes]:
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind not in PLAIN:
        raise ValueError(f"{name!r} is {kind}: a compressed net holds {', '.join(PLAIN)}")
    if mask is not None:
        raise ValueError(f"{name!r} is masked: a compressed net holds masks on float32 weights of two axes or more")
    return Stored(name=name, shape=tuple(tensor.shape), dtype=kind), tensor.contiguous().numpy().tobytes()


def _lengths(stored: Stored) -> Iterator[int]:
    """Bytes of the pieces of a tensor, in the order of the file."""
    if not stored.values:
        yield math.prod(stored.shape) * PLAIN[stored.dtype].itemsize
        return
    yield from (4 * stored.values, stored.values, LONGEST_GAP + 2, stored.value_bytes, stored.gap_bytes)


def _read(stored: Stored, block: memoryview, lengths: list[int]) -> tuple[Tensor, Tensor]:
    """A tensor of a file, and which of its places were stored."""
    if not stored.values:
        kind = str(PLAIN[stored.dtype]).removeprefix("torch.")
        plain = torch.from_numpy(np.frombuffer(block, np.dtype(kind)).copy()).reshape(stored.shape)
        return plain, torch.ones(stored.shape, dtype=torch.bool)
    ends = np.cumsum(lengths)
    pieces = [bytes(block[end - length : end]) for end, length in zip(ends, lengths, strict=True)]
    elements = math.prod(stored.shape)
    if stored.symbols > elements:
        raise ValueError(f"not a compressed net: {stored.name!r} has more weights than places")
    gaps = decode(pieces[4], tuple(pieces[2]), stored.symbols)
    is_weight = gaps <= LONGEST_GAP
    places = (np.cumsum(gaps + is_weight) - 1)[is_weight]
    values = decode(pieces[3], tuple(pieces[1]), len(places))
    if len(places) and places[-1] >= elements:
        raise ValueError(f"not a compressed net: {stored.name!r} has weights beyond its end")
    flat, there = np.zeros(elements, np.float32), np.zeros(elements, np.bool_)
    flat[places], there[places] = np.frombuffer(pieces[0], np.float32)[values], True
    return torch.from_numpy(flat).reshape(stored.shape), torch.from_numpy(there).reshape(stored.shape)
