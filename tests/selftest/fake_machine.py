"""A machine of known watts on a clock that only its work and waiting move: counter, power fields, and load in one."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from joulemark.meters.source import ReadError
from joulemark.record import Reading
from joulemark.selftest.rig import Bench, Clock

IDLE, CONTEXT = 50.0, 60.0
WATTS = {"cnn": 100.0, "wide-cnn": 125.0, "cnn-zeros": 75.0, "cnn-constant": 80.0, "cnn-pink": 95.0,
         "memory": 90.0, "compute": 160.0}  # fmt: skip
STEP_SECONDS = 1e-3
SLICE_SECONDS = 2e-3


class Machine(Clock):
    """Idle at 50 W, at 60 W once it was worked on, at the watts of its work meanwhile.

    ``update`` is how often its counter is refreshed, ``warming`` the share by which its watts grow in a second,
    ``cooling`` the watts more and the seconds that follow work. ``sampled``: the counter looks at the power of its
    updates only, and takes it for that of the time between. ``fails``: what a read raises.
    """

    name, scope, citation, gain_uncertainty = "rapl package-0", "processor package-0", "made up", None
    unit_joules, modulus, max_watts = 1e-6, None, 1000.0

    def __init__(
        self,
        *,
        update: float = 0.01,
        warming: float = 0.0,
        cooling: tuple[float, float] = (0.0, 0.0),
        sampled: bool = False,
    ) -> None:
        self.update_seconds = self.refresh = update  # what the counter promises, and what it does
        self.started, self.fails, self.slow = False, False, 0
        self._warming, self._cooling, self._sampled = warming, cooling, sampled
        self._time, self._looked, self._shown = 0.0, 0, 0.0
        self._from, self._levels, self._sums = [0.0], [IDLE], [0.0]

    def now(self) -> float:
        return self._time

    def sleep(self, seconds: float) -> None:
        self._time += max(seconds, 1e-4)

    def start(self) -> None:
        self.started = True
        self._set(CONTEXT)

    def run(self, what: str, iterations: int, watch: Callable[[], None] | None = None) -> None:
        end = self._time + iterations * STEP_SECONDS
        while self._time < end - 1e-9:
            self._set(WATTS[what] * (1 + self._warming * self._time))
            self._time = min(self._time + SLICE_SECONDS, end)
            if watch is not None:
                watch()
        self.started = True
        more, seconds = self._cooling
        self._set(CONTEXT + more)
        if more:
            self._set(CONTEXT, later=seconds)

    def joules_at(self, seconds: float) -> float:
        """What it has used up to a time."""
        place = bisect_right(self._from, seconds) - 1
        return self._sums[place] + self._levels[place] * (seconds - self._from[place])

    def watts_at(self, seconds: float) -> float:
        """What it draws at a time."""
        return self._levels[bisect_right(self._from, seconds) - 1]

    def read(self) -> Reading:
        if self.fails:
            raise ReadError("gone")
        updates = math.floor(self._time / self.refresh + 1e-6)
        if not self._sampled:
            self._shown = self.joules_at(updates * self.refresh)
        while self._sampled and self._looked < updates:
            self._looked += 1
            self._shown += self.watts_at(self._looked * self.refresh) * self.refresh
        return Reading(before_ns=0, after_ns=self.slow, raw=round(self._shown * 1e6))

    def close(self) -> None: ...

    def _set(self, watts: float, *, later: float = 0.0) -> None:
        at = self._time + later
        while self._from[-1] > at:  # what was to come is no more
            for every in (self._from, self._levels, self._sums):
                every.pop()
        if self._levels[-1] != watts:
            self._sums.append(self.joules_at(at))
            self._from.append(at)
            self._levels.append(watts)


class Field:
    """A power field of the machine: what it draws now, times a gain, in milliwatts."""

    unit_watts = 1e-3

    def __init__(self, machine: Machine, gain: float) -> None:
        self._machine, self._gain = machine, gain

    def read(self) -> Reading:
        watts = self._machine.watts_at(self._machine.now()) * self._gain
        return Reading(before_ns=0, after_ns=0, raw=round(watts * 1e3))


def bench_of(machine: Machine, *, pace: float = 0.1, **gains: float) -> Bench:
    """A bench of the machine, with power fields of these gains by name."""
    fields: dict[str, Any] = {name: Field(machine, gain) for name, gain in gains.items()}
    return Bench(board="GPU-aa", counter=machine, powers=fields, load=machine, clock=machine, pace=pace)
