"""The search of a knob: by hand, and whatever the answers are."""

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.benchmarking.search import next_knobs
from joulemark.techniques.technique import Range, Technique, load_technique, technique

LIMIT = 2.0


def with_knob(low, high, default, *, log=False, gentle="low", whole=False) -> Technique:
    def function(net, bench, *, share=default, other="kept"):
        return net

    kind = int if whole else float
    function.__annotations__["share"] = Annotated[kind, Range(low, high, log=log, gentle=gentle)]
    return technique("sample", paper="p", family="f", knob="share")(function)


def search(one, answers):
    """The settings tried under one limit, given whether each keeps the accuracy."""
    history = []
    for kept in answers:
        knobs = next_knobs(one, history, [LIMIT])
        if knobs is None:
            break
        history.append((knobs, LIMIT if kept else LIMIT + 0.01))
    return [knobs["share"] for knobs, _ in history]


def test_the_first_attempt_is_the_default_and_other_knobs_stay():
    one = with_knob(0.0, 1.0, 0.5)
    assert next_knobs(one, [], [LIMIT]) == {"share": 0.5, "other": "kept"}
    assert next_knobs(one, [({"share": 0.5, "other": "kept"}, 0.0)], [LIMIT]) == {"share": 0.75, "other": "kept"}


@pytest.mark.parametrize(
    ("gentle", "answers", "expected"),
    [
        ("low", [True, True, True], [0.5, 0.75, 0.875]),  # accuracy kept: on to the aggressive end
        ("low", [False, False, True], [0.5, 0.25, 0.125]),  # lost: back to the gentle end
        ("low", [True, False, True, False], [0.5, 0.75, 0.625, 0.6875]),  # between what kept and what lost
        ("low", [False, True, False, True], [0.5, 0.25, 0.375, 0.3125]),
        ("high", [True, True, False, True], [0.5, 0.25, 0.125, 0.1875]),
        ("high", [False, True, True], [0.5, 0.75, 0.625]),
    ],
)
def test_bisection_by_hand(gentle, answers, expected):
    assert search(with_knob(0.0, 1.0, 0.5, gentle=gentle), answers) == expected


def test_bisection_on_a_logarithmic_scale():
    one = with_knob(1e-4, 1.0, 1e-2, log=True)
    assert search(one, [True, False, True]) == pytest.approx([1e-2, 0.1, 0.03162], rel=1e-3)


def test_whole_numbers_stay_whole_and_the_search_ends_when_none_is_left():
    one = with_knob(1, 8, 4, whole=True)
    tried = search(one, [True] * 9)
    assert tried == [4, 6, 7]
    assert all(type(value) is int for value in tried)


def test_a_technique_without_a_searched_knob_has_one_attempt():
    int8 = load_technique("int8")
    assert next_knobs(int8, [], [LIMIT]) == int8.knobs
    assert next_knobs(int8, [(dict(int8.knobs), 0.0)], [LIMIT]) is None


def test_several_limits_take_turns_and_each_bisects_between_what_it_allows():
    one = with_knob(0.0, 1.0, 0.5)
    history = []
    for _ in range(5):
        knobs = next_knobs(one, history, [0.5, 1.0, 2.0])
        history.append((knobs, 4.0 * knobs["share"] ** 2))  # 0.5 points at 0.354, 1 at 0.5, 2 at 0.707
    assert [knobs["share"] for knobs, _ in history] == [0.5, 0.75, 0.625, 0.25, 0.6875]


def test_a_limit_that_is_settled_passes_its_turn_on():
    one = with_knob(1, 4, 2, whole=True)
    losses = {1: 0.1, 2: 0.2, 3: 1.5, 4: 3.0}
    history = []
    while (knobs := next_knobs(one, history, [1.0, 2.0])) is not None:
        history.append((knobs, losses[knobs["share"]]))
    assert [knobs["share"] for knobs, _ in history] == [2, 3]


def test_a_default_at_the_end_of_the_range_can_still_be_searched_away_from_it():
    assert search(with_knob(0.0, 1.0, 1.0), [True, True]) == [1.0]  # nothing is more aggressive
    assert search(with_knob(0.0, 1.0, 1.0), [False, True, True]) == [1.0, 0.5, 0.75]


@st.composite
def techniques(draw):
    whole = draw(st.booleans())
    log = draw(st.booleans())
    if whole:
        low, high = sorted(draw(st.lists(st.integers(1, 10_000), min_size=2, max_size=2, unique=True)))
        default = draw(st.integers(low, high))
    else:
        numbers = st.floats(1e-6 if log else -1e6, 1e6)
        low, high = sorted(draw(st.lists(numbers, min_size=2, max_size=2, unique=True)))
        default = draw(st.floats(low, high))
    return with_knob(low, high, default, log=log, gentle=draw(st.sampled_from(["low", "high"])), whole=whole)


@given(techniques(), st.lists(st.booleans(), max_size=12))
def test_it_never_repeats_never_leaves_the_range_and_goes_the_right_way(one, answers):
    span = one.ranges["share"]
    gentle, aggressive = span.ends
    tried = search(one, answers)
    assert len(set(tried)) == len(tried)
    assert all(span.low <= value <= span.high for value in tried)
    assert all(type(value) is type(one.knobs["share"]) for value in tried)
    for value, kept, after in zip(tried, answers, tried[1:], strict=False):
        towards = aggressive if kept else gentle
        assert (after - value) * (towards - value) >= 0


@given(techniques(), st.floats(0, 1), st.integers(1, 12))
def test_against_a_monotone_truth_the_bracket_closes_around_the_edge(one, where, attempts):
    """Accuracy is kept up to an edge: no setting is tried beyond a loss or short of what was kept already."""
    span = one.ranges["share"]
    edge = span.low + where * (span.high - span.low)
    sign = 1 if span.gentle == "low" else -1
    history = []
    for _ in range(attempts):
        knobs = next_knobs(one, history, [LIMIT])
        if knobs is None:
            break
        value = knobs["share"]
        good = [h["share"] for h, bound in history if bound <= LIMIT]
        bad = [h["share"] for h, bound in history if bound > LIMIT]
        assert all(sign * value >= sign * g for g in good)
        assert all(sign * value <= sign * b for b in bad)
        history.append((knobs, LIMIT - 1.0 if sign * value <= sign * edge else LIMIT + 1.0))
