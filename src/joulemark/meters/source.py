"""What a source of energy readings is, and what stands in its place when there is none."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from joulemark.record import Reading


class ReadError(Exception):
    """A source that was found could not be read this time; the message says why.

    Nothing is lost yet: a counter goes on counting, so the next good reading has the whole interval in it.
    """


class SourceLost(ReadError):  # noqa: N818  (what happened to it)
    """The device is gone (GPU lost, file vanished for good): no later read of this source will succeed."""


@dataclass(frozen=True)
class Unavailable:
    """A source that could not be opened: why, in words, and what exactly a person can do about it.

    ``present``: the part of the machine is there and uses energy that is then in no sum (flag ``partial``).
    """

    name: str
    reason: str
    fix: str
    present: bool = False


class Sensor(Protocol):
    """What is the same of a counter and of a power sensor: its part of the machine, and how far it is to be trusted."""

    @property
    def name(self) -> str:
        """What the source is called in tables and reasons, "rapl package-0"."""
        ...

    @property
    def scope(self) -> str:
        """What the source covers, in words."""
        ...

    @property
    def path(self) -> str:
        """The same as a path of :mod:`joulemark.meters.scope`, which tells what may be added."""
        ...

    @property
    def max_watts(self) -> float:
        """No average power above this is believed, in watts."""
        ...

    @property
    def update_seconds(self) -> float:
        """Period at which the hardware refreshes the value, in seconds."""
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
        """Read now. Raises :class:`ReadError` if that fails this time, :class:`SourceLost` if it always will."""
        ...

    def close(self) -> None:
        """Give back what the source holds; calling it twice is harmless."""
        ...


class Source(Sensor, Protocol):
    """One cumulative energy counter of one part of the machine: two readings make joules."""

    @property
    def unit_joules(self) -> float:
        """Energy of one raw unit, in joules."""
        ...

    @property
    def modulus(self) -> int | None:
        """Range of the counter in raw units; ``None`` if it cannot wrap."""
        ...


class PowerSensor(Sensor, Protocol):
    """One sensor of power: only many readings, integrated over time, make joules."""

    @property
    def unit_watts(self) -> float:
        """Power of one raw unit, in watts."""
        ...

    @property
    def averaging_seconds(self) -> float | None:
        """Time over which the sensor averages, in seconds; ``None`` if nobody says."""
        ...


def timed(read: Callable[[], int]) -> Reading:
    """Call ``read`` and keep its raw value with the monotonic times in nanoseconds just before and just after."""
    before_ns = time.perf_counter_ns()
    raw = read()
    return Reading(before_ns=before_ns, after_ns=time.perf_counter_ns(), raw=raw)


def read_or_why(source: Sensor) -> Reading | str:
    """Read once; a failure is returned in words, because one dead meter must not end the measured program.

    A source of another package may raise anything.
    """
    try:
        return source.read()
    except (ReadError, ValueError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001
        return f"{source.name} raised {type(error).__name__}: {error}"


def number(text: bytes) -> int:
    """The whole number in a sysfs file. Raises ``ValueError`` for anything else, an empty file included.

    Stricter than ``int``, which takes ``1_000`` and a sign.

    >>> number(b" 42 ")
    42
    """
    digits = text.strip()
    if not digits.isdigit():
        raise ValueError(f"no whole number but {text[:40]!r}")
    return int(digits)
