"""Passes over images in batches of one size, and CPU-seconds that are unknown rather than zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.benchmarking.passes import cpu_quantity, outputs, whole_batches
from joulemark.record import Kind


@given(rows=st.integers(1, 40), size=st.integers(1, 16))
def test_outputs_keep_every_row_in_batches_of_one_size(rows, size):
    class Doubles:
        def run(self, images):
            assert len(images) == size
            return 2 * images

    images = np.arange(rows, dtype=np.float32)[:, None]
    assert (outputs(Doubles(), images, size) == 2 * images).all()
    assert len(whole_batches(images, size)) % size == 0


def test_a_rest_is_filled_up_from_its_own_beginning():
    seen = []

    class Sees:
        def run(self, images):
            assert images.flags.c_contiguous
            seen.append(images[:, 0].tolist())
            return images

    found = outputs(Sees(), np.arange(7, dtype=np.float32)[:, None], 3)
    assert seen == [[0, 1, 2], [3, 4, 5], [6, 6, 6]]
    assert found[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]


@given(rows=st.integers(1, 40), size=st.integers(1, 16))
def test_whole_batches_are_the_first_images_in_their_order(rows, size):
    found = whole_batches(np.arange(rows, dtype=np.float32)[:, None], size)[:, 0].tolist()
    assert len(found) == max(rows - rows % size, size)
    assert found == [place % rows for place in range(len(found))]


def test_the_middle_of_windows_is_their_cpu_time_with_an_interval_around_it():
    found = cpu_quantity([3.0, 1.0, 2.0, 10.0, 2.5])
    assert (found.value, found.unit, found.kind, found.count) == (2.5, "s/input", Kind.MEASURED, 5)
    assert 1.0 <= found.low <= found.value <= found.high <= 10.0
    assert found.low < found.high
    assert found.reason is None


def test_one_window_is_its_own_interval():
    found = cpu_quantity([0.25])
    assert (found.low, found.value, found.high, found.count) == (0.25, 0.25, 0.25, 1)


@pytest.mark.parametrize("reason", [None, "it did not run"])
def test_without_windows_cpu_time_is_unknown_and_not_zero(reason):
    found = cpu_quantity([], reason)
    assert (found.value, found.low, found.high, found.count, found.reason) == (None, None, None, None, reason)


@given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=12), st.floats(0.1, 10.0))
def test_twice_the_time_is_twice_the_quantity(values, factor):
    one, other = cpu_quantity(values), cpu_quantity([factor * value for value in values])
    for end in ("value", "low", "high"):
        assert getattr(other, end) == pytest.approx(factor * getattr(one, end))
