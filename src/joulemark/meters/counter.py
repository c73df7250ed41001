"""Joules from the raw readings of one cumulative energy counter, telling wraps from resets.

Pure arithmetic without I/O. Every reading yields one step, and the type of the step says how far it can be trusted: a
corrected number cannot pass as a plain one, and lost time cannot pass as 0 J.

A counter that went down has wrapped or was reset (driver reload, resume, reboot of the firmware). Both look alike in
the numbers; what tells them apart is power. With ``limit = max_watts * (interval + update period)``, the most energy
the part can have used, and ``delta`` the smallest energy that explains the two readings:

* ``delta > limit``: no wrap explains it. ``Reset`` if the counter went down, ``Implausible`` if it went up.
* ``delta + range <= limit``: one more turn would have been possible too, so the energy is ambiguous: ``Gap``.
* otherwise ``delta`` is the only explanation: ``Plain`` or ``Wrapped``.

Read more often than a turn can take, a counter is therefore followed through any number of wraps. Two cases are alike
in the numbers and in the power, and no reader can tell them: a reset close below the top looks like a wrap, and one
whose counter has passed its old value by the next reading looks plain. Both are bounded by the same limit: a sampled
package of 125 W (most: 188 W, read each 0.05 s) can be off by 10 J then, and one reset in 27,000 falls so near the top.

While a machine sleeps, the monotonic clock stands and the counter may run on, stand or start anew: ``Gap``.

The range is what Linux powercap calls ``max_energy_range_uj``, and ``delta = range - previous + new``. The kernel
computes that file as the largest raw value, 0xffffffff, times the energy unit (drivers/powercap/intel_rapl_common.c,
``get_max_energy_counter``); a full turn is one unit more (15 or 61 uJ), which sysfs does not tell. So each wrap is
short by at most one unit, 2.3e-10 of the range; adding 1 uJ instead would only look exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from joulemark.record import Reading

STUCK_UPDATES = 20
"""A counter that did not move for this many of its own update periods is not believed: silicon that is on uses energy.

Ours: far above any jitter of the update period, and as short as the shortest window we accept.
"""


@dataclass(frozen=True)
class First:
    """The first reading: nothing to subtract from."""


@dataclass(frozen=True)
class Plain:
    """The counter went up by ``joules``."""

    joules: float


@dataclass(frozen=True)
class Wrapped:
    """The counter went round once; ``joules`` is corrected for it."""

    joules: float


@dataclass(frozen=True)
class Reset:
    """The counter went down further than a wrap can explain; the energy of ``lost_seconds`` is unknown."""

    lost_seconds: float


@dataclass(frozen=True)
class Gap:
    """One more turn was possible, or the machine slept; the energy of ``lost_seconds`` is ambiguous."""

    lost_seconds: float


@dataclass(frozen=True)
class Implausible:
    """The counter went up by more than the part can use; the energy of ``lost_seconds`` is unknown."""

    lost_seconds: float


@dataclass(frozen=True)
class Stuck:
    """The counter stood still for many update periods; the energy of ``lost_seconds`` is unknown, not 0.

    The first of a row of such steps names all the time since the counter moved, though it has been called plain.
    """

    lost_seconds: float


Known = Plain | Wrapped
Lost = Reset | Gap | Implausible | Stuck
Step = First | Known | Lost


class CounterTrack:
    """Follows one counter from reading to reading.

    ``unit_joules`` is the energy of one raw unit; ``modulus`` the range in raw units, or ``None`` for a 64-bit counter
    that cannot wrap in practice; ``max_watts`` the most the part can draw on average; ``update_seconds`` how often the
    hardware refreshes the counter (0: at once), because a refresh just before a reading brings a whole period's energy
    into a short interval. Raises ``ValueError`` for values that are not positive.

    >>> track = CounterTrack(unit_joules=1.0, modulus=1000, max_watts=50.0)
    >>> second = 1_000_000_000
    >>> for at, raw in enumerate([970, 990, 10, 5]):
    ...     track.update(Reading(before_ns=at * second, after_ns=at * second, raw=raw))
    First()
    Plain(joules=20.0)
    Wrapped(joules=20.0)
    Reset(lost_seconds=1.0)
    """

    def __init__(
        self, *, unit_joules: float, modulus: int | None, max_watts: float, update_seconds: float = 0.0
    ) -> None:
        if unit_joules <= 0 or max_watts <= 0 or update_seconds < 0 or (modulus is not None and modulus <= 0):
            raise ValueError(f"need positive {unit_joules=}, {modulus=}, {max_watts=} and {update_seconds=} >= 0")
        self._unit_joules = unit_joules
        self._modulus = modulus
        self._max_watts = max_watts
        self._update_seconds = update_seconds
        self._previous: Reading | None = None
        self._still_ns = 0  # since when the counter has not moved
        self._told_ns = 0  # up to when that has been called stuck

    def update(self, reading: Reading, *, suspended_seconds: float = 0.0) -> Step:
        """Take the next reading and say what happened since the one before.

        ``suspended_seconds`` is how long the machine slept in between, by CLOCK_BOOTTIME less CLOCK_MONOTONIC. After a
        lost step the track goes on from ``reading``. Raises ``ValueError``, and forgets the reading, if it is older
        than the one before or outside the range (the largest value itself does occur).
        """
        if reading.raw < 0 or (self._modulus is not None and reading.raw > self._modulus):
            raise ValueError(f"raw value {reading.raw} is outside 0..{self._modulus}")
        previous = self._previous
        if previous is not None and reading.before_ns < previous.after_ns:
            raise ValueError(f"reading at {reading.before_ns} ns is older than the one at {previous.after_ns} ns")
        self._previous = reading
        if previous is None or reading.raw != previous.raw or suspended_seconds > 0:
            self._still_ns, self._told_ns = reading.after_ns, reading.before_ns
        if previous is None:
            return First()
        # The longest time the two reads allow: a slow read must not make an honest counter look too powerful.
        seconds = (reading.after_ns - previous.before_ns) / 1e9
        if suspended_seconds > 0:
            return Gap(seconds + suspended_seconds)
        return self._step(previous.raw, reading, seconds)

    def _step(self, previous: int, reading: Reading, seconds: float) -> Step:
        limit_joules = self._max_watts * (seconds + self._update_seconds)
        turned = reading.raw < previous
        delta = reading.raw - previous
        if turned:
            if self._modulus is None:
                return Reset(seconds)
            delta += self._modulus
        # Integers until here: float subtraction of two large counters would lose the last microjoules.
        joules = delta * self._unit_joules
        if joules > limit_joules:
            return Reset(seconds) if turned else Implausible(seconds)
        if self._modulus is not None and (delta + self._modulus) * self._unit_joules <= limit_joules:
            return Gap(seconds)
        still_seconds = (reading.before_ns - self._still_ns) / 1e9  # the shortest time the reads allow
        if delta == 0 and 0 < STUCK_UPDATES * self._update_seconds <= still_seconds:
            lost_seconds = (reading.after_ns - self._told_ns) / 1e9
            self._told_ns = reading.after_ns
            return Stuck(lost_seconds)
        return Wrapped(joules) if turned else Plain(joules)
