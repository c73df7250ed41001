"""Any error as one line of at most 300 characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.benchmarking.errors import sentence


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\nlines\tand  spaces"), "two lines and spaces"),
        (ValueError("\x1b[31mred\x07"), "[31mred"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (RuntimeError("\n\t "), "RuntimeError"),
        (ValueError("x" * 400), "x" * 297 + "..."),
        (ValueError("x" * 300), "x" * 300),
    ],
)
def test_by_hand(error, line):
    assert sentence(error) == line


@given(st.text())
def test_it_can_always_be_printed_and_is_short(text):
    line = sentence(ValueError(text))
    assert line
    assert line.isprintable()
    assert len(line) <= 300
