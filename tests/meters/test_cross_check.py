"""A counter held against the power of its part: who contradicts whom, and who may judge."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quantities import joules
from traces import facts, watts

from joulemark.meters.cross_check import DISAGREES_SHARE, STANDARD_UNCERTAINTIES, cross_checked
from joulemark.meters.trace import SourceFacts
from joulemark.record import Quantity

COUNTER = facts(path="wall/board")


def power(**more: Any) -> SourceFacts:
    return watts(**{"path": "wall/board", "averaging_seconds": 1.0, **more})


def flagged(counted: Quantity, integrated: Quantity, **more: Any) -> bool:
    one, other = cross_checked([COUNTER, power(**more)], [counted, integrated])
    assert other == integrated
    return "disagrees" in one.flags


@pytest.mark.parametrize("integrated", [1060, 940])
def test_a_power_over_five_percent_off_contradicts_on_either_side(integrated: float) -> None:
    assert flagged(joules(1000, random=0), joules(integrated, random=0))
    assert flagged(joules(1000), joules(integrated))  # nothing said of the random uncertainty


@pytest.mark.parametrize("integrated", [1000, 1040, 1050, 950])
def test_within_five_percent_they_agree(integrated: float) -> None:
    assert not flagged(joules(1000), joules(integrated))


@pytest.mark.parametrize(("random", "told"), [(30, False), (21, True)])
def test_what_two_standard_uncertainties_of_both_cannot_tell_is_no_contradiction(random: float, told: bool) -> None:
    assert flagged(joules(1000, random=random), joules(1060, random=random)) == told  # 2 x 42, 2 x 29.7


@pytest.mark.parametrize(
    ("counted", "integrated"),
    [
        (joules(1000), joules(None)),
        (joules(None), joules(1000)),
        (joules(1000), joules(1500, flags=("too_short",))),
        (joules(1000, flags=("too_short",)), joules(1500)),
    ],
)
def test_what_is_unknown_or_too_short_contradicts_nothing(counted: Quantity, integrated: Quantity) -> None:
    assert not flagged(counted, integrated)


@pytest.mark.parametrize(
    "more", [{"averaging_seconds": None}, {"path": "wall/other"}, {"path": ""}, {"kind": "counter"}]
)
def test_only_an_average_power_of_the_same_part_may_judge(more: dict[str, Any]) -> None:
    assert not flagged(joules(1000), joules(1500), **more)


def test_flags_that_were_there_stay_and_the_power_gets_none() -> None:
    one, other = cross_checked([COUNTER, power()], [joules(1000, flags=("wrapped",)), joules(1500, flags=("starved",))])
    assert (one.flags, other.flags) == (("wrapped", "disagrees"), ("starved",))
    assert one.value == 1000


def test_two_powers_of_one_part_flag_it_once_and_the_other_counter_not_at_all() -> None:
    sources = [power(), facts(path="wall/other"), COUNTER, power()]
    found = cross_checked(sources, [joules(1500), joules(1000), joules(1000), joules(1500)])
    assert [one.flags for one in found] == [(), (), ("disagrees",), ()]


def test_powers_that_contradict_each_other_are_not_counters() -> None:
    found = cross_checked([power(), power(averaging_seconds=0.5)], [joules(1000), joules(1500)])
    assert [one.flags for one in found] == [(), ()]


def test_without_a_source_there_is_nothing_and_each_needs_its_joules() -> None:
    assert cross_checked([], []) == []
    with pytest.raises(ValueError, match="shorter"):
        cross_checked([COUNTER, power()], [joules(1.0)])


JOULES, RANDOM = st.integers(0, 1_000_000), st.integers(0, 10_000)


@given(JOULES, JOULES, RANDOM, RANDOM)
def test_a_contradiction_is_beyond_both_limits_and_nothing_else_is(
    counted: int, integrated: int, one: int, other: int
) -> None:
    limits = DISAGREES_SHARE * counted, STANDARD_UNCERTAINTIES * math.sqrt(one**2 + other**2)
    beyond = all(abs(counted - integrated) > limit * (1 + 1e-9) for limit in limits)
    within = any(abs(counted - integrated) < limit * (1 - 1e-9) for limit in limits)
    told = flagged(joules(counted, random=one), joules(integrated, random=other))
    assert (told or not beyond) and not (told and within)
