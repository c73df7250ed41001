"""What a source of energy readings is, and what stands in its place when there is none."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from joulemark.record import Reading


class ReadError(Exception):
    """A counter that was found could not be read this time (device lost, file gone, garbage); the message says why."""


class SourceLost(ReadError):  # noqa: N818  (what happened to it)
    """The device is gone (GPU lost, file vanished for good): no later read of this source will succeed."""


@dataclass(frozen=True)
class Unavailable:
    """A source that could not be opened: why, in words, and what exactly a person can do about it."""

    name: str
    reason: str
    fix: str


class Source(Protocol):
    """One cumulative energy counter of one part of the machine.

    Sources with different scopes cover disjoint parts, so that their joules may be added.
    """

    @property
    def name(self) -> str:
        """What the source is called in tables and reasons, "rapl package-0"."""
        ...

    @property
    def scope(self) -> str:
        """What the counter covers."""
        ...

    @property
    def unit_joules(self) -> float:
        """Energy of one raw unit, in joules."""
        ...

    @property
    def modulus(self) -> int | None:
        """Range of the counter in raw units; ``None`` if it cannot wrap."""
        ...

    @property
    def max_watts(self) -> float:
        """No average power above this is believed, in watts."""
        ...

    @property
    def update_seconds(self) -> float:
        """Period at which the hardware refreshes the counter, in seconds."""
        ...

    @property
    def gain_uncertainty(self) -> float | None:
        """Standard uncertainty of the scale as a share (0.05 is 5 %); ``None`` if nobody knows it."""
        ...

    @property
    def citation(self) -> str:
        """Where update period and gain come from."""
        ...

    def read(self) -> Reading:
        """Read the counter now. Raises :class:`ReadError` if it cannot be read."""
        ...

    def close(self) -> None:
        """Give back what the source holds; calling it twice is harmless."""
        ...


def timed(read: Callable[[], int]) -> Reading:
    """Call ``read`` and keep its raw value with the monotonic times in nanoseconds just before and just after."""
    before_ns = time.perf_counter_ns()
    raw = read()
    return Reading(before_ns=before_ns, after_ns=time.perf_counter_ns(), raw=raw)
