"""Arithmetic of quantities against formulas by hand and simulated readings with a common gain; what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulemark.judging.quantities import accumulated, difference, ratio, scaled, total
from joulemark.record import Kind, Quantity

SIZES = st.floats(1e-3, 1e6)
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault


def joules(value: float | None = 10.0, scope: str = "board a", **changes) -> Quantity:
    base = {"unit": "J", "kind": Kind.MEASURED, "method": "energy counter", "source": "made up", "scope": scope}
    if value is None:
        base["reason"] = f"{scope} was lost"
    return Quantity(value=value, **{**base, **changes})


@st.composite
def parts(draw: st.DrawFn) -> list[Quantity]:
    """Three disjoint parts, some of them unknown, with gains of their own or shared."""
    made = []
    for number in range(3):
        value = draw(st.none() | SIZES)
        known = value is not None
        made.append(
            joules(
                value,
                f"part {number}",
                random=draw(SIZES) if known else None,
                systematic=draw(st.none() | SIZES) if known else None,
                gain=draw(st.sampled_from([None, "x", "y"])),
                flags=tuple(draw(st.lists(st.sampled_from(["wrapped", "too_short"]), max_size=2, unique=True))),
                source=draw(st.sampled_from(["one", "two"])),
                paths=draw(st.sampled_from([(), (f"wall/board-{number}",)])),
                lost_seconds=draw(st.none() | SIZES),
                coverage=draw(st.none() | st.floats(0, 1)),
            )
        )
    return made


@UNHURRIED
@given(parts())
def test_a_total_does_not_depend_on_where_the_brackets_stand(three):
    a, b, c = three
    flat, left, right = total(three), total([total([a, b]), c]), total([a, total([b, c])])
    for other in (left, right):
        for name in Quantity.__struct_fields__:
            expected, found = getattr(flat, name), getattr(other, name)
            if name in ("value", "random", "systematic"):
                expected = None if expected is None else pytest.approx(expected, rel=1e-12)
            assert found == expected, name


def test_parts_add_by_hand():
    whole = total(
        [
            joules(
                100.0, "a", random=3.0, systematic=5.0, gain="s", flags=("wrapped",), lost_seconds=0.0, coverage=1.0
            ),
            joules(
                50.0, "b", random=4.0, systematic=2.5, gain="s", flags=("x", "wrapped"), lost_seconds=2.0, coverage=0.9
            ),
        ]
    )
    assert (whole.value, whole.random, whole.systematic, whole.gain) == (150.0, 5.0, 7.5, "s")
    assert (whole.scope, whole.flags) == ("a + b", ("wrapped", "x"))
    assert (whole.lost_seconds, whole.coverage) == (2.0, 0.9)
    assert total([joules(1.0, "a", gain="s"), joules(1.0, "b", gain="t")]).gain is None


@UNHURRIED
@given(SIZES, SIZES, st.floats(0, 0.5), st.floats(0, 0.1), st.floats(0, 0.1))
def test_a_shared_gain_cancels_in_a_ratio_exactly(a, b, gain, random_a, random_b):
    one = joules(a, random=a * random_a, systematic=a * gain, gain="board a")
    other = joules(b, random=b * random_b, systematic=b * gain, gain="board a")
    divided = ratio(one, other)
    assert (divided.value, divided.unit, divided.systematic, divided.gain) == (a / b, "1", 0.0, None)
    assert divided.random == pytest.approx(a / b * math.hypot(random_a, random_b), rel=1e-9, abs=1e-300)
    assert scaled(one, 1.0 + gain).value / scaled(other, 1.0 + gain).value == pytest.approx(divided.value)


def test_a_gain_of_unknown_size_cancels_too_and_only_there():
    one, other = joules(2.0, gain="package-0"), joules(4.0, gain="package-0")
    assert ratio(one, other).systematic == 0.0
    assert difference(one, other).systematic is None
    assert ratio(joules(2.0), joules(4.0)).systematic is None  # whose gain it is, nobody said


def test_other_gains_do_not_cancel():
    one = joules(100.0, systematic=5.0, gain="a")
    other = joules(50.0, "board b", systematic=1.0, gain="b")
    divided = ratio(one, other)
    assert divided.systematic == pytest.approx(2.0 * (0.05 + 0.02))  # worst correlation: shares add
    assert divided.scope == "board a / board b"
    assert ratio(joules(100.0, systematic=5.0), joules(50.0, systematic=1.0)).systematic == divided.systematic


def test_a_shared_gain_scales_a_difference():
    gross, idle = (
        joules(100.0, systematic=5.0, random=0.3, gain="g"),
        joules(90.0, systematic=4.5, random=0.4, gain="g"),
    )
    net = difference(gross, idle)
    assert (net.value, net.systematic, net.random) == (10.0, pytest.approx(0.5), pytest.approx(0.5))
    assert difference(idle, gross).value == -10.0  # told as it is, not floored at 0
    assert difference(idle, gross).systematic == pytest.approx(0.5)
    unnamed = [joules(q.value, systematic=q.systematic) for q in (gross, idle)]
    assert difference(*unnamed).systematic == pytest.approx(9.5)


def test_uncertainties_are_the_spread_of_simulated_measurements():
    """100,000 draws of two readings with independent noise and one common gain."""
    rng = np.random.default_rng(1)
    count = 100_000
    gain = 1.0 + 0.01 * rng.standard_normal(count)
    a, b = (gain * (true + noise * rng.standard_normal(count)) for true, noise in ((100.0, 0.8), (60.0, 0.6)))
    one = joules(100.0, "a", random=0.8, systematic=1.0, gain="g")
    other = joules(60.0, "b", random=0.6, systematic=0.6, gain="g")
    same = joules(60.0, "a", random=0.6, systematic=0.6, gain="g")
    for drawn, told in ((a + b, total([one, other])), (a - b, difference(one, same)), (a / b, ratio(one, other))):
        assert told.value == pytest.approx(drawn.mean(), rel=1e-3)
        assert math.hypot(told.random, told.systematic) == pytest.approx(drawn.std(), rel=0.02)


@UNHURRIED
@given(parts(), st.sampled_from([total, accumulated]))
def test_what_is_unknown_never_becomes_a_number(three, add):
    if add is accumulated:
        three = [joules(q.value, reason=q.reason) for q in three]
    whole = add(three)
    lost = [q for q in three if q.value is None]
    assert (whole.value is None) == bool(lost)
    assert all(q.reason in whole.reason for q in lost)
    if lost:
        assert (whole.random, whole.systematic, whole.low, whole.high) == (None, None, None, None)
    for q in lost:
        again = (difference(q, q), ratio(q, q), ratio(joules(1.0), q), scaled(q, 0.0))
        assert all(one.value is None and one.reason for one in again)


def test_an_unknown_uncertainty_is_not_taken_as_none_at_all():
    whole = total([joules(1.0, "a", random=1.0, systematic=1.0), joules(1.0, "b")])
    assert (whole.value, whole.random, whole.systematic) == (2.0, None, None)


def test_the_least_and_the_most_of_a_lost_window_add_up_with_what_is_known():
    lost = joules(None, "a", low=100.0, high=400.0, lost_seconds=1.0)
    whole = total([lost, joules(50.0, "b", lost_seconds=0.0)])
    assert (whole.value, whole.low, whole.high, whole.lost_seconds) == (None, 150.0, 450.0, 1.0)
    assert total([lost, joules(None, "b")]).low is None
    assert accumulated([lost, joules(50.0, "a")]).high == 450.0


def test_division_by_zero_is_unknown_with_the_reason():
    divided = ratio(joules(1.0), joules(0.0))
    assert divided.value is None
    assert "divided by 0 J" in divided.reason


@pytest.mark.parametrize("combine", [lambda a, b: total([a, b]), lambda a, b: accumulated([a, b]), difference, ratio])
def test_mixed_kinds_and_units_are_refused(combine):
    with pytest.raises(ValueError, match="measured and a modelled"):
        combine(joules(), joules(kind=Kind.MODELLED))
    with pytest.raises(ValueError, match="'J' and in 's'"):
        combine(joules(), joules(unit="s"))


PACKAGE = "wall/platform/package-0"


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ((PACKAGE,), (PACKAGE,), True),
        (("wall/platform",), (PACKAGE,), True),  # psys holds the package
        ((f"{PACKAGE}/core",), (PACKAGE,), True),
        ((PACKAGE,), ("wall/platform/package-1",), False),
        ((PACKAGE,), ("wall/platform/package-0-die-1",), False),  # a longer name is not a part of the shorter
        ((PACKAGE,), ("wall/platform/dram-0", f"{PACKAGE}/uncore"), True),
        (("wall/module-0",), ("wall/board-GPU-aa",), True),  # the board may be the module's own
        (("wall/module-0",), ("wall/module-1",), False),
    ],
)
def test_overlapping_parts_are_refused(one, other, overlap):
    pair = [joules(1.0, "one", paths=one), joules(2.0, "other", paths=other)]
    for both in (pair, pair[::-1]):
        if overlap:
            with pytest.raises(ValueError, match="counted twice"):
                total(both)
        else:
            assert total(both).paths == (*both[0].paths, *both[1].paths)


def test_without_paths_the_words_tell_an_overlap():
    both = total([joules(1.0, "a"), joules(1.0, "b", paths=("wall/b",))])
    assert both.paths == ()
    with pytest.raises(ValueError, match="counted twice"):
        total([both, joules(1.0, "b")])
    for outer in ("processor package-0", "accelerator board GPU-aa"):
        with pytest.raises(ValueError, match="counted twice"):
            total([joules(1.0, f"{outer} core"), joules(1.0, outer)])
    assert total([joules(1.0, "processor package-1"), joules(1.0, "processor package-10")]).value == 2.0


def test_windows_one_after_another_add_up_over_one_scope_only():
    windows = [
        joules(v, random=3.0, systematic=v / 20, gain="g", lost_seconds=0.5, coverage=c)
        for v, c in ((20.0, 0.9), (40.0, 1.0))
    ]
    whole = accumulated(windows)
    assert (whole.value, whole.systematic, whole.scope, whole.count) == (60.0, 3.0, "board a", 2)
    assert whole.random == pytest.approx(math.sqrt(18))
    assert (whole.lost_seconds, whole.coverage) == (1.0, 0.9)
    for combine in (lambda a, b: accumulated([a, b]), difference):
        with pytest.raises(ValueError, match="different parts"):
            combine(joules(), joules(scope="board b"))


@UNHURRIED
@given(SIZES, st.floats(-1e3, 1e3))
def test_scaling_scales_everything_and_turns_an_interval_round(value, factor):
    one = joules(value, random=1.0, systematic=2.0, low=value - 1, high=value + 3, gain="g", paths=("wall",))
    made = scaled(one, factor, unit="J/input")
    assert (made.value, made.unit, made.gain, made.paths) == (value * factor, "J/input", "g", ("wall",))
    assert (made.random, made.systematic) == (abs(factor), 2 * abs(factor))
    assert made.low <= made.value <= made.high
    assert scaled(one, 2.0).unit == "J"


@pytest.mark.parametrize("add", [total, accumulated])
def test_nothing_to_add_is_refused(add):
    with pytest.raises(ValueError, match="no quantity"):
        add([])


def test_a_factor_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="nan"):
        scaled(joules(), math.nan)
