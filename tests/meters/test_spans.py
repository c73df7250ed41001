"""Spans between readings and their sum over a window: ramps in closed form, small cases by hand, overlaps counted."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traces import SECOND, facts, trace_of, watts

from joulemark.meters.spans import HELD_UPDATES, Span, Tally, counted, instant, integrated, tally_of, track_of
from joulemark.meters.trace import Line, Trace
from joulemark.record import Reading

UNREAD = ("unread", "nobody looked")
RESET = ("reset", "its counter was reset")
SLEPT = ("suspended", "the machine slept")


def of_counter(trace: Trace) -> tuple[list[Span], list[str]]:
    return counted(trace.header.sources[0], trace.sleeps, trace.readings(0))


def of_power(trace: Trace, start: float, stop: float) -> tuple[list[Span], list[str]]:
    source, edges = trace.header.sources[0], (round(start * SECOND), round(stop * SECOND))
    return integrated(source, trace, trace.readings(0), *edges)


def test_a_reading_is_of_the_middle_of_the_time_that_it_took() -> None:
    assert instant(Reading(before_ns=10, after_ns=31, raw=5)) == 20


def test_a_span_of_a_counter_has_the_joules_of_its_step() -> None:
    spans, bad = of_counter(trace_of(facts(unit=0.5, modulus=1000, max_watts=100.0), [(0, 900), (1, 980), (3, 60)]))
    assert bad == []
    assert spans == [
        Span(0, SECOND, 40.0),
        Span(SECOND, 3 * SECOND, 40.0, wrapped=True),  # 20 units up to the range and 60 from 0
    ]


@pytest.mark.parametrize("readings", [[], [(1.0, 7)]])
def test_a_counter_read_less_than_twice_has_no_span(readings: list[tuple[float, int]]) -> None:
    assert of_counter(trace_of(facts(), readings)) == ([], [])


@pytest.mark.parametrize(
    ("more", "readings", "flag"),
    [
        ({}, [(0, 5000), (1, 3)], "reset"),
        ({"modulus": 1000, "max_watts": 10.0}, [(0, 5), (200, 6)], "gap"),  # two turns were possible
        ({"max_watts": 10.0}, [(0, 0), (1, 500)], "implausible"),
        ({}, [(0, 7), (3, 7)], "stuck"),
    ],
)
def test_a_step_that_is_no_energy_is_lost_with_its_flag(
    more: dict[str, float], readings: list[tuple[float, int]], flag: str
) -> None:
    ((span,), _) = of_counter(trace_of(facts(**more), readings))
    assert span.lost is not None
    assert (span.lost[0], span.joules, span.start_ns, span.stop_ns) == (flag, 0.0, 0, readings[1][0] * SECOND)
    assert span.lost[1].startswith("its counter ")


def test_a_stuck_counter_takes_back_the_time_that_was_called_plain() -> None:
    spans, _ = of_counter(trace_of(facts(), [(0, 0), (1, 50), (2, 50), (3.5, 50)]))
    assert [span.lost and span.lost[0] for span in spans] == [None, None, "stuck"]
    assert (spans[1].start_ns, spans[2].start_ns) == (SECOND, SECOND)


def test_what_a_counter_did_while_the_machine_slept_is_lost_as_sleep() -> None:
    slept = Line(b=round(1.2 * SECOND), a=round(1.4 * SECOND), z=60 * SECOND)
    spans, _ = of_counter(trace_of(facts(), [(0, 0), (1, 100), (2, 200), (3, 300)], slept))
    assert [span.lost for span in spans] == [None, SLEPT, None]


def test_a_value_that_no_counter_shows_is_told_and_bridged() -> None:
    spans, (words,) = of_counter(trace_of(facts(modulus=1000, max_watts=100.0), [(0, 10), (1, 1001), (2, 60)]))
    assert spans == [Span(0, 2 * SECOND, 50.0)]
    assert "1001" in words


def test_facts_that_cannot_be_have_no_track() -> None:
    with pytest.raises(ValueError, match="positive"):
        track_of(facts(unit=0.0))


def test_a_ramp_of_power_is_its_area_to_the_last_digit() -> None:
    """100 W and 30 W a second more: 100 T + 15 T^2, however unevenly it is read."""
    times = [0.0, 0.1, 0.35, 0.4, 0.7, 1.0]
    spans, bad = of_power(trace_of(watts(), [(t, round(1e3 * (100 + 30 * t))) for t in times]), 0, 1)
    assert (bad, math.fsum(span.joules for span in spans)) == ([], pytest.approx(115.0, rel=1e-12))
    for span, (left, right) in zip(spans, pairwise(times), strict=False):
        apart = 30 * (right - left)
        assert span.random == pytest.approx((right - left) * apart / math.sqrt(2))


def test_the_first_and_the_last_power_are_held_towards_the_edges_and_no_further_than_four_updates() -> None:
    readings = [(2.0, 100_000), (2.1, 300_000)]
    spans, _ = of_power(trace_of(watts(), readings), 1.9, 2.3)
    assert [(span.start_ns, span.stop_ns, span.joules) for span in spans] == [
        (2_000_000_000, 2_100_000_000, pytest.approx(20.0)),
        (1_900_000_000, 2_000_000_000, pytest.approx(10.0)),
        (2_100_000_000, 2_300_000_000, pytest.approx(60.0)),
    ]
    spans, _ = of_power(trace_of(watts(), readings), 0, 9)
    assert HELD_UPDATES == 4
    assert [(span.start_ns, span.stop_ns) for span in spans[1:]] == [
        (1_600_000_000, 2_000_000_000),
        (2_100_000_000, 2_500_000_000),
    ]


@pytest.mark.parametrize(("period", "lost"), [(None, True), (0.2, False)])
def test_power_is_bridged_over_four_updates_or_periods_of_the_sampler(period: float | None, lost: bool) -> None:
    spans, _ = of_power(trace_of(watts(), [(0, 100_000), (0.8, 100_000)], period=period), 0, 0.8)
    assert (spans[0].lost is not None, spans[0].joules) == (lost, 0.0 if lost else pytest.approx(80.0))


def test_a_power_below_0_or_above_the_most_is_told_in_watts_and_no_reading() -> None:
    readings = [(0, 100_000), (0.1, -1_000), (0.2, 1_000_001), (0.3, 1_000_000)]
    spans, bad = of_power(trace_of(watts(), readings), 0, 0.3)
    assert bad == ["-1 W is no power of this part", "1000 W is no power of this part"]
    assert spans[0] == Span(0, 300_000_000, pytest.approx(165.0), pytest.approx(0.3 * 900 / math.sqrt(2)))


def test_no_power_at_all_has_no_span() -> None:
    assert of_power(trace_of(watts(), []), 0, 1) == ([], [])


def test_power_over_a_sleep_of_the_machine_is_lost() -> None:
    slept = Line(b=SECOND // 100, a=SECOND // 50, z=SECOND)
    spans, _ = of_power(trace_of(watts(), [(0, 100_000), (0.1, 100_000)], slept), 0, 0.1)
    assert spans[0] == Span(0, 100_000_000, lost=SLEPT)


def test_a_window_of_whole_spans_is_their_sum() -> None:
    spans = [Span(0, 10, 3.0, 0.3), Span(10, 20, 4.0, 0.4, wrapped=True)]
    assert tally_of(spans, 0, 20, UNREAD) == Tally(7.0, 0.5, 0, (), wrapped=True)


def test_a_span_over_the_edge_counts_by_its_share_and_is_as_uncertain_as_it_is_cut() -> None:
    found = tally_of([Span(0, 10, 8.0, 2.0)], 0, 4, UNREAD)
    assert found.joules == pytest.approx(3.2)
    assert found.random == pytest.approx(math.hypot(0.4 * 0.6 * 8.0, 0.4 * 2.0))
    assert (found.lost_ns, found.reasons) == (0, ())


def test_a_wrap_outside_the_window_is_not_in_it() -> None:
    assert not tally_of([Span(0, 10, 1.0), Span(10, 20, 1.0, wrapped=True)], 0, 10, UNREAD).wrapped


def test_time_that_no_span_reaches_is_unread_on_either_side() -> None:
    assert tally_of([Span(10, 20, 1.0)], 7, 25, UNREAD) == Tally(1.0, 0.0, 8, (UNREAD,), wrapped=False)
    assert tally_of([], 7, 25, UNREAD) == Tally(0.0, 0.0, 18, (UNREAD,), wrapped=False)


def test_each_reason_is_given_once_in_the_order_of_the_spans() -> None:
    spans = [Span(0, 5, lost=RESET), Span(5, 6, 1.0), Span(6, 8, lost=SLEPT), Span(8, 9, lost=RESET)]
    found = tally_of(spans, 0, 12, UNREAD)
    assert (found.joules, found.lost_ns, found.reasons) == (1.0, 11, (RESET, SLEPT, UNREAD))


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20)), max_size=8),
    st.integers(0, 20), st.integers(1, 20),
)  # fmt: skip
def test_lost_time_that_overlaps_is_lost_once(lost: list[tuple[int, int]], start: int, length: int) -> None:
    """Against a list of every nanosecond; one span over all of it leaves nothing unread."""
    spans = [Span(0, 50, 50.0), *(Span(left, left + width, lost=RESET) for left, width in lost)]
    dark = {ns for left, width in lost for ns in range(left, left + width) if start <= ns < start + length}
    found = tally_of(spans, start, start + length, UNREAD)
    assert (found.lost_ns, found.reasons) == (len(dark), (RESET,) if dark else ())
    assert found.joules == pytest.approx(length)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 100), st.booleans()), min_size=1, max_size=12), st.data())
def test_what_is_known_and_what_is_lost_of_two_parts_are_those_of_the_whole(
    drawn: list[tuple[int, int, bool]], data: st.DataObject
) -> None:
    spans, now = [], 0
    for length, joules, known in drawn:
        more = {"joules": float(joules)} if known else {"lost": RESET}
        spans.append(Span(now, now + length, **more))
        now += length
    cut = data.draw(st.integers(0, now))
    whole, left, right = (tally_of(spans, *edges, UNREAD) for edges in ((0, now), (0, cut), (cut, now)))
    assert left.joules + right.joules == pytest.approx(whole.joules)
    assert left.lost_ns + right.lost_ns == whole.lost_ns
    assert left.lost_ns <= cut
