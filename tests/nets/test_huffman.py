"""Huffman codes against the entropy, Kraft's sum, a worked example and themselves read back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.nets.huffman import code_lengths, decode, encode


def test_the_worked_example_of_the_paper():
    """Huffman 1952, table I: thirteen messages, an average of 3.42 bits."""
    hundredths = [20, 18, 10, 10, 10, 6, 6, 4, 4, 4, 4, 3, 1]
    lengths = code_lengths(hundredths)
    assert sum(n * length for n, length in zip(hundredths, lengths, strict=True)) == 342


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60))
def test_lengths_fill_the_tree_and_are_within_a_bit_of_the_entropy(counts):
    lengths = code_lengths(counts)
    total, present = sum(counts), [count for count in counts if count]
    assert [length > 0 for length in lengths] == [count > 0 for count in counts]
    if len(present) > 1:
        assert sum(2.0**-length for length in lengths if length) == 1.0
        entropy = -sum(count / total * math.log2(count / total) for count in present)
        mean = sum(count * length for count, length in zip(counts, lengths, strict=True)) / total
        assert entropy - 1e-9 <= mean < entropy + 1


@given(st.lists(st.integers(0, 40), max_size=300))
def test_what_is_written_is_read_back(numbers):
    symbols = np.array(numbers, np.int64)
    lengths = code_lengths(np.bincount(symbols, minlength=41).tolist())
    data = encode(symbols, lengths)
    assert len(data) == -(-sum(lengths[symbol] for symbol in numbers) // 8)
    assert decode(data, lengths, len(symbols)).tolist() == numbers


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: code_lengths([1, -1]), "less than never"),
        (lambda: encode(np.array([0, 2]), (1, 1, 0)), "no code"),
        (lambda: encode(np.array([-1]), (1, 1)), "no code"),
        (lambda: decode(b"\x00", (1, 1, 1), 1), "make no code"),
        (lambda: decode(b"\x00", (1, -1), 1), "make no code"),
        (lambda: decode(b"\x00", (1, 1), 9), "end after 8 of 9"),
        (lambda: decode(b"\xff", (2, 2), 1), "a code that there is not"),
        (lambda: decode(b"", (), 1), "end after 0 of 1"),
    ],
)
def test_nonsense_is_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
