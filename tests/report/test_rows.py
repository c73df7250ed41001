"""A row and a board: what their numbers say in a word."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from joulemark.judging.rules import boards
from joulemark.record import Ratio
from joulemark.report.rows import BoardView, Row

JOULES, SECONDS, MODELLED = boards(["toy"])


def ratio(low, high):
    return Ratio(value=(low * high) ** 0.5, low=low, high=high, count=12)


def row(**changes):
    return Row(technique="mine", knobs=(), **{"status": "ranked", **changes})


def view(board=SECONDS, **changes):
    return BoardView(board=board, limit_points=2.0, backend="onnxruntime", batch_size=1, baseline_cost=None,
                     **{"rows": (), "ineligible": (), **changes})  # fmt: skip


@pytest.mark.parametrize(
    ("own", "control", "verdict"),
    [
        (ratio(1.1, 1.2), None, "cheaper"),
        (ratio(0.8, 0.9), None, "dearer"),
        (ratio(0.9, 1.1), None, "undecided"),
        (ratio(1.0, 1.2), None, "undecided"),  # it ends at 1
        (ratio(0.8, 1.0), None, "undecided"),
        (ratio(1.1, 1.2), ratio(0.9, 1.09), "cheaper"),
        (ratio(1.1, 1.2), ratio(0.9, 1.1), "undecided"),  # they touch
        (ratio(0.8, 0.9), ratio(0.9, 1.1), "undecided"),
        (ratio(0.8, 0.9), ratio(0.91, 1.1), "dearer"),
        (ratio(1.01, 1.02), ratio(1.03, 1.04), "undecided"),  # between 1 and a control that is off
        (ratio(1.05, 1.06), ratio(1.03, 1.04), "cheaper"),
        (ratio(0.97, 0.98), ratio(1.03, 1.04), "dearer"),
        (None, None, None),
    ],
)
def test_a_verdict_needs_an_interval_apart_from_1_and_from_the_control(own, control, verdict):
    assert row(ratio=own, control=control).verdict == verdict


@pytest.mark.parametrize("status", ["baseline", "untested", "ineligible", "failed"])
def test_what_is_not_ranked_has_no_verdict(status):
    assert row(status=status, ratio=ratio(1.1, 1.2)).verdict is None


ends = st.tuples(st.floats(0.5, 2.0), st.floats(0.5, 2.0)).map(sorted)


@given(ends, ends)
def test_a_ratio_turned_over_has_the_opposite_verdict(own, control):
    opposite = {"cheaper": "dearer", "dearer": "cheaper", "undecided": "undecided"}
    assume(not set(own) & set(control))  # ends that touch may part when 1 / x is rounded
    there = row(ratio=ratio(*own), control=ratio(*control))
    back = row(ratio=ratio(1 / own[1], 1 / own[0]), control=ratio(1 / control[1], 1 / control[0]))
    assert back.verdict == opposite[there.verdict]


@pytest.mark.parametrize(
    ("rank", "text"),
    [(None, "\N{EN DASH}"), ((1, 1), "1"), ((2, 4), "2 to 4"), ((10, 10), "10")],
)
def test_a_tied_rank_is_a_range(rank, text):
    assert row(rank=rank).rank_text == text


def test_seconds_are_in_seconds_and_all_else_in_joules():
    assert [view(board).unit for board in (JOULES, SECONDS, MODELLED)] == ["J", "s", "J"]


def test_a_row_is_elsewhere_if_its_backend_is_none_of_those_that_the_baseline_ran_on():
    own = row(backend="onnxruntime", same_backend=ratio(1.1, 1.2))
    assert view(reference=("eager",)).elsewhere(own)
    assert not view(reference=("onnxruntime", "eager")).elsewhere(own)
    assert not view(reference=()).elsewhere(own)  # older records
    assert not view(reference=("eager",)).elsewhere(row(backend="onnxruntime"))


def test_only_ranked_rows_compete():
    first, baseline, second = row(rank=(1, 1)), row(status="baseline"), row(rank=(2, 2))
    assert view(rows=(first, baseline, second), ineligible=(row(status="failed"),)).ranked == (first, second)
    assert view().ranked == ()
