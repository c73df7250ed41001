"""Packed arrays come back as they were; what was not packed here is refused in one sentence."""

from __future__ import annotations

import base64
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from joulemark.judging.packed import pack, pack_bits, unpack, unpack_bits

SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)


@given(st.sampled_from([2**8, 2**16, 2**32]).flatmap(
    lambda end: arrays.arrays(np.int64, SHAPES, elements=st.integers(0, end - 1))
))  # fmt: skip
def test_whole_numbers_come_back(values):
    text = pack(values)
    assert text.isascii()
    found = unpack(text)
    assert found.dtype == np.int64
    assert found.shape == values.shape
    assert np.array_equal(found, values)


@pytest.mark.parametrize(("most", "kind"), [(0, "u1"), (255, "u1"), (256, "u2"), (65_535, "u2"), (65_536, "u4")])
def test_the_smallest_type_that_fits(most, kind):
    text = pack(np.array([0, most]))
    assert text.startswith(f"{kind}[2]:")
    raw = zlib.decompress(base64.b64decode(text.partition(":")[2]))
    assert [int.from_bytes(raw[i : i + int(kind[1])], "little") for i in (0, int(kind[1]))] == [0, most]


@pytest.mark.parametrize("values", [[-1, 0], [0, 2**32], [0.5], 3, np.zeros((1,) * 5, int), ["a"]])
def test_what_cannot_be_packed(values):
    with pytest.raises(ValueError, match="can be packed"):
        pack(values)


def packed(raw: bytes, head: str) -> str:
    return f"{head}:{base64.b64encode(zlib.compress(raw)).decode()}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "'' is no packed array: one begins like 'u1\\[1000\\]:'"),
        ("nonsense", "is no packed array"),
        ("u8[1]:AAAA", "is no packed array"),
        ("u1[1,1,1,1,1]:AAAA", "is no packed array"),
        ("u1[-1]:AAAA", "is no packed array"),
        ("u1[3]:a", "is damaged: "),
        ("u1[3]:AAAA", "is damaged: Error -3"),
        (packed(b"ab", "u1[3]"), "its shape \\[3\\] asks for 3 bytes, and it holds others"),
        (packed(b"abcd", "u1[3]"), "its shape \\[3\\] asks for 3 bytes, and it holds others"),
        (packed(b"abc", "u2[3]"), "asks for 6 bytes"),
        (pack([1, 2, 3])[:-4] + "AAAA", "is damaged"),
        (packed(b"", "u4[1000000000]"), "it holds 4,000,000,000 bytes, and at most 268,435,456 are unpacked"),
        (packed(b"", "u4[9999999999,9999999999,9999999999,9999999999]"), "and at most 268,435,456 are unpacked"),
    ],
)
def test_rubbish_is_refused(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        unpack(text)


def test_what_stands_behind_the_array_is_refused():
    text = f"u1[3]:{base64.b64encode(zlib.compress(b'abc') + b'more').decode()}"
    with pytest.raises(ValueError, match="is damaged"):
        unpack(text)


def test_a_bomb_is_not_unpacked():
    text = packed(bytes(1 << 26), "u1[3]")  # 64 MiB of zeros in 64 kB
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="is damaged"):
            unpack(text)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_bits_come_back(bits):
    text = pack_bits(np.array(bits))
    assert len(text) == 2 * -(-len(bits) // 8)
    assert unpack_bits(text, len(bits)).tolist() == bits


def test_bits_are_big_endian_and_padded_with_zeros():
    assert pack_bits(np.array([True, False, False, False, False, False, False, False, True])) == "8080"


@pytest.mark.parametrize(
    ("text", "rows", "sentence"),
    [
        ("ff", 9, "does not hold one bit for each of 9 rows"),
        ("fff", 8, "does not hold one bit"),
        ("zz", 8, "does not hold one bit"),
        ("", 0, "does not hold one bit for each of 0 rows"),
        ("ff", 7, "has bits set behind its last row"),
    ],
)
def test_bits_of_other_rows_are_refused(text, rows, sentence):
    with pytest.raises(ValueError, match=sentence):
        unpack_bits(text, rows)
