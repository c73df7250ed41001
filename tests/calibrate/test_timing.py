"""How a layer is timed, by a clock that work moves."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from joulemark.calibrate.sampling import CONTROL
from joulemark.calibrate.timing import LEAST_CALLS, MachineBench
from joulemark.energy.features import Layer
from joulemark.meters.meters import Meters
from joulemark.meters.replay import SHORTEST_UPDATES

RELU = Layer(type="relu", batch=1, input=(8,), output=(8,))


class Time:
    """A clock that work moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Worker:
    """Takes the seconds of its list in turn when called; writing its input takes ten seconds that must not count."""

    def __init__(self, time: Time, seconds: list[float]) -> None:
        self.time, self.seconds, self.turn, self.prepared = time, seconds, 0, 0

    def prepare(self) -> None:
        self.time.now += 10.0
        self.prepared += 1

    def call(self) -> None:
        self.time.now += self.seconds[self.turn % len(self.seconds)]
        self.turn += 1


class FakeDevice:
    name, precision, free, nothing, repeat = "fake", "fp32", (), None, 1

    def __init__(self, time: Time, seconds: list[float], control: list[float]) -> None:
        self.time, self.seconds, self.control = time, seconds, control
        self.copies: list[int] = []

    def layer(self, layer: Layer, copies: int) -> Worker:
        self.copies.append(copies)
        return Worker(self.time, self.control if layer == CONTROL else self.seconds)

    def running(self):
        return nullcontext()

    def sync(self) -> None:
        pass


def test_the_median_call_counts_and_preparing_does_not():
    time = Time()
    device = FakeDevice(time, [1.0, 2.0, 3.0], [9.0, 5.0])
    timed = MachineBench(device, CONTROL, Meters(()), time).layer(RELU)
    assert timed.calls == LEAST_CALLS
    assert timed.seconds == 2.0
    assert (timed.low, timed.high) == (1.5, 3.0)  # of 1, 1, 2, 2, 3, 3, 3
    assert timed.control_seconds == 9.0  # one call came before the first of two, so every second one is measured
    assert timed.watts is None


class FakeWindow:
    """50 W, by the same clock."""

    def __init__(self, time: Time) -> None:
        self.time = time

    def __enter__(self) -> FakeWindow:
        self.began = self.time.now
        return self

    def __exit__(self, *_) -> None:
        taken = self.time.now - self.began
        self.seconds, self.joules = SimpleNamespace(value=taken), SimpleNamespace(value=50.0 * taken)


def test_watts_come_from_a_window_long_enough_for_the_counter():
    time = Time()
    windows = []

    def window(*_, **__) -> FakeWindow:
        windows.append(FakeWindow(time))
        return windows[-1]

    meters = SimpleNamespace(sources=[SimpleNamespace(update_seconds=0.1)], window=window)
    timed = MachineBench(FakeDevice(time, [0.5], [1.0]), CONTROL, meters, time).layer(RELU)
    assert timed.watts == pytest.approx(50.0)
    assert windows[0].seconds.value >= SHORTEST_UPDATES * 0.1


def test_queued_calls_are_timed_together():
    time = Time()
    device = FakeDevice(time, [1.0, 3.0], [1.0])
    device.repeat = 4
    assert MachineBench(device, CONTROL, Meters(()), time).layer(RELU).seconds == 2.0


@pytest.mark.parametrize(("weights", "copies"), [((64, 64), 8), ((4096, 1024), 4), ((4096, 8192), 1)])
def test_weights_have_as_many_copies_as_make_64_mb_at_most_eight(weights, copies):
    time = Time()
    device = FakeDevice(time, [1.0], [1.0])
    one = Layer(type="fc", batch=1, input=(weights[0],), output=(weights[1],))
    MachineBench(device, CONTROL, Meters(()), time).layer(one)
    assert device.copies == [1, copies]
