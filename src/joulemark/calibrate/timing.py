"""Measuring layers and nets one call at a time, the calls of a control layer in between.

A layer that runs alone in a loop finds its weights and its input where it left them. In a net its input was just
written, its weights were last used one pass ago, and other layers ran meanwhile. So a measured layer has several copies
of its weights that take turns (as many as make 64 MB, at most eight: a net of eight such layers), its input is written
again before every call, outside the measured time, and a call of the control layer follows.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, Protocol

import numpy as np

from joulemark.energy.features import Layer
from joulemark.meters.meters import Meters
from joulemark.meters.replay import SHORTEST_UPDATES

COPIES, COPIED_BYTES = 8, 64 << 20

LAYER_SECONDS = 0.25
"""Calls of a layer and the control are repeated for so long, and at least ``LEAST_CALLS`` times."""
LEAST_CALLS = 7
NET_SECONDS = 1.5
LEAST_PASSES = 4

Clock = Callable[[], float]


class Runnable(Protocol):
    """One layer or net made ready, with what it was last given."""

    def prepare(self) -> None:
        """Write the input again; not measured."""
        ...

    def call(self) -> None:
        """Run it once and drop what it gives."""
        ...


class Device(Protocol):
    """A backend that runs single layers and whole nets."""

    name: str
    precision: str
    free: tuple[str, ...]  # layer types that it fuses into the layer before
    nothing: Layer | None  # a layer that does nothing, if a call costs something before any layer
    repeat: int  # calls between two looks at the clock: 1, unless calls are queued

    def layer(self, layer: Layer, copies: int) -> Runnable:
        """A layer with ``copies`` of its weights. Raises ``ValueError`` for a type it cannot run alone."""
        ...

    def net(self, name: str, batch: int) -> Runnable:
        """A net of ours with fresh weights."""
        ...

    def running(self) -> AbstractContextManager[object]:
        """What everything runs inside of."""
        ...

    def sync(self) -> None:
        """Wait until all work is done."""
        ...


class Timed(NamedTuple):
    """What the calls took, in seconds, and watts where there is a counter."""

    seconds: float
    low: float
    high: float
    calls: int
    control_seconds: float
    watts: float | None


class Bench(Protocol):
    """Where layers and nets are measured; tests have one of their own."""

    def layer(self, layer: Layer) -> Timed:
        """Measure a layer."""
        ...

    def net(self, name: str, batch: int) -> Timed:
        """Measure a whole net."""
        ...

    def call_seconds(self) -> float:
        """What a call costs before any layer runs."""
        ...


class MachineBench:
    """This machine: a device, its control layer and the energy counters."""

    def __init__(self, device: Device, control: Layer, meters: Meters, clock: Clock = time.perf_counter) -> None:
        self.device, self.meters, self.clock = device, meters, clock
        with device.running():
            self.control = device.layer(control, 1)

    def layer(self, layer: Layer) -> Timed:
        """Measure a layer alone."""
        bytes_once = max(1, 4 * layer.weights)
        copies = max(1, min(COPIES, -(-COPIED_BYTES // bytes_once)))
        with self.device.running():
            return self._measure(self.device.layer(layer, copies), copies, LAYER_SECONDS, LEAST_CALLS)

    def net(self, name: str, batch: int) -> Timed:
        """Measure a whole net."""
        with self.device.running():
            return self._measure(self.device.net(name, batch), 1, NET_SECONDS, LEAST_PASSES)

    def call_seconds(self) -> float:
        """What a call costs before any layer runs: the time of one that does nothing."""
        return 0.0 if self.device.nothing is None else self.layer(self.device.nothing).seconds

    def _measure(self, subject: Runnable, warm: int, seconds: float, least: int) -> Timed:
        for _ in range(max(2, warm)):
            subject.prepare()
            subject.call()
        self.control.call()
        own: list[float] = []
        control: list[float] = []
        with _no_collection():
            began = self.clock()
            while len(own) < least or self.clock() - began < seconds:
                own.append(self._timed(subject))
                self._timed(self.control)
                control.append(self._timed(self.control))
            watts = self._watts(subject, statistics.median(own))
        low, middle, high = (float(value) for value in np.quantile(own, (0.25, 0.5, 0.75)))
        return Timed(middle, low, high, len(own), statistics.median(control), watts)

    def _timed(self, runnable: Runnable) -> float:
        """Seconds of one call."""
        runnable.prepare()
        self.device.sync()
        start = self.clock()
        for _ in range(self.device.repeat):
            runnable.call()
        self.device.sync()
        return (self.clock() - start) / self.device.repeat

    def _watts(self, subject: Runnable, seconds: float) -> float | None:
        """Mean power while the subject runs again and again; ``None`` without a counter."""
        if not self.meters.sources:
            return None
        length = max(LAYER_SECONDS, *(1.2 * SHORTEST_UPDATES * source.update_seconds for source in self.meters.sources))
        with self.meters.window("layer", sync=self.device.sync) as window:
            for _ in range(max(1, round(length / seconds))):
                subject.call()
        joules, taken = window.joules.value, window.seconds.value
        return joules / taken if joules and taken else None


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's collector of cycles out of the measured calls."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
