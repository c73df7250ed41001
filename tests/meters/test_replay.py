"""Energy of a window from raw readings: against sums of a simulated machine, and by hand."""

from __future__ import annotations

import itertools
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traces import SECOND, facts, trace_of, watts

from joulemark.meters.replay import joules_of, joules_of_all, polled_share, replay, ticks_of, unknown_joules
from joulemark.meters.trace import Header, Line, Trace, encode

MS = 1_000_000


def between(trace: Trace, start: float, stop: float) -> Any:
    return joules_of(trace, 0, round(start * SECOND), round(stop * SECOND))


def test_several_wraps_in_a_window_are_solved_by_the_readings_between() -> None:
    raws = [(float(second), 300 * second % 1000) for second in range(11)]  # 300 W, a turn each 3.3 s
    found = between(trace_of(facts(modulus=1000, max_watts=500.0), raws), 0, 10)
    assert (found.value, found.flags, found.lost_seconds, found.coverage) == (3000.0, ("wrapped",), 0.0, 1.0)


def test_a_reset_loses_only_the_time_between_two_readings_and_the_rest_stands_in_the_bounds() -> None:
    raws = [(0, 5000), (1, 5100), (2, 5200), (3, 0), (4, 100), (5, 200)]
    found = between(trace_of(facts(), raws), 0, 5)
    assert (found.value, found.random, found.systematic) == (None, None, None)
    assert (found.lost_seconds, found.coverage) == (1.0, 0.8)
    assert (found.low, found.high) == (400.0, 1400.0)  # 1 s at 0 W, or at 1000 W
    assert found.flags == ("reset",)
    assert found.reason == "board: its counter was reset (1 s lost of 5 s)"


def test_a_read_that_failed_loses_nothing_if_the_next_one_works() -> None:
    trace = trace_of(facts(), [(0, 0), (1, 100), (3, 300), (4, 400)], Line(s=0, n=2, b=2 * SECOND, e="EIO"))
    found = between(trace, 0, 4)
    assert (found.value, found.lost_seconds, found.flags) == (400.0, 0.0, ())


def test_a_source_that_is_lost_keeps_what_it_counted_and_says_its_error() -> None:
    trace = trace_of(facts(), [(0, 0), (1, 100), (2, 200)], Line(s=0, n=3, b=3 * SECOND, e="GPU is lost"))
    found = between(trace, 0, 4)
    assert (found.value, found.low, found.high, found.lost_seconds) == (None, 200.0, 2200.0, 2.0)
    assert found.flags == ("unread",)
    assert "GPU is lost" in found.reason


def test_without_any_reading_the_whole_window_is_lost() -> None:
    found = between(trace_of(facts(), []), 0, 4)
    assert (found.value, found.low, found.lost_seconds, found.coverage) == (None, 0.0, 4.0, 0.0)


def test_sleep_of_the_machine_is_a_gap_with_its_time() -> None:
    slept = Line(b=round(1.2 * SECOND), a=round(1.4 * SECOND), z=60 * SECOND)
    found = between(trace_of(facts(), [(0, 0), (1, 100), (2, 900), (3, 1000)], slept), 0, 3)
    assert (found.value, found.flags, found.low) == (None, ("suspended",), 200.0)
    assert found.lost_seconds == 61.0
    assert found.coverage == pytest.approx(2 / 63)


def test_a_counter_that_stands_is_stuck_from_when_it_moved_though_each_step_is_short() -> None:
    raws = [(0.5 * i, min(50 * i, 100)) for i in range(13)]  # 100 W for 1 s, then nothing for 5 s
    found = between(trace_of(facts(), raws), 0, 6)
    assert (found.flags, found.low, found.lost_seconds) == (("stuck",), 100.0, 5.0)


def test_an_edge_between_two_readings_counts_its_share_with_its_uncertainty() -> None:
    found = between(trace_of(facts(), [(0, 0), (4, 400), (8, 1200)]), 1, 6)
    assert found.value == pytest.approx(300 + 400)
    cut = math.hypot(400 * 0.75 * 0.25, 800 * 0.5 * 0.5)
    assert found.random == pytest.approx(math.hypot(cut, 700 * 0.1 / (5 * math.sqrt(6))))


def test_of_readings_that_overlap_the_one_at_the_edge_counts() -> None:
    trace = trace_of(facts(), [(5, 500)], Line(s=0, b=0, a=0, r=0), Line(s=0, b=10 * SECOND - 5, a=10 * SECOND, r=1000))
    trace.add(Line(s=0, n=9, b=10 * SECOND - 9, a=10 * SECOND - 2, r=1001))  # would make the counter run backwards
    assert between(trace, 0, 10 - 5e-9).value == 1000.0


def test_a_sampler_that_was_starved_or_killed_is_told_by_the_numbers_of_its_slots() -> None:
    whole = [(0.1 * i, 10 * i) for i in range(101)]
    assert between(trace_of(facts(), whole, period=0.1), 0, 10).flags == ()
    trace = Trace(Header(sources=(facts(),), period_seconds=0.1))
    for i in (*range(50), 100):  # silent from 5 s on, but for the edge
        trace.add(Line(s=0, n=i if i < 100 else None, b=i * 100 * MS, a=i * 100 * MS, r=10 * i))
    assert polled_share(trace, 0, 0, 10 * SECOND) == 0.5
    found = between(trace, 0, 10)
    assert (found.value, found.flags) == (1000.0, ("starved",))  # the edges give the energy all the same


@pytest.mark.parametrize(("period", "stop"), [(None, 10), (0.1, 0.49)])
def test_without_a_sampler_or_under_five_slots_nobody_was_starved(period: float | None, stop: float) -> None:
    trace = trace_of(facts(), [(0, 0)], period=period)
    assert polled_share(trace, 0, 0, round(stop * SECOND)) is None


def test_a_read_that_was_tried_in_its_slot_is_no_hole_and_an_edge_is_no_slot_more() -> None:
    trace = trace_of(facts(), [(0.1 * i, i) for i in range(8)], period=0.1)
    for at in (8, 9):
        trace.add(Line(s=0, n=at, b=at * 100 * MS, e="EIO"))
    assert polled_share(trace, 0, 0, SECOND) == 1.0
    assert polled_share(trace, 0, 0, 2 * SECOND) == 0.5


def test_an_edge_within_an_update_of_a_reading_is_set_on_it() -> None:
    trace = trace_of(facts(), [(0, 0), (0.5, 80), (1, 100)])
    assert between(trace, 0.06, 0.95).value == pytest.approx(100.0)
    assert between(trace, 0.25, 1).value == pytest.approx(40 + 20)  # further away it is cut by its share


@pytest.mark.parametrize(
    ("more", "seconds", "flags"),
    [({}, 2.0, ()), ({}, 1.9, ("too_short",)), ({"gain_uncertainty": None}, 2.0, ("gain_unknown",)),
     ({"flags": ("energy_filtered",)}, 2.0, ("energy_filtered",))],
)  # fmt: skip
def test_flags_are_those_of_the_window_and_of_the_source(
    more: dict[str, Any], seconds: float, flags: tuple[str, ...]
) -> None:
    found = between(trace_of(facts(**more), [(0, 0), (seconds, 100)]), 0, seconds)
    assert (found.value, found.flags) == (100.0, flags)
    assert found.systematic == (5.0 if "gain_uncertainty" not in more else None)


def test_a_window_without_length_has_no_joules_and_no_coverage() -> None:
    found = between(trace_of(facts(), [(1, 50), (2, 90)]), 1, 1)
    assert (found.value, found.coverage, found.flags) == (0.0, None, ("too_short",))


def test_ticks_are_the_readings_at_which_the_counter_had_moved() -> None:
    trace = trace_of(facts(), [(0, 500), (1, 500), (2, 510), (3, 510), (4, 530), (5, 531)])
    assert ticks_of(trace, 0, 0, 4 * SECOND) == [(2 * SECOND, 10.0), (4 * SECOND, 30.0)]
    reset = trace_of(facts(), [(0, 500), (1, 510), (2, 0), (3, 20)])
    assert ticks_of(reset, 0, 0, 3 * SECOND) == [(SECOND, 10.0), (3 * SECOND, 30.0)]  # the lost second has none


def test_every_source_is_answered_in_the_order_of_the_header_and_a_power_judges_its_counter() -> None:
    trace = Trace(Header(sources=(facts(path="wall/a"), watts(path="wall/a", averaging_seconds=0.1))))
    for at in range(101):
        for source, raw in enumerate((10 * at, 60_000)):
            trace.add(Line(s=source, n=at, b=at * 100 * MS, a=at * 100 * MS, r=raw))
    counter, power = joules_of_all(trace, 0, 10 * SECOND)
    assert (counter.value, power.value) == (1000.0, pytest.approx(600.0))
    assert (counter.flags, power.flags) == (("disagrees",), ())


def test_unknown_joules_have_the_reason_and_nothing_else() -> None:
    found = unknown_joules(facts(gain_uncertainty=None, path="wall/a"), "no reading")
    assert (found.value, found.low, found.high, found.random, found.systematic) == (None, None, None, None, None)
    assert (found.reason, found.flags, found.lost_seconds, found.coverage) == ("no reading", (), None, None)
    assert (found.unit, found.scope, found.paths) == ("J", "board", ("wall/a",))


# Power sensors


def test_constant_power_is_its_product_with_the_time_and_equal_readings_all_count() -> None:
    trace = trace_of(watts(), [(0.07 + 0.1 * i, 100_000) for i in range(100)])
    found = between(trace, 0, 10)
    assert found.value == pytest.approx(1000.0, abs=1e-9)
    assert found.method == "integrated power"
    assert found.lost_seconds == 0.0


@pytest.mark.parametrize("phase", [0.0, 0.03, 0.07])
def test_a_step_of_power_is_off_by_at_most_half_a_reading(phase: float) -> None:
    raws = [(t, 50_000 if t < 5 else 300_000) for t in (phase + 0.1 * i for i in range(100))]
    assert between(trace_of(watts(), raws), 0, 10).value == pytest.approx(5 * 50 + 5 * 300, abs=250 * 0.05 + 1e-9)


def test_a_window_of_a_quarter_second_reaches_to_its_edges() -> None:
    trace = trace_of(watts(), [(3.1, 200_000), (3.2, 200_000)])
    found = between(trace, 3.0, 3.25)
    assert found.value == pytest.approx(50.0)
    assert "too_short" in found.flags


def test_power_that_was_not_read_for_long_is_lost_and_not_bridged() -> None:
    trace = trace_of(watts(max_watts=400.0), [(0, 100_000), (0.1, 100_000), (3.0, 100_000), (3.1, 100_000)])
    found = between(trace, 0, 3.1)
    assert (found.value, found.flags) == (None, ("unread",))
    assert found.lost_seconds == pytest.approx(2.9)
    assert (found.low, found.high) == (pytest.approx(20.0), pytest.approx(20.0 + 2.9 * 400))


def test_power_that_no_part_draws_is_left_out() -> None:
    raws = [(0.1 * i, 100_000 if i != 5 else 4_000_000_000) for i in range(11)]
    assert between(trace_of(watts(), raws), 0, 1).value == pytest.approx(100.0)


def test_power_that_flickers_between_the_readings_is_as_uncertain_as_it_says() -> None:
    """Power that is another one each 10 ms, read every 100 ms: nine tenths of it nobody sees."""
    rng = np.random.default_rng(1)
    held, errors, told = 0, [], []
    for _ in range(200):
        power = [int(watt) for watt in rng.choice((50_000, 150_000, 400_000), 1000)]
        found = between(trace_of(watts(), [(0.1 * i, power[10 * i]) for i in range(100)]), 0, 10)
        errors.append(found.value - math.fsum(power) * 1e-3 * 0.01)
        told.append(found.random)
        held += abs(errors[-1]) <= 1.96 * found.random
    assert held >= 0.93 * 200
    assert statistics.median(told) < 1.6 * statistics.pstdev(errors)  # and no wider than need be


def test_a_power_sensor_whose_child_died_is_unknown_with_the_reason_and_the_known_part_below() -> None:
    raws = [(0.05 * i, 100_000) for i in range(200)]  # the sampler died at 10 s; the edges are the program's own
    trace = trace_of(watts(update_seconds=0.0066, max_watts=300.0), raws, period=0.05)
    trace.add(Line(s=0, b=60 * SECOND, a=60 * SECOND, r=100_000))
    found = between(trace, 0, 60)
    assert found.value is None
    assert set(found.flags) >= {"unread", "starved"}
    assert "not read often enough" in (found.reason or "")
    assert found.low == pytest.approx(100.0 * 9.95, rel=1e-6)
    assert found.low + 300 * 50 < found.high < found.low + 300 * 50.2


def test_an_averaging_sensor_has_a_longer_phase() -> None:
    raws = [(0.1 * i, 100_000) for i in range(101)]
    found = between(trace_of(watts(averaging_seconds=0.9), raws), 0, 10)
    assert found.random == pytest.approx(100.0 * 1.0 / math.sqrt(6))
    assert "too_short" in found.flags  # under 20 s


# The whole of it, against a machine that is simulated


UPDATE_MS, MOST_WATTS = 10, 1000


@st.composite
def histories(draw: st.DrawFn) -> tuple[int | None, list[tuple[int, int, str]]]:
    """Range in mJ, and between readings (milliseconds, watts, what happened just before the second of them)."""
    small = draw(st.booleans())  # a turn each 100 ms at most; or a range that resets can be told in
    faults = ["", "", "", "unread", "sleep"] + ([] if small else ["reset"])
    lengths = st.one_of(st.integers(15, 60), st.just(300))
    steps = draw(
        st.lists(st.tuples(lengths, st.integers(10, MOST_WATTS), st.sampled_from(faults)), min_size=1, max_size=40)
    )
    return (100_000 if small else draw(st.sampled_from([None, 4_000_000_000_000]))), steps


@settings(deadline=None, max_examples=200)
@given(histories())
def test_the_sum_is_the_truth_or_the_lost_time_holds_every_fault(history: tuple[int | None, list]) -> None:
    modulus, steps = history
    source = facts(unit=1e-3, modulus=modulus, max_watts=float(MOST_WATTS), update_seconds=UPDATE_MS / 1000)
    now, shown, truth, resets = 0, 900_000_000_000, 0, 0
    trace = Trace(Header(sources=(source,)))

    def read(number: int | None) -> None:
        raw = shown if modulus is None else shown % modulus
        trace.add(Line(s=0, n=number, b=now * MS, a=now * MS, r=raw))

    read(None)
    good, lossy, lost_ms, maybe_ms = 0, False, 0, 0
    rest = 0  # energy used since the counter was refreshed, mJ
    for number, (length, power, fault) in enumerate([*steps, (20, 100, "")]):
        since = (now + length) % UPDATE_MS  # refreshed so long ago
        fresh = max(length - since, 0) if now // UPDATE_MS != (now + length) // UPDATE_MS else 0
        shown += rest + power * fresh if fresh else 0
        rest = power * (length - fresh) + (0 if fresh else rest)
        now, truth = now + length, truth + power * length
        if fault == "sleep":
            trace.add(Line(b=(now - 1) * MS, a=now * MS, z=7 * SECOND))
            shown += 12_345
        elif fault == "reset":
            shown, resets = shown // 3, resets + 1
        lossy |= fault in ("sleep", "reset")
        if fault == "unread":
            trace.add(Line(s=0, n=number, b=now * MS, e="EIO"))
            continue
        read(None if number == len(steps) else number)
        if lossy:
            lost_ms += now - good
        elif modulus == 100_000 and now - good >= 100 - UPDATE_MS:
            maybe_ms += now - good  # another turn was possible
        good, lossy = now, False
    found = joules_of(trace, 0, 0, now * MS)
    slept_ms = 7000 * sum(fault == "sleep" for _, _, fault in steps)
    phase = MOST_WATTS * UPDATE_MS / 1000  # one update period of energy, J
    assert lost_ms + slept_ms <= found.lost_seconds * 1000 + 1e-6
    assert found.lost_seconds * 1000 - 1e-6 <= lost_ms + maybe_ms + slept_ms
    if found.value is None:
        assert found.lost_seconds > 0
        assert found.low - phase <= truth / 1000 <= found.high + phase
        assert found.reason
    else:
        assert lost_ms == 0
        assert found.value == pytest.approx(truth / 1000, abs=phase)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 1000), min_size=2, max_size=30), st.data())
def test_parts_of_a_window_add_up_to_it(powers: list[int], data: st.DataObject) -> None:
    raws = list(zip(range(len(powers) + 1), itertools.accumulate([7, *powers]), strict=True))
    trace = trace_of(facts(update_seconds=0.0), [(float(t), raw) for t, raw in raws])
    cut = data.draw(st.integers(1, len(powers) * 1000 - 1)) / 1000
    parts = between(trace, 0, cut).value + between(trace, cut, len(powers)).value
    assert parts == pytest.approx(sum(powers), rel=1e-6, abs=1e-6)


# Replay


def stored(path: Path, *, raw: int = 400) -> None:
    trace = Trace(Header(sources=(facts(),)))
    lines = [
        Line(s=0, b=0, a=0, r=0),
        Line(w="open", k=1, t=0, name="run 1"),
        Line(s=0, b=4 * SECOND, a=4 * SECOND, r=400),
        Line(w="close", k=1, t=4 * SECOND, name="run 1"),
    ]
    for line in lines:
        trace.add(line)
    lines.append(Line(w="result", k=1, q=(joules_of(trace, 0, 0, 4 * SECOND),)))
    lines[2] = Line(s=0, b=4 * SECOND, a=4 * SECOND, r=raw)
    lines.append(Line(s=0, n=1, b=2 * SECOND, a=2 * SECOND, r=50))  # came late: it was not there when the window closed
    path.write_bytes(encode([trace.header, *lines]))


def test_replay_gives_the_same_numbers_to_the_last_digit_and_notices_an_edited_reading(tmp_path: Path) -> None:
    stored(tmp_path / "good.jsonl")
    (one,) = replay(tmp_path / "good.jsonl")
    assert (one.window, one.scope, one.seconds, one.same) == ("run 1", "board", 4.0, True)
    assert one.recomputed.value == 400.0
    stored(tmp_path / "edited.jsonl", raw=399)
    (one,) = replay(tmp_path / "edited.jsonl")
    assert (one.same, one.stored.value, one.recomputed.value) == (False, 400.0, 399.0)


def written(path: Path, *lines: Line) -> Path:
    path.write_bytes(encode([Header(sources=(facts(),)), *lines]))
    return path


def test_a_window_that_has_no_result_is_computed_and_is_not_the_same(tmp_path: Path) -> None:
    lines = [Line(s=0, b=0, a=0, r=0), Line(w="open", k=7, t=0), Line(s=0, b=SECOND, a=SECOND, r=90),
             Line(w="close", k=7, t=SECOND)]  # fmt: skip
    (one,) = replay(written(tmp_path / "t.jsonl", *lines))
    assert (one.window, one.stored, one.recomputed.value, one.same) == ("", None, 90.0, False)


@pytest.mark.parametrize(
    "lines", [(), (Line(w="open", k=1, t=0),), (Line(w="close", k=1, t=5),), (Line(w="open", k=1, t=0), Line(w="end"))]
)
def test_what_was_never_opened_and_closed_is_no_window(tmp_path: Path, lines: tuple[Line, ...]) -> None:
    assert replay(written(tmp_path / "t.jsonl", *lines)) == []


def test_two_windows_may_overlap(tmp_path: Path) -> None:
    readings = [Line(s=0, b=at * SECOND, a=at * SECOND, r=at * 10) for at in range(4)]
    edges = [
        Line(w=word, k=k, t=at * SECOND, name=f"window {k}")
        for at, (word, k) in enumerate([("open", 1), ("open", 2), ("close", 1), ("close", 2)])
    ]
    found = replay(
        written(tmp_path / "t.jsonl", *(line for pair in zip(readings, edges, strict=True) for line in pair))
    )
    assert [(one.window, one.seconds, one.recomputed.value) for one in found] == [
        ("window 1", 2.0, 20.0),
        ("window 2", 2.0, 20.0),
    ]


def test_a_line_of_no_source_is_refused_with_its_number(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", Line(w="open", k=1, t=0), Line(s=3, b=0, a=0, r=0))
    with pytest.raises(ValueError, match=r"t\.jsonl, line 3: it names no source"):
        replay(path)


def test_a_window_is_closed_once(tmp_path: Path) -> None:
    lines = [Line(w="open", k=1, t=0), Line(w="close", k=1, t=5), Line(w="close", k=1, t=9)]
    assert len(replay(written(tmp_path / "t.jsonl", *lines))) == 1


def test_no_more_time_is_lost_than_the_window_has():
    trace = trace_of(watts(max_watts=100.0), [(0, 50_000)])  # it died long before
    joules = joules_of(trace, 0, 10 * SECOND, 20 * SECOND)
    assert (joules.value, joules.high) == (None, pytest.approx(1000.0))
    assert joules.lost_seconds == pytest.approx(10.0)
    assert "10 s lost of 10 s" in joules.reason


def test_a_read_that_failed_long_before_is_no_reason():
    failed = Line(s=0, n=2, b=SECOND // 5, e="EIO")
    trace = trace_of(facts(), [(0, 0), (0.1, 10)], failed)
    assert "EIO" not in joules_of(trace, 0, 10 * SECOND, 20 * SECOND).reason
    assert "EIO" in joules_of(trace, 0, SECOND // 5, SECOND).reason
