"""A counter, the power fields beside it, and work to do: what every experiment is made with."""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import dataclass, field

from joulemark.meters.counter import CounterTrack, First, Plain, Wrapped
from joulemark.meters.source import PowerSensor, ReadError, Source
from joulemark.record import Reading
from joulemark.selftest.load import Load

CALIBRATION_SECONDS = 0.3
LONGEST_CALIBRATION = 1 << 20
EVERY_SECONDS = 0.002
"""Between two looks at the counter during work: the time of an update is known so well."""

PATIENCE_UPDATES = 50
"""A counter that does not move for so many update periods stands still."""


class Clock:
    """Seconds that pass; another one may be given to a bench."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(max(0.0, seconds))


@dataclass
class Bench:
    """``pace`` shortens all durations of the protocol (tests only); ``powers`` are by name, "average" and "instant"."""

    board: str  # UUID
    counter: Source
    powers: dict[str, PowerSensor]
    load: Load
    clock: Clock = field(default_factory=Clock)
    pace: float = 1.0
    _rates: dict[str, float] = field(default_factory=dict)  # steps per second
    _joules: float = 0.0

    def __post_init__(self) -> None:
        self._track = CounterTrack(
            unit_joules=self.counter.unit_joules,
            modulus=self.counter.modulus,
            max_watts=self.counter.max_watts,
            update_seconds=self.counter.update_seconds,
        )

    def joules(self) -> float:
        """Joules since this bench first looked. Raises ``ReadError`` if the counter cannot be read or was reset."""
        before = self.clock.now()
        raw = self.counter.read().raw
        reading = Reading(before_ns=round(before * 1e9), after_ns=round(self.clock.now() * 1e9), raw=raw)
        try:
            step = self._track.update(reading)
        except ValueError as error:  # a raw value out of the counter's range
            raise ReadError(f"{self.counter.name}: {error}") from error
        if isinstance(step, Plain | Wrapped):
            self._joules += step.joules
        elif not isinstance(step, First):
            kind = type(step).__name__.lower()
            raise ReadError(f"{self.counter.name}: {kind}, {step.lost_seconds:.3g} s of the experiment are lost")
        return self._joules

    def idle(self, seconds: float) -> Trace:
        """Watch for so many seconds of the protocol without work."""
        trace, end = Trace(self), self.clock.now() + seconds * self.pace
        while self.clock.now() < end:
            trace.sample()
            self.clock.sleep(trace.every / 2)
        return trace

    def steps(self, what: str, seconds: float) -> int:
        """How many steps take so many seconds of the protocol; calibrated once for each kind, at least one."""
        if what not in self._rates:
            self.load.run(what, 1)  # builds and warms what is built at first use
            count, spent = 1, 0.0
            while spent < CALIBRATION_SECONDS * self.pace and count < LONGEST_CALIBRATION:
                count *= 2
                start = self.clock.now()
                self.load.run(what, count)
                spent = self.clock.now() - start
            self._rates[what] = count / spent
        return max(1, round(self._rates[what] * seconds * self.pace))

    def work(self, what: str, seconds: float, *, powers: bool = False) -> Busy:
        """Work for about so many seconds of the protocol, in a fixed number of steps, and watch."""
        iterations, trace = self.steps(what, seconds), Trace(self, powers=powers, every=EVERY_SECONDS)
        start = self.clock.now()
        self.load.run(what, iterations, trace.sample)
        return Busy(iterations=iterations, seconds=self.clock.now() - start, trace=trace)

    def tick(self) -> tuple[float, float]:
        """Wait for the next update of the counter: time and joules. Raises ``ReadError`` if none comes."""
        first, start = self.joules(), self.clock.now()
        while self.clock.now() - start < PATIENCE_UPDATES * self.counter.update_seconds + 1.0:
            joules = self.joules()
            if joules != first:
                return self.clock.now(), joules
            self.clock.sleep(self.counter.update_seconds / 100)
        raise ReadError(f"{self.counter.name}: the counter stands still")


class Trace:
    """What the counter, and the power fields if asked for, said over time; at most every hundredth of a second."""

    def __init__(self, bench: Bench, *, powers: bool = False, every: float = 0.01) -> None:
        self._bench = bench
        self._powers = bench.powers if powers else {}
        self.every = every
        self.times: list[float] = []
        self.joules: list[float] = []
        self.watts_read: dict[str, list[float]] = {name: [] for name in self._powers}

    def sample(self) -> None:
        """Read everything once, unless it was read a moment ago."""
        before = self._bench.clock.now()
        if self.times and before - self.times[-1] < self.every:
            return
        joules = self._bench.joules()
        self.times.append((before + self._bench.clock.now()) / 2)
        self.joules.append(joules)
        for name, power in self._powers.items():
            self.watts_read[name].append(power.read().raw * power.unit_watts)

    def ticks(self, values: list[float] | None = None) -> list[int]:
        """Places at which the counter (or another series) had changed since the sample before."""
        series = self.joules if values is None else values
        return [place for place in range(1, len(series)) if series[place] != series[place - 1]]

    def period(self, values: list[float] | None = None) -> float | None:
        """Median seconds between changes; ``None`` with fewer than three of them."""
        at = [self.times[place] for place in self.ticks(values)]
        gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
        return statistics.median(gaps) if len(gaps) >= 2 else None

    def watts(self, skip: float = 0.0) -> float | None:
        """Mean power from the first to the last update, so that the phase of the counter does not matter.

        ``skip`` seconds at the start are left out. ``None`` with fewer than two updates.
        """
        ticks = self._after(skip)
        if len(ticks) < 2:
            return None
        return (self.joules[ticks[-1]] - self.joules[ticks[0]]) / (self.times[ticks[-1]] - self.times[ticks[0]])

    def integrated(self, name: str, skip: float = 0.0) -> float | None:
        """Mean of a power field between the same two updates, by the trapezoidal rule."""
        ticks, values = self._after(skip), self.watts_read.get(name, [])
        if len(ticks) < 2 or not values:
            return None
        first, last = ticks[0], ticks[-1]
        joules = sum(
            (values[place] + values[place + 1]) / 2 * (self.times[place + 1] - self.times[place])
            for place in range(first, last)
        )
        return joules / (self.times[last] - self.times[first])

    def _after(self, skip: float) -> list[int]:
        return [place for place in self.ticks() if self.times[place] - self.times[0] >= skip]


@dataclass(frozen=True)
class Busy:
    """A stretch of work: its steps, seconds, and what was seen meanwhile."""

    iterations: int
    seconds: float
    trace: Trace

    @property
    def joules_per_step(self) -> float | None:
        """Mean power at the counter's updates times the seconds of a step."""
        watts = self.trace.watts()
        return None if watts is None else watts * self.seconds / self.iterations
