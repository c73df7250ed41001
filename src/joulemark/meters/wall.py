"""A wall meter: its log as a CSV with timestamps becomes readings of power on this machine's monotonic clock.

The log is written by the meter's own program, with the time of day; windows are timed by the monotonic clock. What lies
between the two is kept as ``clock_offset_ns``, so that the import can be checked and repeated. It is the only source
that sees the whole machine.
"""

from __future__ import annotations

import csv
import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path

from joulemark.meters.scope import WALL
from joulemark.meters.source import ReadError, SourceLost
from joulemark.record import Reading

MAX_WATTS = 3680.0
"""A household socket: 230 V times 16 A."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

OFFSET_TRIES = 5


class WallLog:
    """The readings of a wall meter as a power sensor: :meth:`read` gives them in turn, ``readings`` all at once.

    ``missed`` counts rows whose power was left empty: nothing was read then, which is not 0 W.
    """

    scope = path = WALL
    unit_watts = 1e-6
    max_watts = MAX_WATTS

    def __init__(
        self,
        name: str,
        readings: Sequence[Reading],
        *,
        clock_offset_ns: int,
        missed: int = 0,
        averaging_seconds: float | None = None,
        gain_uncertainty: float | None = None,
        citation: str,
    ) -> None:
        if len(readings) < 2:
            raise ValueError(f"{name}: {len(readings)} readings of power; at least 2 are needed")
        self.name = name
        self.readings = tuple(readings)
        self.clock_offset_ns = clock_offset_ns
        self.missed = missed
        self.averaging_seconds = averaging_seconds
        self.gain_uncertainty = gain_uncertainty
        self.citation = citation
        steps = [after.before_ns - before.before_ns for before, after in itertools.pairwise(readings)]
        self.update_seconds = statistics.median(steps) / 1e9
        self._rest: Iterator[Reading] | None = iter(self.readings)

    def read(self) -> Reading:
        """The next reading, in microwatts. Raises :class:`SourceLost` after the last one."""
        if self._rest is None:
            raise ReadError(f"{self.name}: the source is closed")
        reading = next(self._rest, None)
        if reading is None:
            raise SourceLost(f"{self.name}: the log ends here")
        return reading

    def close(self) -> None:
        """Nothing is open: the log was read whole."""
        self._rest = None


def clock_offset_ns() -> int:
    """Time of day less the monotonic clock, in nanoseconds, as it is now; a step of the clock changes it.

    The tightest of a few pairs of readings, so that an interruption between the two does not count.
    """
    tries = []
    for _ in range(OFFSET_TRIES):
        before = time.perf_counter_ns()
        now = time.time_ns()
        after = time.perf_counter_ns()
        tries.append((after - before, now - (before + after) // 2))
    return min(tries)[1]


def read_wall_log(
    file: Path,
    *,
    clock_offset_ns: int,
    meter_ahead_seconds: float = 0.0,
    time_column: str = "timestamp",
    watts_column: str = "watts",
    averaging_seconds: float | None = None,
    gain_uncertainty: float | None = None,
    citation: str | None = None,
) -> WallLog:
    """Import the log of a wall meter: a CSV with a header, one reading a row.

    Timestamps are ISO 8601 with a zone, or seconds since 1970. ``clock_offset_ns`` is the time of day less the
    monotonic clock while the log was written (:func:`clock_offset_ns`; a trace has it in its header), and
    ``meter_ahead_seconds`` how far the meter's clock was ahead of this machine's. Raises ``ValueError``, with file and
    line, for a log that cannot be trusted, ``OSError`` if it cannot be read.
    """
    offset_ns = clock_offset_ns + round(meter_ahead_seconds * 1e9)
    readings: list[Reading] = []
    missed = 0
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines)
        absent = {time_column, watts_column} - set(rows.fieldnames or ())
        if absent:
            have = ", ".join(rows.fieldnames or ()) or "no header"
            raise ValueError(f"{file}: no column {' and '.join(sorted(absent))} (there are: {have}); name the columns")
        for row in rows:
            where = f"{file} line {rows.line_num}"
            at_ns = _nanoseconds(row[time_column] or "", where) - offset_ns
            if at_ns < 0:
                raise ValueError(f"{where}: before this machine was started; give the clock offset of that time")
            if readings and at_ns <= readings[-1].before_ns:
                raise ValueError(f"{where}: not later than the row before; was the meter's clock set back?")
            if not (row[watts_column] or "").strip():
                missed += 1
                continue
            readings.append(Reading(before_ns=at_ns, after_ns=at_ns, raw=_microwatts(row[watts_column], where)))
    return WallLog(
        f"wall {file.name}", readings, clock_offset_ns=offset_ns, missed=missed, averaging_seconds=averaging_seconds,
        gain_uncertainty=gain_uncertainty, citation=citation or f"{file.name}; no accuracy of the meter was given",
    )  # fmt: skip


def _nanoseconds(text: str, where: str) -> int:
    """Nanoseconds since 1970 of a timestamp."""
    try:
        return int(Decimal(text) * 10**9)
    except InvalidOperation:
        pass
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{where}: {text!r} is no time") from error
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(f"{where}: {text!r} is no time; give ISO 8601 or seconds since 1970") from error
    if moment.tzinfo is None:
        raise ValueError(f"{where}: {text!r} does not say its time zone; write +00:00 or Z behind it")
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def _microwatts(text: str, where: str) -> int:
    try:
        watts = Decimal(text.strip())
    except InvalidOperation as error:
        raise ValueError(f"{where}: {text!r} is no power in watts") from error
    if not watts.is_finite() or not 0 <= watts <= Decimal(MAX_WATTS):
        raise ValueError(f"{where}: {text!r} W is no power of a socket (0 to {MAX_WATTS:g} W)")
    return int((watts * 10**6).to_integral_value())
