"""Inputs that are made when they are asked for, against all of them made at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.data.own import rows as rows_module
from joulemark.data.own.batches import indexed
from joulemark.data.own.rows import PreparedRows, prepared, raw_rows

RAW = np.random.default_rng(0).integers(0, 256, (300, 2, 3), np.uint8)
DATASET = [(row, 0) for row in RAW]
SOURCES = {"array": RAW, "data set": indexed("x()", DATASET)}


def halve(batch):
    return (batch.reshape(len(batch), -1) / 2).astype(np.float32)


PLACES = st.lists(st.integers(0, 299), min_size=1, max_size=20).map(np.array)


@pytest.mark.parametrize("source", SOURCES)
@given(places=PLACES, start=st.integers(0, 20), stop=st.integers(0, 20), data=st.data())
def test_a_slice_of_prepared_rows_is_the_slice_prepared(source, places, start, stop, data):
    rows = PreparedRows(SOURCES[source], places, halve)
    whole = RAW[places].reshape(-1, 6) / 2
    assert (len(rows), rows.shape) == (len(places), (len(places), 6))
    if start < min(stop, len(places)):
        np.testing.assert_array_equal(rows[start:stop], whole[start:stop])
    some = np.array(data.draw(st.lists(st.integers(0, len(places) - 1), min_size=1)))
    np.testing.assert_array_equal(rows[some], whole[some])


@pytest.mark.parametrize("source", SOURCES)
def test_what_fits_into_memory_is_made_at_once_and_is_the_same(source, monkeypatch):
    places = np.arange(299, -1, -1)
    whole = prepared(SOURCES[source], places, halve)
    np.testing.assert_array_equal(whole, RAW[::-1].reshape(-1, 6) / 2)
    monkeypatch.setattr(rows_module, "MEMORY_BYTES", whole.nbytes - 1)
    later = prepared(SOURCES[source], places, halve)
    assert isinstance(later, PreparedRows)
    np.testing.assert_array_equal(later[:], whole)


def test_raw_rows_are_as_they_were_given():
    for source in SOURCES.values():
        found = raw_rows(source, np.array([5, 2, 5]))
        np.testing.assert_array_equal(found, RAW[[5, 2, 5]])
        assert found.dtype == np.uint8


def test_rows_of_two_shapes_are_refused():
    def uneven(batch):
        return np.zeros((len(batch), 3 if len(batch) == 1 else 4), np.float32)

    with pytest.raises(ValueError, match=r"rows of shape \[4\] here and \[3\] there: make one shape"):
        prepared(RAW, np.arange(10), uneven)
