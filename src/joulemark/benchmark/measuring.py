"""Measuring a net against the baseline: shuffled blocks of (baseline, candidate, baseline), the same real inputs."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from joulemark.backends.backend import Compiled
from joulemark.benchmark.suite import Measuring
from joulemark.meters.source import Source, Unavailable
from joulemark.meters.window import Window
from joulemark.record import Kind, Quantity, Ratio
from joulemark.stats import bootstrap_median, paired_ratio

WARM_UP_SECONDS = 2.0
STEADY = 0.05
"""Warm-up ends when two passes in a row differ by less than this share, or after ``WARM_UP_SECONDS``."""


@dataclasses.dataclass(frozen=True)
class Meters:
    """The energy counters of this machine, or why there are none."""

    sources: Sequence[Source]
    unavailable: Sequence[Unavailable]

    def window(self) -> Window:
        """A window over all counters."""
        return Window(self.sources, unavailable=self.unavailable)


@dataclasses.dataclass
class Pair:
    """One baseline and one candidate on one backend at one batch size, and what their blocks gave."""

    name: str
    baseline: Compiled
    candidate: Compiled
    batch_size: int
    repeats: dict[int, int] = dataclasses.field(default_factory=dict)  # id of compiled -> passes in a window
    seconds: list[tuple[float, float, float]] = dataclasses.field(default_factory=list)
    joules: list[tuple[Quantity, Quantity, Quantity]] = dataclasses.field(default_factory=list)


def measure_pairs(
    pairs: Sequence[Pair], images: NDArray[np.float32], measuring: Measuring, meters: Meters
) -> list[str]:
    """Fill ``pairs`` with ``measuring.blocks`` blocks each, in an order shuffled by ``measuring.order_seed``.

    A window makes whole passes over the same images in batches, so that a dynamic net meets the same inputs in every
    window; how many passes is fixed beforehand from the time one takes. Returns the order in which pairs came.
    """
    length = measuring.joules_window_seconds if meters.sources else measuring.window_seconds
    for pair in pairs:
        _prepare(pair, images, length)
    order = [pair for pair in pairs for _ in range(measuring.blocks)]
    np.random.default_rng(measuring.order_seed).shuffle(order)
    for pair in order:
        windows = [_window(pair, net, images, meters) for net in (pair.baseline, pair.candidate, pair.baseline)]
        first, middle, last = (window.seconds.value or 0.0 for window in windows)
        inputs = [pair.repeats[id(net)] * len(images) for net in (pair.baseline, pair.candidate, pair.baseline)]
        pair.seconds.append((first / inputs[0], middle / inputs[1], last / inputs[2]))
        per_input = [_per_input(window.joules, n) for window, n in zip(windows, inputs, strict=True)]
        pair.joules.append((per_input[0], per_input[1], per_input[2]))
    return [pair.name for pair in order]


def one_pass(net: Compiled, images: NDArray[np.float32], batch_size: int) -> Callable[[], None]:
    """A function that sends all ``images`` through once, in batches cut beforehand."""
    batches = [np.ascontiguousarray(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]

    def go() -> None:
        for batch in batches:
            net.run(batch)

    return go


def _prepare(pair: Pair, images: NDArray[np.float32], length: float) -> None:
    """Warm both nets up until steady and fix how many passes fill a window of ``length`` seconds."""
    for net in (pair.baseline, pair.candidate):
        go = one_pass(net, images, pair.batch_size)
        previous, began = float("inf"), time.perf_counter()
        while True:
            start = time.perf_counter()
            go()
            taken = time.perf_counter() - start
            steady = abs(taken - previous) < STEADY * previous
            previous = taken
            if steady or time.perf_counter() - began > WARM_UP_SECONDS:
                break
        pair.repeats[id(net)] = max(1, round(length / previous))


def _window(pair: Pair, net: Compiled, images: NDArray[np.float32], meters: Meters) -> Window:
    go, repeats = one_pass(net, images, pair.batch_size), pair.repeats[id(net)]
    with meters.window() as window:
        for _ in range(repeats):
            go()
    return window


def _per_input(joules: Quantity, inputs: int) -> Quantity:
    def share(value: float | None) -> float | None:
        return None if value is None else value / inputs

    return Quantity(
        value=share(joules.value),
        unit="J/input",
        kind=joules.kind,
        method=joules.method,
        scope=joules.scope,
        source=joules.source,
        random=share(joules.random),
        systematic=share(joules.systematic),
        flags=joules.flags,
        reason=joules.reason,
    )


def seconds_quantity(values: Sequence[float]) -> Quantity:
    """Median seconds per input with its bootstrap interval."""
    low, high = bootstrap_median(values)
    return Quantity(
        value=statistics.median(values),
        unit="s/input",
        kind=Kind.MEASURED,
        method="monotonic clock, median of windows",
        scope="the call of the compiled net, inputs ready in memory",
        source="time.perf_counter_ns",
        low=low,
        high=high,
        count=len(values),
    )


def joules_quantity(values: Sequence[Quantity]) -> Quantity:
    """Median joules per input over windows with its bootstrap interval; unknown if any window is."""
    first = values[0]
    known = [q.value for q in values if q.value is not None and "too_short" not in q.flags]
    flags = tuple(sorted({flag for q in values for flag in q.flags}))
    if len(known) < len(values):
        reasons = [q.reason for q in values if q.value is None]
        reason = reasons[0] if reasons else "the windows are too short for the counter's updates"
        return Quantity(
            value=None, unit="J/input", kind=Kind.MEASURED, method=first.method, scope=first.scope,
            source=first.source, flags=flags, reason=reason,
        )  # fmt: skip
    low, high = bootstrap_median(known)
    systematic = [q.systematic / q.value for q in values if q.systematic is not None and q.value]
    median = statistics.median(known)
    return Quantity(
        value=median, unit="J/input", kind=Kind.MEASURED, method="energy counter, median of windows",
        scope=first.scope, source=first.source, low=low, high=high, count=len(known),
        systematic=median * max(systematic) if systematic else None, flags=flags,
    )  # fmt: skip


def joules_ratio(blocks: Sequence[tuple[Quantity, Quantity, Quantity]]) -> Ratio | None:
    """Paired ratio of joules over blocks; ``None`` if any window has none."""
    rows = [[q.value for q in block if q.value is not None and q.value > 0] for block in blocks]
    return paired_ratio(rows) if all(len(row) == 3 for row in rows) else None
