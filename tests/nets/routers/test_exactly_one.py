"""A row leaves where exactly one output reaches the threshold."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from joulemark.nets.routers.exactly_one import ExactlyOne


def test_by_hand():
    logits = torch.tensor([[0.9, 0.1], [0.9, 0.8], [0.2, 0.1], [0.5, 0.1]])
    assert ExactlyOne(0.5)({}, logits).tolist() == [False, True, True, False]  # the threshold itself reaches it


@given(st.lists(st.lists(st.floats(-5, 5), min_size=3, max_size=3), min_size=1, max_size=9), st.floats(-5, 5))
def test_as_counted_row_by_row(rows, threshold):
    logits = torch.tensor(rows, dtype=torch.float64)
    expected = [sum(one >= threshold for one in row) != 1 for row in rows]
    assert ExactlyOne(threshold)({}, logits).tolist() == expected


def test_without_logits_it_says_so():
    with pytest.raises(ValueError, match="the router exactly-one needs logits"):
        ExactlyOne(0.5)({"features": torch.zeros(2, 3)}, None)
