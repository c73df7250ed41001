"""The paced scenario: single inputs at fixed times, idle in between, as a device in the field meets them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import msgspec
import numpy as np

from joulemark.backends.backend import Compiled, Images
from joulemark.judging.quantities import accumulated, scaled
from joulemark.meters.meters import Meters
from joulemark.meters.replay import SHORTEST_UPDATES
from joulemark.record import PacedSide, Quantity

HOUR = 3600.0
BLOCKS = 3
"""The fewest that give an interval."""
FEWEST_INPUTS = 2
"""Inputs of one window at least."""
WARM_UP_INPUTS = 5


@dataclasses.dataclass
class Visit:
    """One window of one net."""

    seconds: float
    latencies: list[float]  # seconds from the time an input was due to its answer
    missed: int
    busy_seconds: float
    cpu_seconds: float
    joules: Quantity


@dataclasses.dataclass(frozen=True)
class Pace:
    """What came of one baseline and one candidate at one rate."""

    window_seconds: float
    candidate: PacedSide
    baseline: PacedSide
    idle_joules_per_hour: Quantity
    blocks: tuple[tuple[float, float, float], ...]  # busy seconds per input: baseline, candidate, baseline

    @property
    def busy_ratio(self) -> float:
        """Busy seconds of the baseline over those of the candidate."""
        return self.baseline.busy_seconds_per_hour / self.candidate.busy_seconds_per_hour


def measure_pace(
    baseline: Compiled,
    candidate: Compiled,
    images: Images,
    inputs_per_second: float,
    seconds: float,
    meters: Meters,
    *,
    order_seed: int,
) -> Pace:
    """Send inputs at a fixed rate in three blocks: baseline, candidate, candidate, baseline, or the candidate outside.

    A window lasts ``seconds``, or as long as two inputs or the least updates of an energy counter take if that is
    longer; all windows of a net together see the images in turn. Before and after the blocks comes a window with
    nothing running, if there is an energy counter.
    """
    updates = max((SHORTEST_UPDATES * source.update_seconds for source in meters.sources), default=0.0)
    count = max(FEWEST_INPUTS, round(max(seconds, updates) * inputs_per_second))
    length = count / inputs_per_second
    idle = [_idle(length if meters.sources else 0.0, meters)]
    rng = np.random.default_rng(order_seed)
    nets = {"baseline": baseline, "candidate": candidate}
    visits: dict[str, list[Visit]] = {"baseline": [], "candidate": []}
    for net in nets.values():
        for image in images[:WARM_UP_INPUTS]:
            net.run(np.ascontiguousarray(image[None]))
    for _ in range(BLOCKS):
        turn = ("candidate", "baseline") if rng.integers(2) else ("baseline", "candidate")
        for name in (*turn, *turn[::-1]):
            first = len(visits[name]) * count
            singles = [images[number % len(images)][None] for number in range(first, first + count)]
            visits[name].append(_visit(nets[name], singles, inputs_per_second, meters))
    idle.append(_idle(length if meters.sources else 0.0, meters))
    blocks = _blocks(visits["baseline"], visits["candidate"], count)
    return Pace(length, _side(visits["candidate"]), _side(visits["baseline"]), _hourly(idle, 2 * length), blocks)


def _blocks(
    baseline: Sequence[Visit], candidate: Sequence[Visit], count: int
) -> tuple[tuple[float, float, float], ...]:
    """Busy seconds per input, block by block; the candidate's is the geometric mean of its two windows."""
    busy = [[visit.busy_seconds / count for visit in visits] for visits in (baseline, candidate)]
    return tuple(
        (busy[0][at], (busy[1][at] * busy[1][at + 1]) ** 0.5, busy[0][at + 1]) for at in range(0, len(busy[0]), 2)
    )


def _visit(net: Compiled, singles: Sequence[Images], inputs_per_second: float, meters: Meters) -> Visit:
    """One window: input i is due i / rate after the start; one that is late is sent as soon as the net is free."""
    singles, count = [np.ascontiguousarray(single) for single in singles], len(singles)
    latencies, missed, busy = [], 0, 0.0
    with meters.window() as window:
        cpu_seconds, start = time.process_time(), time.perf_counter()
        for number in range(count):
            due = start + number / inputs_per_second
            _sleep_until(due)
            sent = time.perf_counter()
            net.run(singles[number])
            answered = time.perf_counter()
            busy += answered - sent
            latencies.append(answered - due)
            missed += answered > due + 1.0 / inputs_per_second
        _sleep_until(start + count / inputs_per_second)
        seconds = time.perf_counter() - start
        cpu_seconds = time.process_time() - cpu_seconds
    return Visit(seconds, latencies, missed, busy, cpu_seconds, window.joules)


def _sleep_until(moment: float) -> None:
    """Sleep, never spin: what wakes late counts as latency, what spins would not be idle."""
    left = moment - time.perf_counter()
    if left > 0:
        time.sleep(left)


def _idle(seconds: float, meters: Meters) -> Quantity:
    with meters.window() as window:
        time.sleep(seconds)
    return window.joules


def _side(visits: Sequence[Visit]) -> PacedSide:
    seconds = sum(visit.seconds for visit in visits)
    latencies = np.array([latency for visit in visits for latency in visit.latencies])
    return PacedSide(
        inputs=len(latencies),
        latency_seconds=float(np.median(latencies)),
        latency_95_seconds=float(np.quantile(latencies, 0.95)),
        missed=sum(visit.missed for visit in visits),
        busy_seconds_per_hour=HOUR * sum(visit.busy_seconds for visit in visits) / seconds,
        cpu_seconds_per_hour=HOUR * sum(visit.cpu_seconds for visit in visits) / seconds,
        joules_per_hour=_hourly([visit.joules for visit in visits], seconds),
    )


def _hourly(windows: Sequence[Quantity], seconds: float) -> Quantity:
    """Joules an hour from windows that last ``seconds`` together; unknown if one of them is."""
    hourly = scaled(accumulated(windows), HOUR / seconds, unit="J/h")
    return hourly if hourly.value is None else msgspec.structs.replace(hourly, method=f"{hourly.method}, gross")
