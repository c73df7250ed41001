"""Agreement of outputs: by hand, and Wilson's interval against its defining equation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.benchmarking.output_agreement import NORMAL_97_5, agreement, wilson


def test_by_hand():
    reference = np.array([[3.0, 0.0], [0.0, 4.0]], np.float32)
    found = np.array([[3.0, 1.0], [5.0, 4.0]], np.float32)
    near = agreement(reference, found)
    size = math.sqrt(25 / 4)
    assert (near.images, near.same_class, near.largest_difference) == (2, 0.5, 5.0)
    assert near.mean_relative == pytest.approx(1.5 / size)
    assert near.largest_relative == pytest.approx(5 / size)


def test_scores_of_pixels_are_no_classes():
    pixels = np.zeros((2, 3, 4, 4), np.float32)
    assert agreement(pixels, pixels).same_class is None
    assert agreement(pixels[:, :, :1, :1], pixels[:, :, :1, :1]).same_class == 1.0


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="shapes"):
        agreement(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match="not finite"):
        agreement(np.zeros((1, 2), np.float32), np.full((1, 2), np.nan, np.float32))


@given(tries=st.integers(1, 500), data=st.data())
def test_wilson_ends_solve_the_score_equation(tries, data):
    hits = data.draw(st.integers(0, tries))
    for end in wilson(hits, tries):
        assert 0 <= end <= 1
        if 0 < end < 1:  # |share - p| = z sqrt(p (1 - p) / n)
            gap, score = abs(hits / tries - end), NORMAL_97_5 * math.sqrt(end * (1 - end) / tries)
            assert gap == pytest.approx(score, rel=1e-6, abs=1e-9)
