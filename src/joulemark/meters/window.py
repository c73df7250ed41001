"""One window of time: its seconds, and the joules of every part of the machine that has a counter.

The counters are read at the two edges only. A wrap in between is corrected; a window long enough for two is refused
(flag ``gap``). A counter that is refreshed every T seconds is read at a random phase of its period at both edges, so
the energy of a window at P watts carries a triangular error with standard deviation P * T / sqrt(6); that is its random
uncertainty. The uncertain gain of the sensor is its systematic one: shared by all windows on one device, it cancels in
a ratio and belongs to absolute joules only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from joulemark.meters.counter import CounterTrack, First, Gap, Implausible, Plain, Reset, Step, Stuck, Wrapped
from joulemark.meters.probe import probe
from joulemark.meters.scope import refuse_overlap
from joulemark.meters.source import ReadError, Source, Unavailable
from joulemark.record import Kind, Quantity

SHORTEST_UPDATES = 20
"""Below this many update periods a window is flagged ``too_short``: its phase error passes 2 % (1 / (20 sqrt 6))."""

_LOST = {
    Reset: ("reset", "its counter was reset"),
    Gap: ("gap", "the window is so long that its counter may have wrapped unseen; take a shorter one"),
    Implausible: ("implausible", "its counter rose faster than the part can use energy"),
    Stuck: ("stuck", "its counter stood still"),
}


class Window:
    """Measures a block of code: ``with Window(sources) as window: ...``, then ``window.seconds`` and ``window.joules``.

    ``sync`` is called at both edges before anything is read, so that work queued on a device ends inside the window
    (for example ``torch.cuda.synchronize``). ``unavailable`` is only told in the reason when there are no joules. The
    sources stay open, and the window may be used again. Raises ``ValueError`` if the scopes of two overlap.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        sync: Callable[[], object] | None = None,
        *,
        unavailable: Sequence[Unavailable] = (),
    ) -> None:
        refuse_overlap(source.path for source in sources)
        self._sources = tuple(sources)
        self._sync = sync
        self._unavailable = tuple(unavailable)
        self._result: tuple[Quantity, dict[str, Quantity]] | None = None

    def __enter__(self) -> Self:
        self._result = None
        if self._sync is not None:
            self._sync()
        self._tracks = [
            CounterTrack(
                unit_joules=source.unit_joules,
                modulus=source.modulus,
                max_watts=source.max_watts,
                update_seconds=source.update_seconds,
            )
            for source in self._sources
        ]
        self._opened = [_step(source, track) for source, track in zip(self._sources, self._tracks, strict=True)]
        self._start_ns = time.perf_counter_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            # No sync: a broken device would raise again and hide the first error.
            reason = f"the measured block raised {kind.__name__}"
            unknown = {source.scope: _joules(source, None, reason=reason) for source in self._sources}
            self._result = _seconds(None, reason=reason), unknown
            return
        if self._sync is not None:
            self._sync()
        seconds = max(time.perf_counter_ns() - self._start_ns, 1) / 1e9
        closed = [
            # A counter that could not be read at the first edge is not worth reading at the second.
            opened if isinstance(opened, str) else _step(source, track)
            for source, track, opened in zip(self._sources, self._tracks, self._opened, strict=True)
        ]
        scopes = {s.scope: _scope_joules(s, step, seconds) for s, step in zip(self._sources, closed, strict=True)}
        self._result = _seconds(seconds), scopes

    @property
    def seconds(self) -> Quantity:
        """Seconds between the edges, by the monotonic clock. Raises ``RuntimeError`` while the window is open."""
        return self._closed()[0]

    @property
    def scopes(self) -> dict[str, Quantity]:
        """Joules of each source by its scope. Raises ``RuntimeError`` while the window is open."""
        return dict(self._closed()[1])

    @property
    def joules(self) -> Quantity:
        """Joules of all scopes together; unknown, with the reason, if there is no source or one of them lost time.

        Raises ``RuntimeError`` while the window is open.
        """
        return _total(tuple(self._closed()[1].values()), self._unavailable)

    def _closed(self) -> tuple[Quantity, dict[str, Quantity]]:
        if self._result is None:
            raise RuntimeError("the window has no result yet: read it after the `with` block")
        return self._result


@contextmanager
def measure(sync: Callable[[], object] | None = None) -> Iterator[Window]:
    """Measure a block over every energy counter that this machine has, and close them afterwards.

    >>> with measure() as window:
    ...     total = sum(range(1000))
    >>> window.seconds.unit, window.joules.unit
    ('s', 'J')
    """
    sources, unavailable = probe()
    try:
        with Window(sources, sync, unavailable=unavailable) as window:
            yield window
    finally:
        for source in sources:
            source.close()


def _step(source: Source, track: CounterTrack) -> Step | str:
    """Read and track once; a failure is returned in words, because one dead meter must not end the measured program."""
    try:
        return track.update(source.read())
    except (ReadError, ValueError) as error:
        return str(error)


def _scope_joules(source: Source, step: Step | str, seconds: float) -> Quantity:
    """Joules of one scope from its closing step over ``seconds``."""
    flags = ("too_short",) if seconds < SHORTEST_UPDATES * source.update_seconds else ()
    if isinstance(step, str):
        return _joules(source, None, flags=(*flags, "unread"), reason=f"{source.scope}: {step}")
    if isinstance(step, First):
        raise AssertionError("the closing reading follows an opening one")
    if isinstance(step, Plain | Wrapped):
        if isinstance(step, Wrapped):
            flags = (*flags, "wrapped")
        return _joules(source, step.joules, seconds=seconds, flags=flags)
    flag, why = _LOST[type(step)]
    return _joules(source, None, flags=(*flags, flag), reason=f"{source.scope}: {why} ({step.lost_seconds:.3g} s lost)")


def _joules(
    source: Source,
    value: float | None,
    *,
    seconds: float = math.inf,
    flags: tuple[str, ...] = (),
    reason: str | None = None,
) -> Quantity:
    """Quantity in joules of one source, with its phase error over ``seconds`` and its gain."""
    gain = source.gain_uncertainty
    flags = (*flags, *getattr(source, "flags", ()))  # what a source says of all its readings: "energy_filtered"
    return Quantity(
        value=value,
        unit="J",
        kind=Kind.MEASURED,
        method="energy counter",
        scope=source.scope,
        source=f"{source.name} ({source.citation})",
        random=None if value is None else value * source.update_seconds / (seconds * math.sqrt(6)),
        systematic=None if value is None or gain is None else value * gain,
        flags=flags if gain is not None else (*flags, "gain_unknown"),
        reason=reason,
    )


def _total(scopes: Sequence[Quantity], unavailable: Sequence[Unavailable]) -> Quantity:
    """Sum of disjoint scopes: phase errors are independent, gains are taken as shared (the cautious sum)."""
    if not scopes:
        told = "; ".join(f"{missing.name}: {missing.reason}" for missing in unavailable)
        reason = f"no energy counter ({told})" if told else "no energy counter was given"
        return Quantity(
            value=None, unit="J", kind=Kind.MEASURED, method="energy counter", scope="none", source="", reason=reason
        )
    values = [q.value for q in scopes if q.value is not None]
    randoms = [q.random for q in scopes if q.random is not None]
    systematics = [q.systematic for q in scopes if q.systematic is not None]
    known = len(values) == len(scopes)
    return Quantity(
        value=math.fsum(values) if known else None,
        unit="J",
        kind=Kind.MEASURED,
        method="energy counter",
        scope=" + ".join(q.scope for q in scopes),
        source="; ".join(dict.fromkeys(q.source for q in scopes)),
        random=math.hypot(*randoms) if known else None,
        systematic=math.fsum(systematics) if known and len(systematics) == len(scopes) else None,
        flags=tuple(dict.fromkeys(flag for q in scopes for flag in q.flags)),
        reason=None if known else "; ".join(dict.fromkeys(q.reason for q in scopes if q.reason is not None)),
    )


def _seconds(value: float | None, *, reason: str | None = None) -> Quantity:
    return Quantity(
        value=value,
        unit="s",
        kind=Kind.MEASURED,
        method="monotonic clock",
        scope="wall time of the window",
        source="time.perf_counter_ns",
        reason=reason,
    )
