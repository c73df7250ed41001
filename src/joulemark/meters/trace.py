"""A trace: the raw readings of a measurement and the edges of its windows, as JSON lines.

From it every result can be computed again. The first line is the header, with every constant that a result needs. Each
line after it is one of

* ``{"s": source, "n": number, "b": before_ns, "a": after_ns, "r": raw}``, a reading; without ``n`` it was taken at the
  edge of a window by the measured process, with it by the sampler in its slot ``n``;
* ``{"s": source, "n": number, "b": before_ns, "e": words}``, a reading that failed;
* ``{"w": "open" or "close", "k": window, "t": ns, "name": name}``, an edge;
* ``{"w": "result", "k": window, "q": quantities}``, what was computed at the close from the lines before that edge;
* ``{"z": ns, "b": before_ns, "a": after_ns}``, the machine slept so long at some time in between;
* ``{"w": "end", "t": ns, "cpu": seconds}``, the sampler ended, having used so much processor time since it began.

Times are nanoseconds of ``time.perf_counter_ns``, which no step of the wall clock changes. On Linux it is
CLOCK_MONOTONIC, which stands while the machine sleeps. Raw values stay integers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from joulemark.record import Quantity, Reading, Record

TRACE_SCHEMA = 1
"""Version of the format. It goes up when the meaning of a line changes."""

SHORTEST_SECONDS, LONGEST_SECONDS = 1e-9, 366 * 86_400.0

Failed = tuple[int, str]
"""When a read failed (ns), and the words of the error."""


class SourceFacts(Record, frozen=True, kw_only=True):
    """All that is needed to compute energy from the raw values of one source."""

    name: str
    scope: str
    path: str = ""  # scope path; "": unknown
    kind: str  # "counter" (raw is energy) or "power"
    unit: float  # joules or watts of one raw unit
    modulus: int | None = None
    max_watts: float
    update_seconds: float
    averaging_seconds: float | None = None  # of a power sensor; None: instantaneous or unknown
    gain_uncertainty: float | None = None
    citation: str
    flags: tuple[str, ...] = ()  # what a source says of all its readings


class Header(Record, frozen=True, kw_only=True):
    """The first line of a trace."""

    trace_schema: int = TRACE_SCHEMA
    environment: dict[str, Any] = {}
    sources: tuple[SourceFacts, ...]
    period_seconds: float | None = None  # of the sampler; None: read at the edges only
    realtime_offset_ns: int = 0  # wall clock less monotonic clock: a label, never used to compute
    suspended_ns: int = 0  # how long the machine had slept since it was started


class Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Any line but the first; see the module for what stands in it."""

    s: int | None = None
    n: int | None = None
    b: int | None = None
    a: int | None = None
    r: int | None = None
    e: str | None = None
    w: str | None = None
    k: int | None = None
    t: int | None = None
    name: str | None = None
    z: int | None = None
    cpu: float | None = None
    q: tuple[Quantity, ...] | None = None


class Described(Protocol):
    """What energy counters and power sensors have in common."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def scope(self) -> str: ...  # noqa: D102
    @property
    def max_watts(self) -> float: ...  # noqa: D102
    @property
    def update_seconds(self) -> float: ...  # noqa: D102
    @property
    def gain_uncertainty(self) -> float | None: ...  # noqa: D102
    @property
    def citation(self) -> str: ...  # noqa: D102
    def read(self) -> Reading: ...  # noqa: D102


def facts_of(source: Described) -> SourceFacts:
    """Facts of a source: a power sensor is one that has ``unit_watts``."""
    unit_watts = getattr(source, "unit_watts", None)
    return SourceFacts(
        name=source.name,
        scope=source.scope,
        path=getattr(source, "path", ""),
        kind="counter" if unit_watts is None else "power",
        unit=getattr(source, "unit_joules", 0.0) if unit_watts is None else unit_watts,
        modulus=getattr(source, "modulus", None),
        max_watts=source.max_watts,
        update_seconds=source.update_seconds,
        averaging_seconds=getattr(source, "averaging_seconds", None),
        gain_uncertainty=source.gain_uncertainty,
        citation=source.citation,
        flags=tuple(getattr(source, "flags", ())),
    )


class Trace:
    """Readings, failures and sleeps of every source, in the order in which they were added.

    Built from lines, or from readings at hand. A source is named by its place in the header.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        self.polled: list[list[tuple[int, Reading]]] = [[] for _ in header.sources]  # (slot, reading)
        self.edges: list[list[Reading]] = [[] for _ in header.sources]
        self.failed: list[list[Failed]] = [[] for _ in header.sources]
        self.sleeps: list[tuple[int, int, int]] = []  # (before_ns, after_ns, ns slept in between)

    def add(self, line: Line) -> None:
        """Take a line; edges and results of windows change nothing. Raises ``ValueError`` if it is of no kind."""
        if line.w is not None:
            return
        if line.z is not None and line.b is not None and line.a is not None:
            self.sleeps.append((line.b, line.a, line.z))
        elif line.s is None or not 0 <= line.s < len(self.header.sources) or line.b is None:
            raise ValueError("it names no source of the header and is no edge")
        elif line.e is not None:
            self.failed[line.s].append((line.b, line.e))
        elif line.a is None or line.r is None:
            raise ValueError("a reading needs both times and the raw value")
        else:
            reading = Reading(before_ns=line.b, after_ns=line.a, raw=line.r)
            if line.n is None:
                self.edges[line.s].append(reading)
            else:
                self.polled[line.s].append((line.n, reading))

    def readings(self, source: int) -> list[Reading]:
        """Readings of one source in the order of time.

        Of two that overlap, nobody knows which came first: the one at an edge of a window is kept.
        """
        ranked = [(reading.before_ns, True, reading) for reading in self.edges[source]]
        ranked += [(reading.before_ns, False, reading) for _, reading in self.polled[source]]
        kept: list[tuple[bool, Reading]] = []
        for before_ns, edge, reading in sorted(ranked, key=lambda one: one[0]):
            while edge and kept and not kept[-1][0] and before_ns < kept[-1][1].after_ns:
                kept.pop()
            if not kept or before_ns >= kept[-1][1].after_ns:
                kept.append((edge, reading))
        return [reading for _, reading in kept]

    def forget(self, before_ns: int) -> None:
        """Drop what a window that opens at ``before_ns`` or later cannot need, to keep a long trace small."""
        for source, polled in enumerate(self.polled):
            old = sum(1 for _, reading in polled if reading.after_ns <= before_ns)
            del polled[: max(old - 1, 0)]
            old = sum(1 for reading in self.edges[source] if reading.after_ns <= before_ns)
            del self.edges[source][: max(old - 1, 0)]
            del self.failed[source][:-1]
        self.sleeps = [one for one in self.sleeps if one[1] > before_ns]


def reading_lines(source: int, readings: Iterable[Reading | Failed]) -> Iterator[Line]:
    """Lines of what was read at an edge."""
    for one in readings:
        if isinstance(one, Reading):
            yield Line(s=source, b=one.before_ns, a=one.after_ns, r=one.raw)
        else:
            yield Line(s=source, b=one[0], e=one[1])


def encode(lines: Iterable[Header | Line]) -> bytes:
    """The lines as they stand in a file."""
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def decode_header(text: bytes) -> Header:
    """The first line. Raises ``ValueError`` if it is none, or of another version."""
    try:
        header = msgspec.json.decode(text, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"its first line is not the header of a trace: {error}") from error
    if header.trace_schema != TRACE_SCHEMA:
        raise ValueError(f"its format is version {header.trace_schema}; this program reads version {TRACE_SCHEMA}")
    periods = [header.period_seconds]
    for one in header.sources:
        periods += [one.update_seconds or None, one.averaging_seconds]
        numbers = [one.unit, one.max_watts, 1 if one.modulus is None else one.modulus]
        if one.kind not in ("counter", "power") or not all(0 < number < math.inf for number in numbers):
            raise ValueError(f"its source {one.name!r} is no sensor: kind, unit, modulus or most watts cannot be")
    if not all(period is None or SHORTEST_SECONDS <= period <= LONGEST_SECONDS for period in periods):
        raise ValueError("a period in it is not between a nanosecond and a year")
    return header


_LINE = msgspec.json.Decoder(Line)


def decode_line(text: bytes) -> Line:
    """Any other line. Raises ``ValueError`` if it is none."""
    try:
        return _LINE.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a line of a trace: {error}") from error


def read_trace(path: Path) -> tuple[Header, list[Line]]:
    """Header and lines of a file. A last line without its end was cut off by a crash and is left out.

    Raises ``OSError`` if it cannot be read, ``ValueError`` naming the file and the line if it is no trace.
    """
    texts = path.read_bytes().split(b"\n")[:-1]
    number = 1
    try:
        header, lines = decode_header(texts[0] if texts else b""), []
        for text in texts[1:]:
            number += 1
            lines.append(decode_line(text))
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: {error}") from error
    return header, lines


def suspended_ns() -> int:
    """How long the machine has slept since it was started: CLOCK_BOOTTIME less CLOCK_MONOTONIC; 0 where none is kept.

    The smallest of three, since being put aside between the two reads can only add to the difference.
    """
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0
    differences = []
    for _ in range(3):
        monotonic_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        differences.append(time.clock_gettime_ns(time.CLOCK_BOOTTIME) - monotonic_ns)
    return min(differences)


SLEPT_NS = 10_000_000
"""A smaller jump of that difference is taken for the jitter of its reading; no machine sleeps for 10 ms."""


def describe(sources: Sequence[Described], environment: dict[str, Any], period_seconds: float | None) -> Header:
    """The header of a trace that begins now."""
    return Header(
        environment=environment,
        sources=tuple(facts_of(source) for source in sources),
        period_seconds=period_seconds,
        realtime_offset_ns=time.time_ns() - time.perf_counter_ns(),
        suspended_ns=suspended_ns(),
    )
