"""Ranks on a board: what the A/A control cannot resolve shares a place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.record import Ratio
from joulemark.report.standing import margin_of, places


def exactly(value):
    return Ratio(value=value, low=value, high=value, count=12)


def test_tied_rows_are_those_that_the_wider_of_their_controls_cannot_tell_apart():
    shaky = Ratio(value=1.0, low=1 / 1.2, high=1.2, count=12)
    one, other = exactly(1.1), exactly(1.0)
    assert places([[one], [other]], [None, None]) == [(1, 1), (2, 2)]
    assert places([[one], [other]], [None, shaky]) == [(1, 2), (1, 2)]
    assert places([[one], [other], [other]], [None, None, shaky]) == [(1, 2), (2, 3), (1, 3)]


def test_the_margin_is_the_farther_end_of_the_control():
    assert margin_of(None) == 1.0
    assert margin_of(Ratio(value=1.0, low=0.95, high=1.01, count=5)) == pytest.approx(1 / 0.95)
    assert margin_of(Ratio(value=1.02, low=1.01, high=1.03, count=5)) == 1.03


def test_a_control_that_reads_low_widens_the_margin_too():
    assert margin_of(Ratio(value=0.97, low=0.96, high=0.98, count=5)) == pytest.approx(1 / 0.96)
    assert margin_of(exactly(1.0)) == 1.0


def test_an_empty_board_has_no_places_and_a_row_alone_is_first():
    assert places([], []) == []
    assert places([[exactly(0.3)]], [None]) == [(1, 1)]


def test_rows_without_a_common_seed_share_all_their_places():
    assert places([[exactly(3.0), None], [None, exactly(1.0)]], [None, None]) == [(1, 2), (1, 2)]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_without_noise_the_places_are_those_of_a_race_in_whatever_order_it_is_told(values, random):
    told = list(values)
    random.shuffle(told)
    found = places([[exactly(float(value))] for value in told], [None] * len(told))
    for value, place in zip(told, found, strict=True):
        ahead = sum(other > value for other in values)
        assert place == (1 + ahead, ahead + values.count(value))
