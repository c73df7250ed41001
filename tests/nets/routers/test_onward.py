"""Everybody goes on, with logits or without, whatever shape the features have."""

from __future__ import annotations

import pytest
import torch

from joulemark.nets.routers.onward import Onward


@pytest.mark.parametrize("shape", [(3, 4), (3, 1, 2, 2), (0, 5), (1, 2, 3)])
def test_one_true_for_each_row(shape):
    went = Onward(0.3)({"features": torch.full(shape, float("nan"))}, None)
    assert went.dtype == torch.bool
    assert went.tolist() == [True] * shape[0]
