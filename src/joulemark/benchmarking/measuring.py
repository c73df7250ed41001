"""Measuring a net against the baseline: many short shuffled blocks, the same real inputs in every window.

A block is baseline, candidate, candidate, baseline, or turned inside out by the toss of a seeded coin. If the two nets
cost the same, the coin alone decides the sign of a block's log ratio, so its distribution is symmetric about zero
whatever the noise does, and what is robust (:func:`joulemark.judging.statistics.paired_ratio`) is also unbiased.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from joulemark.backends.backend import Compiled, Images
from joulemark.benchmarking.suite import Measuring
from joulemark.judging.quantities import scaled
from joulemark.judging.statistics import bootstrap_median, paired_ratio
from joulemark.meters.meters import Meters
from joulemark.record import Kind, Quantity, Ratio

WARM_UP_SECONDS = 2.0
STEADY = 0.05
"""Warm-up ends when two passes in a row differ by less than this share, or after ``WARM_UP_SECONDS``."""

FIRST_BATCHES = 2
"""Batches run just before a window opens: the other nets of the block have emptied the caches."""

SCREENING_ROUNDS = 5


@dataclasses.dataclass
class Pair:
    """One baseline and one candidate at one batch size, and what their blocks gave.

    ``reference`` is a second baseline, on another backend, that runs in the same blocks. The lists hold one entry a
    block, in time order: what the first baseline window, the candidate (geometric mean of its two windows) and the
    second baseline window took per input; ``references`` those of the reference's two windows.
    """

    name: str
    baseline: Compiled
    candidate: Compiled
    batch_size: int
    reference: Compiled | None = None
    baseline_batch_size: int | None = None  # if it is not the candidate's
    seconds: list[tuple[float, float, float]] = dataclasses.field(default_factory=list)
    cpu_seconds: list[tuple[float, float, float]] = dataclasses.field(default_factory=list)  # of this whole process
    joules: list[tuple[Quantity, Quantity, Quantity]] = dataclasses.field(default_factory=list)
    references: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    reference_joules: list[tuple[Quantity, Quantity]] = dataclasses.field(default_factory=list)
    turned: list[bool] = dataclasses.field(default_factory=list)  # candidate outside

    @property
    def candidate_seconds(self) -> Quantity:
        """Seconds per input of the candidate, over all blocks."""
        return seconds_quantity([middle for _, middle, _ in self.seconds])

    @property
    def candidate_joules(self) -> Quantity:
        """Joules per input of the candidate, over all blocks."""
        return joules_quantity([middle for _, middle, _ in self.joules])


@dataclasses.dataclass(frozen=True)
class Leg:
    """One net of a pair with its batches and how many passes over them fill a window."""

    net: Compiled
    batches: Sequence[Images]
    passes: int

    @property
    def inputs(self) -> int:
        """Inputs in one window."""
        return self.passes * sum(len(batch) for batch in self.batches)


@dataclasses.dataclass(frozen=True)
class Taken:
    """What one window took per input."""

    seconds: float
    cpu_seconds: float
    joules: Quantity


def measure_pairs(
    pairs: Sequence[Pair], images: Images, measuring: Measuring, meters: Meters, *, order_seed: int | None = None
) -> list[str]:
    """Fill ``pairs`` with blocks, in an order shuffled by ``order_seed`` (the suite's, unless given).

    A window makes whole passes over the same images in batches, so that a dynamic net meets the same inputs in every
    window; how many passes is fixed beforehand from the time one takes. Where there is an energy counter windows are
    ``joules_window_seconds`` long and ``joules_blocks`` many. Returns the order in which pairs came.
    """
    length = measuring.joules_window_seconds if meters.sources else measuring.window_seconds
    blocks = measuring.joules_blocks if meters.sources else measuring.blocks
    rng = np.random.default_rng(measuring.order_seed if order_seed is None else order_seed)
    order = [(pair, _legs(pair, images, length)) for pair in pairs] * blocks
    rng.shuffle(order)
    with _no_collection():
        for pair, legs in order:
            _block(pair, legs, turned=bool(rng.integers(2)), meters=meters)
    return [pair.name for pair, _ in order]


def screen(nets: Mapping[str, Compiled], images: Images, batch_size: int) -> dict[str, float]:
    """Seconds per input of each net in a few passes that take turns: the least of them, since noise only adds."""
    legs = {name: Leg(net, _batches(images, batch_size), 1) for name, net in nets.items()}
    best = dict.fromkeys(legs, math.inf)
    for _ in range(SCREENING_ROUNDS):
        for name, leg in legs.items():
            start = time.perf_counter()
            _go(leg)
            best[name] = min(best[name], (time.perf_counter() - start) / leg.inputs)
    return best


def _legs(pair: Pair, images: Images, length: float) -> dict[str, Leg]:
    """The nets of a pair, outermost first, warmed up, with the passes that fill a window of ``length`` seconds."""
    nets = {"reference": pair.reference, "baseline": pair.baseline, "candidate": pair.candidate}
    sizes = {"candidate": pair.batch_size}
    legs = {}
    for name, net in nets.items():
        if net is not None:
            batches = _batches(images, sizes.get(name, pair.baseline_batch_size or pair.batch_size))
            leg = Leg(net, batches, 1)
            legs[name] = dataclasses.replace(leg, passes=max(1, round(length / _warm_up(leg))))
    return legs


def _warm_up(leg: Leg) -> float:
    """Run until steady; seconds of the last pass."""
    previous, began = math.inf, time.perf_counter()
    while True:
        start = time.perf_counter()
        _go(leg)
        taken = time.perf_counter() - start
        steady = abs(taken - previous) < STEADY * previous
        previous = taken
        if steady or time.perf_counter() - began > WARM_UP_SECONDS:
            return taken


def _batches(images: Images, batch_size: int) -> list[Images]:
    return [np.ascontiguousarray(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]


def _go(leg: Leg) -> None:
    for _ in range(leg.passes):
        for batch in leg.batches:
            leg.net.run(batch)


def _block(pair: Pair, legs: Mapping[str, Leg], *, turned: bool, meters: Meters) -> None:
    """Run one block: the nets in turn and back again, from the other end if ``turned``."""
    half = list(legs)[::-1] if turned else list(legs)
    there = {name: _window(legs[name], meters) for name in half}
    back = {name: _window(legs[name], meters) for name in half[::-1]}
    first, middle, last = there["baseline"], (there["candidate"], back["candidate"]), back["baseline"]
    pair.turned.append(turned)
    pair.seconds.append((first.seconds, math.sqrt(middle[0].seconds * middle[1].seconds), last.seconds))
    cpu_seconds = math.sqrt(middle[0].cpu_seconds * middle[1].cpu_seconds)
    pair.cpu_seconds.append((first.cpu_seconds, cpu_seconds, last.cpu_seconds))
    pair.joules.append((first.joules, _both(middle[0].joules, middle[1].joules), last.joules))
    if "reference" in legs:
        pair.references.append((there["reference"].seconds, back["reference"].seconds))
        pair.reference_joules.append((there["reference"].joules, back["reference"].joules))


def _window(leg: Leg, meters: Meters) -> Taken:
    for batch in leg.batches[:FIRST_BATCHES]:
        leg.net.run(batch)
    with meters.window() as window:
        cpu_seconds = time.process_time()
        _go(leg)
        cpu_seconds = time.process_time() - cpu_seconds
    seconds = window.seconds.value or math.nan  # of a window that closed it is never unknown
    return Taken(seconds / leg.inputs, cpu_seconds / leg.inputs, scaled(window.joules, 1 / leg.inputs, unit="J/input"))


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's collector of cycles out of the windows, where it would hit whichever net comes to its turn."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _both(one: Quantity, other: Quantity) -> Quantity:
    """The geometric mean of two windows of one net; if one of them is unknown, that one."""
    if not one.value or not other.value or min(one.value, other.value) < 0:
        return one if not one.value else other
    value = math.sqrt(one.value * other.value)
    random = None if one.random is None or other.random is None else math.hypot(one.random, other.random) / 2
    systematic = None if one.systematic is None else one.systematic / one.value * value
    flags = tuple(dict.fromkeys((*one.flags, *other.flags)))
    return msgspec.structs.replace(one, value=value, random=random, systematic=systematic, flags=flags)


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
            source=first.source, flags=flags, reason=reason, paths=first.paths, gain=first.gain,
        )  # fmt: skip
    low, high = bootstrap_median(known)
    systematic = [q.systematic / q.value for q in values if q.systematic is not None and q.value]
    median = statistics.median(known)
    return Quantity(
        value=median, unit="J/input", kind=Kind.MEASURED, method="energy counter, median of windows",
        scope=first.scope, source=first.source, low=low, high=high, count=len(known),
        systematic=median * max(systematic) if systematic else None, flags=flags, paths=first.paths, gain=first.gain,
    )  # fmt: skip


def joules_values(rows: Sequence[Sequence[Quantity]]) -> list[list[float]]:
    """The values of windows, row by row; none at all if one window has none."""
    values = [[q.value for q in row if q.value is not None and q.value > 0] for row in rows]
    complete = all(len(known) == len(row) for known, row in zip(values, rows, strict=True))
    return values if complete else []


def joules_ratio(blocks: Sequence[tuple[Quantity, Quantity, Quantity]]) -> Ratio | None:
    """Paired ratio of joules over blocks; ``None`` if any window has none."""
    return paired_ratio(joules_values(blocks))
