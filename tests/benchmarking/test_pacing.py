"""The paced scenario on a clock of its own: nets that take a known time, sleeps that last exactly as long as asked."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from joulemark.benchmarking import pacing
from joulemark.benchmarking.pacing import measure_pace
from joulemark.meters.meters import Meters
from joulemark.meters.source import Unavailable
from joulemark.record import Kind, Quantity

IMAGES = np.zeros((3, 1, 2, 2), np.float32)
NO_METERS = Meters((), (Unavailable("rapl", reason="there is none", fix="none"),))


class Clock:
    """Time that passes only when a net runs or somebody sleeps."""

    def __init__(self) -> None:
        self.now = self.busy = 0.0

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


class Worker:
    """A net that takes ``seconds`` and keeps the moments at which it was called."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds, self.called = clock, seconds, []

    def run(self, images):
        assert images.shape == (1, 1, 2, 2)
        self.called.append(self.clock.now)
        self.clock.now += self.seconds
        self.clock.busy += self.seconds
        return images


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    fake = SimpleNamespace(perf_counter=lambda: made.now, process_time=lambda: made.busy, sleep=made.sleep)
    monkeypatch.setattr(pacing, "time", fake)
    return made


def test_a_pace_by_hand(clock):
    baseline, candidate = Worker(clock, 0.004), Worker(clock, 0.001)
    pace = measure_pace(baseline, candidate, IMAGES, 50.0, 0.4, NO_METERS, order_seed=0)
    assert pace.window_seconds == pytest.approx(0.4)
    assert pace.candidate.inputs == pace.baseline.inputs == 3 * 2 * 20
    assert (pace.candidate.missed, pace.baseline.missed) == (0, 0)
    assert pace.baseline.latency_seconds == pytest.approx(0.004)
    assert pace.candidate.latency_95_seconds == pytest.approx(0.001)
    assert pace.baseline.busy_seconds_per_hour == pytest.approx(720)  # 4 ms of every 20 ms
    assert pace.candidate.cpu_seconds_per_hour == pytest.approx(180)
    assert pace.busy_ratio == pytest.approx(4.0)
    assert pace.blocks == pytest.approx(np.array([(0.004, 0.001, 0.004)] * 3))
    assert np.diff(candidate.called[3:23]) == pytest.approx(0.02)  # three warm it up, then one every 20 ms
    assert pace.candidate.joules_per_hour.value is None
    assert "there is none" in pace.candidate.joules_per_hour.reason
    assert pace.idle_joules_per_hour.value is None


def test_a_net_that_is_too_slow_misses_and_is_still_sent_every_input(clock):
    pace = measure_pace(Worker(clock, 0.0), Worker(clock, 0.004), IMAGES, 500.0, 0.04, NO_METERS, order_seed=1)
    assert pace.window_seconds == pytest.approx(0.04)
    assert pace.candidate.inputs == 6 * 20
    assert (
        pace.candidate.missed >= 6 * 19
    )  # the first is answered just as the next is due; each later one 2 ms later still
    assert pace.candidate.latency_seconds == pytest.approx(0.004 + 9.5 * 0.002)
    assert pace.candidate.busy_seconds_per_hour == pytest.approx(3600)


def test_a_slow_pace_has_two_inputs_in_a_window(clock):
    pace = measure_pace(Worker(clock, 0.001), Worker(clock, 0.001), IMAGES, 1.0, 0.5, NO_METERS, order_seed=0)
    assert pace.window_seconds == pytest.approx(2.0)
    assert pace.candidate.inputs == 12


def test_the_windows_of_a_net_go_on_through_the_images(clock):
    seen = []

    class Reader(Worker):
        def run(self, images):
            seen.append(float(images[0, 0, 0, 0]))
            return super().run(images)

    images = np.arange(7, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 2, 2), np.float32)
    measure_pace(Worker(clock, 0.001), Reader(clock, 0.001), images, 1.0, 0.5, NO_METERS, order_seed=0)
    assert seen[5:] == [n % 7 for n in range(12)]  # five warm it up


def test_the_seed_decides_who_comes_first(clock):
    starts = set()
    for seed in range(6):
        baseline, candidate = Worker(clock, 0.0), Worker(clock, 0.001)
        measure_pace(baseline, candidate, IMAGES[:1], 1000.0, 0.001, NO_METERS, order_seed=seed)
        starts.add(baseline.called[1] < candidate.called[1])  # one image warms each up
    assert starts == {True, False}


def test_joules_an_hour_keep_their_uncertainties_and_one_lost_window_makes_them_unknown():
    def window(value, **more):
        kept = {"unit": "J", "kind": Kind.MEASURED, "method": "energy counter", "scope": "board", "source": "made up"}
        return Quantity(value=value, **kept, **more)

    windows = [window(v, random=3.0, systematic=v / 20, gain="board", paths=("wall/board",)) for v in (30.0, 50.0)]
    told = pacing._hourly(windows, 7200.0)
    assert (told.value, told.unit, told.count, told.method) == (40.0, "J/h", 2, "energy counter, gross")
    assert (told.random, told.systematic) == (pytest.approx(math.sqrt(18) / 2), pytest.approx(2.0))
    assert (told.gain, told.paths) == ("board", ("wall/board",))
    lost = pacing._hourly([*windows, window(None, reason="reset")], 7200.0)
    assert (lost.value, lost.random, lost.reason, lost.count) == (None, None, "reset", 3)
