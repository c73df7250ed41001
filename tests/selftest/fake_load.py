"""Work that costs known watts on the stub GPU, on a clock that only this work and waiting move."""

from __future__ import annotations

from collections.abc import Callable

from nvml_stub import Stub

from joulemark.selftest.rig import Bench, Clock

STEP_SECONDS = 0.002
WATTS = {"cnn": 400.0, "wide-cnn": 500.0, "cnn-zeros": 300.0, "cnn-constant": 320.0, "cnn-pink": 390.0,
         "memory": 350.0, "compute": 650.0}  # fmt: skip
IDLE, CONTEXT = 60.0, 75.0
SLICE_SECONDS = 0.002
REMEMBERED_SECONDS = 1.5


class StubClock(Clock):
    """Time of the stub; `now` moves it by what a system call may take."""

    def __init__(self, stub: Stub) -> None:
        self._stub, self._now = stub, 0.0
        self.move(0.0)

    def now(self) -> float:
        self.move(2e-6)
        return self._now

    def sleep(self, seconds: float) -> None:
        self.move(max(seconds, 1e-4))

    def move(self, seconds: float) -> None:
        self._now += seconds
        self._stub.at(self._now)


class FakeLoad:
    """Each step takes 2 ms; the control file gets a line at each change of power, and forgets old ones."""

    def __init__(self, stub: Stub, clock: StubClock, *lines: str) -> None:
        self.started = False
        self._stub, self._clock, self._lines = stub, clock, lines
        self._powers, self._base = [(0.0, IDLE)], 0.0
        self._write()

    def start(self) -> None:
        self.started = True
        self._set(CONTEXT)

    def run(self, what: str, iterations: int, watch: Callable[[], None] | None = None) -> None:
        self.started = True
        self._set(WATTS[what])
        left = iterations * STEP_SECONDS
        while left > 0:
            self._clock.move(min(left, SLICE_SECONDS))
            left -= SLICE_SECONDS
            if watch is not None:
                watch()
        self._set(CONTEXT)

    def _set(self, watts: float) -> None:
        now = self._clock.now()
        self._powers.append((now, watts))
        # The stub needs all power before a reset to know what the counter starts from.
        forgets = not any(line.startswith("reset") for line in self._lines)
        while forgets and self._powers[1][0] < now - REMEMBERED_SECONDS:
            (start, level), (end, _) = self._powers[:2]
            self._base += level * (end - start)
            self._powers.pop(0)
        self._write()

    def _write(self) -> None:
        powers = [f"power {at:.9f} {watts}" for at, watts in self._powers]
        self._stub.write("gpu GPU-aa", "update 0.1", "limit 700000", *self._lines, f"base {self._base:.9f}", *powers)


def bench_on(stub: Stub, *lines: str, pace: float = 1.0) -> Bench:
    """A bench on the stub's first GPU."""
    from joulemark.meters.nvml import find_nvml, find_nvml_power

    clock = StubClock(stub)
    load = FakeLoad(stub, clock, *lines)
    (board,), powers = find_nvml()[0], find_nvml_power()[0]
    named = {one.kind: one for one in powers}
    return Bench(board=board.uuid, counter=board, powers=named, load=load, clock=clock, pace=pace)
