"""A constant says in one sentence what it is, where it comes from and how far that may be trusted."""

from __future__ import annotations

import math
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.energy.sourced import STATUSES, Constant, Status, told


def constant(value: float = 3.0, **more) -> Constant:
    return Constant(**{"value": value, "unit": "V", "status": "seen", "source": "page 7", **more})


def test_a_constant_is_told_with_its_spread():
    assert constant().told("supply") == "supply 3 V: page 7 (seen: read in the maker's document)"
    assert constant(low=2.5, high=3.6).told("supply").startswith("supply 3 V (2.5 to 3.6): page 7")
    assert constant(low=2.5).told("supply").startswith("supply 3 V (2.5 to 3): ")
    assert constant(high=3.6).told("supply").startswith("supply 3 V (3 to 3.6): ")
    assert constant(low=3.0, high=3.0).told("supply").startswith("supply 3 V: ")
    assert constant(1.25e-7).told("charge").startswith("charge 1.25e-07 V: ")


def test_constants_are_told_in_their_order_with_blanks_in_their_names():
    lines = told({"run_current": constant(1.0), "supply": constant(2.0)})
    assert [line.partition(" V")[0] for line in lines] == ["run current 1", "supply 2"]
    assert told({}) == ()


@given(st.sampled_from(get_args(Status)))
def test_every_way_of_knowing_says_what_it_means(status):
    assert constant(status=status).told("x").endswith(f"({status}: {STATUSES[status]})")


def test_no_meaning_stands_for_two_ways_of_knowing():
    assert set(STATUSES) == set(get_args(Status))
    assert len(set(STATUSES.values())) == len(STATUSES)


@given(st.lists(st.floats(0.0, 1e9), min_size=3, max_size=3).map(sorted))
def test_a_value_lies_between_the_least_and_the_most(three):
    low, value, high = three
    one = constant(value, low=low, high=high)
    assert (one.least, one.value, one.most) == (low, value, high)
    alone = constant(value)
    assert (alone.least, alone.most) == (value, value)


@pytest.mark.parametrize(
    ("value", "low", "high", "words"),
    [
        (3.0, 4.0, None, "a constant of 3.0 V lies outside of 4.0 to 3.0"),
        (3.0, None, 2.0, "a constant of 3.0 V lies outside of 3.0 to 2.0"),
        (3.0, None, 0.0, "lies outside of 3.0 to 0.0"),
        (3.0, -1.0, 4.0, "may not be negative"),
        (-1.0, None, None, "may not be negative"),
        (math.nan, None, None, "lies outside"),
        (3.0, math.nan, None, "lies outside"),
        (3.0, None, math.nan, "lies outside"),
    ],
)
def test_what_cannot_be_is_refused(value, low, high, words):
    with pytest.raises(ValueError, match=words):
        constant(value, low=low, high=high)


def test_one_that_is_read_from_a_file_is_held_to_the_same():
    with pytest.raises(msgspec.ValidationError, match=r"a constant of 3\.0 V lies outside of 4\.0 to 3\.0"):
        msgspec.toml.decode('value = 3.0\nunit = "V"\nstatus = "seen"\nsource = "s"\nlow = 4.0', type=Constant)
    with pytest.raises(msgspec.ValidationError, match="status"):
        msgspec.toml.decode('value = 3.0\nunit = "V"\nstatus = "rumoured"\nsource = "s"', type=Constant)
