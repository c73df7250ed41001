"""CounterTrack: what a counter says is counted exactly, and what it cannot say is flagged as lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.meters.counter import CounterTrack, First, Gap, Implausible, Plain, Reset, Step, Stuck, Wrapped
from joulemark.record import Reading

SECOND = 1_000_000_000
RAPL_RANGE = 262_143_328_850  # max_energy_range_uj of a processor with a 61 uJ unit


def at(seconds: float, raw: int, *, slow: float = 0.0) -> Reading:
    """A reading that began at ``seconds`` and took ``slow`` seconds."""
    return Reading(before_ns=round(seconds * SECOND), after_ns=round((seconds + slow) * SECOND), raw=raw)


def steps(track: CounterTrack, *readings: Reading) -> list[Step]:
    return [track.update(reading) for reading in readings]


def rapl(max_watts: float = 300.0) -> CounterTrack:
    return CounterTrack(unit_joules=1e-6, modulus=RAPL_RANGE, max_watts=max_watts)


def test_plain_steps_are_differences_in_joules() -> None:
    assert steps(rapl(), at(0, 5_000_000), at(1, 105_000_000), at(2, 105_500_000)) == [
        First(),
        Plain(100.0),
        Plain(0.5),
    ]


def test_a_wrap_adds_exactly_the_range() -> None:
    # 50 J before the top and 70 J after it: 120 J in a second.
    assert steps(rapl(), at(0, RAPL_RANGE - 50_000_000), at(1, 70_000_000)) == [First(), Wrapped(120.0)]


def test_a_counter_set_to_zero_is_a_reset_and_not_262_kilojoules() -> None:
    track = rapl()
    assert steps(track, at(0, 150_000_000), at(2, 0)) == [First(), Reset(2.0)]
    assert track.update(at(3, 40_000_000)) == Plain(40.0)  # goes on from the new value


def test_whether_a_drop_is_a_wrap_depends_on_the_power_it_implies() -> None:
    before, after = at(0, RAPL_RANGE - 200_000_000), at(1, 200_000_000)  # 400 W
    assert steps(rapl(max_watts=401), before, after)[1] == Wrapped(400.0)
    assert steps(rapl(max_watts=399), before, after)[1] == Reset(1.0)


def test_a_64_bit_counter_never_wraps() -> None:
    track = CounterTrack(unit_joules=1e-3, modulus=None, max_watts=1000.0)
    assert steps(track, at(0, 364_860_000), at(1, 5)) == [First(), Reset(1.0)]


def test_a_counter_that_dips_and_returns_counts_nothing_of_the_jump() -> None:
    track = CounterTrack(unit_joules=1.0, modulus=None, max_watts=1000.0)
    readings = [at(0, 363_000), at(1, 363_300), at(2, 0), at(3, 363_900), at(4, 364_100)]
    assert steps(track, *readings) == [First(), Plain(300.0), Reset(1.0), Implausible(1.0), Plain(200.0)]


@pytest.mark.parametrize(
    ("seconds", "step"),
    [
        (1099, Plain(100.0)),  # another turn of 1000 J would need 1100 s at 1 W
        (1100, Gap(1100.0)),
    ],
)
def test_a_turn_that_could_have_been_missed_is_a_gap(seconds: int, step: Step) -> None:
    track = CounterTrack(unit_joules=1.0, modulus=1000, max_watts=1.0)
    assert steps(track, at(0, 100), at(seconds, 200)) == [First(), step]


def test_a_second_wrap_that_could_have_been_missed_is_a_gap() -> None:
    track = CounterTrack(unit_joules=1.0, modulus=1000, max_watts=1.0)
    assert steps(track, at(0, 900), at(1199, 100), at(2199, 900), at(3499, 200)) == [
        First(),
        Wrapped(200.0),  # two wraps would be 1200 J
        Plain(800.0),
        Gap(1300.0),  # 300 J or 1300 J
    ]


def test_a_refresh_just_before_the_reading_is_not_implausible() -> None:
    readings = at(0, 0), at(0.001, 30_000)  # 30 J of a 300 W board, refreshed each 0.1 s, arrive within 1 ms
    eager = CounterTrack(unit_joules=1e-3, modulus=None, max_watts=300.0)
    patient = CounterTrack(unit_joules=1e-3, modulus=None, max_watts=300.0, update_seconds=0.1)
    assert steps(eager, *readings)[1] == Implausible(0.001)
    assert steps(patient, *readings)[1] == Plain(30.0)


def test_the_time_a_slow_read_takes_counts_in_favour_of_the_counter() -> None:
    track = CounterTrack(unit_joules=1.0, modulus=None, max_watts=100.0)
    assert steps(track, at(0, 0), at(1, 150, slow=0.5))[1] == Plain(150.0)


def test_a_counter_that_stands_still_is_stuck_after_twenty_updates_and_not_0_joules() -> None:
    track = CounterTrack(unit_joules=1e-3, modulus=None, max_watts=1000.0, update_seconds=0.1)
    assert steps(track, at(0, 7), at(1.9, 7), at(3.9, 7)) == [First(), Plain(0.0), Stuck(3.9)]


@pytest.mark.parametrize("raw", [-1, 1001])
def test_a_value_outside_the_range_is_refused_and_forgotten(raw: int) -> None:
    track = CounterTrack(unit_joules=1.0, modulus=1000, max_watts=100.0)
    track.update(at(0, 10))
    with pytest.raises(ValueError, match="outside"):
        track.update(at(1, raw))
    assert track.update(at(2, 60)) == Plain(50.0)


def test_readings_out_of_order_are_refused() -> None:
    track = CounterTrack(unit_joules=1.0, modulus=None, max_watts=100.0)
    track.update(at(5, 10))
    with pytest.raises(ValueError, match="older"):
        track.update(at(4, 11))


@pytest.mark.parametrize("wrong", [{"unit_joules": 0.0}, {"modulus": 0}, {"max_watts": -1.0}, {"update_seconds": -0.1}])
def test_impossible_counters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        CounterTrack(**{"unit_joules": 1.0, "modulus": 10, "max_watts": 1.0, "update_seconds": 0.0, **wrong})


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, int]]]:
    """Range, most watts, and intervals of (seconds, joules used) that the part can really have used."""
    modulus = draw(st.integers(2, 5000))
    max_watts = draw(st.integers(1, 50))
    seconds = draw(st.lists(st.integers(1, 200), min_size=1, max_size=20))
    return modulus, max_watts, [(s, draw(st.integers(0, max_watts * s))) for s in seconds]


@given(histories(), st.integers(0, 10_000))
def test_sum_of_steps_is_the_truth_or_flagged(history: tuple[int, int, list[tuple[int, int]]], start: int) -> None:
    modulus, max_watts, intervals = history
    track = CounterTrack(unit_joules=1.0, modulus=modulus, max_watts=float(max_watts))
    now, energy = 0, start
    track.update(at(now, energy % modulus))
    counted = lost_seconds = truth = 0.0
    lost_truth = 0
    for seconds, joules in intervals:
        now, energy = now + seconds, energy + joules
        step = track.update(at(now, energy % modulus))
        assert isinstance(step, Plain | Wrapped | Gap)  # nothing was reset, so nothing may be called so
        truth += joules
        if isinstance(step, Gap):
            lost_seconds += step.lost_seconds
            lost_truth += joules
            assert max_watts * seconds >= modulus  # a whole turn was possible
        else:
            counted += step.joules
            assert isinstance(step, Wrapped) == ((energy - joules) // modulus != energy // modulus)
    assert counted + lost_truth == truth
    assert lost_seconds or counted == truth


@given(histories(), st.integers(0, 19), st.integers(0, 5000))
def test_after_a_reset_no_more_is_counted_than_the_part_can_use(
    history: tuple[int, int, list[tuple[int, int]]], reset_at: int, reset_to: int
) -> None:
    modulus, max_watts, intervals = history
    track = CounterTrack(unit_joules=1.0, modulus=modulus, max_watts=float(max_watts))
    now, energy = 0, modulus - 1
    track.update(at(now, energy % modulus))
    for index, (seconds, joules) in enumerate(intervals):
        now += seconds
        energy = reset_to if index == reset_at else energy + joules
        step = track.update(at(now, energy % modulus))
        if isinstance(step, Plain | Wrapped):
            assert 0 <= step.joules <= max_watts * seconds
            assert index == reset_at or step.joules == joules


def test_a_counter_read_often_is_stuck_from_when_it_moved() -> None:
    track = CounterTrack(unit_joules=1e-3, modulus=None, max_watts=1000.0, update_seconds=0.1)
    found = steps(track, at(0, 5), *(at(0.5 * i, 7) for i in range(1, 7)), at(3.5, 9))
    assert found[1:] == [Plain(0.002), *[Plain(0.0)] * 3, Stuck(2.0), Stuck(0.5), Plain(0.002)]


def test_while_the_machine_slept_anything_may_have_happened() -> None:
    track = rapl()
    track.update(at(0, 5_000_000))
    assert track.update(at(1, 6_000_000), suspended_seconds=60.0) == Gap(61.0)
    assert track.update(at(2, 7_000_000)) == Plain(1.0)
