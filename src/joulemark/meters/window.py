"""One window of time: its seconds, and the joules of every part of the machine that has a sensor.

The sources are read at the two edges, and in between by a sampler if there is one. Without it one wrap in between is
corrected, and a window long enough for two is refused (flag ``gap``). A counter that is refreshed every T seconds is
read at a random phase of its period at both edges, so the energy of a window at P watts carries a triangular error
with standard deviation P * T / sqrt(6); that is its random uncertainty. The uncertain gain of the sensor is its
systematic one: shared by all windows on one device, it cancels in a ratio and belongs to absolute joules only.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from joulemark.judging.quantities import total
from joulemark.meters.idle import net_of
from joulemark.meters.mirrors import FLAG as MIRRORED
from joulemark.meters.replay import joules_of_all, ticks_of, unknown_joules
from joulemark.meters.scope import refuse_overlap
from joulemark.meters.source import PowerSensor, Source, Unavailable, read_or_why
from joulemark.meters.trace import SLEPT_NS, Failed, Header, Line, Trace, facts_of, reading_lines, suspended_ns
from joulemark.record import Kind, Quantity, Reading

if TYPE_CHECKING:
    from joulemark.meters.sampler import Sampler


class Window:
    """Measures a block of code: ``with Window(sources) as window: ...``, then ``window.seconds`` and ``window.joules``.

    ``sync`` is called at both edges before anything is read, so that work queued on a device ends inside the window
    (for example ``torch.cuda.synchronize``). ``unavailable`` is only told in the reason when there are no joules. With
    a ``sampler`` of the same sources and checks, its readings count too and the window stands in its trace as ``name``;
    power sensors need one. ``checks`` are power sensors of parts that are counted already: they are never summed, but a
    counter that one of them contradicts is flagged. All stay open, and the window may be used again. Raises
    ``ValueError`` if two sources cover the same part.
    """

    def __init__(
        self,
        sources: Sequence[Source | PowerSensor],
        sync: Callable[[], object] | None = None,
        *,
        unavailable: Sequence[Unavailable] = (),
        checks: Sequence[PowerSensor] = (),
        sampler: Sampler | None = None,
        name: str = "window",
    ) -> None:
        refuse_overlap(source.path for source in sources)
        self._sources = (*sources, *checks)
        self._summed = len(sources)
        self._facts = tuple(facts_of(source) for source in self._sources)
        self._sync = sync
        self._unavailable = tuple(unavailable)
        self._sampler = sampler
        self._name = name
        self.idle: dict[str, Quantity] = {}
        self.disturbed: tuple[str, ...] = ()  # flags of :mod:`joulemark.meters.tenants`
        self._progress: list[tuple[int, float]] = []
        self._ticks: list[list[tuple[int, float]]] = []
        self._result: tuple[Quantity, list[Quantity]] | None = None

    def __enter__(self) -> Self:
        self._result = None
        self._progress, self._ticks = [], []
        self._number: int | None = None
        if self._sync is not None:
            self._sync()
        self._suspended_ns = suspended_ns()
        self._first = [_read(source) for source in self._sources]
        self._start_ns = time.perf_counter_ns()
        if self._sampler is not None:
            with suppress(OSError):  # a full disk must not end the measured program
                self._number = self._sampler.opened(self._start_ns, self._name, self._first)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            # No sync: a broken device would raise again and hide the first error.
            reason = f"the measured block raised {kind.__name__}"
            self._result = _seconds(None, reason=reason), [unknown_joules(facts, reason) for facts in self._facts]
            if self._sampler is not None and self._number is not None:
                with suppress(OSError):
                    self._sampler.result(self._number, [])  # without a closing edge: no window of the trace
            return
        if self._sync is not None:
            self._sync()
        stop_ns = max(time.perf_counter_ns(), self._start_ns + 1)
        last = [_read(source) for source in self._sources]
        trace = self._sampled(stop_ns, last) or self._edges(stop_ns, last)
        joules = joules_of_all(trace, self._start_ns, stop_ns)
        if self._progress:
            self._ticks = [ticks_of(trace, place, self._start_ns, stop_ns) for place in range(self._summed)]
        if self._sampler is not None and self._number is not None:
            with suppress(OSError):
                self._sampler.result(self._number, joules)
        self._result = _seconds((stop_ns - self._start_ns) / 1e9), joules

    def _sampled(self, stop_ns: int, last: Sequence[Reading | Failed]) -> Trace | None:
        """What the sampler has up to here; ``None`` without one, or if its file can no longer be used."""
        if self._sampler is None or self._number is None:
            return None
        try:
            return self._sampler.closed(self._number, stop_ns, self._name, last)
        except (OSError, ValueError):
            self._number = None
            return None

    def _edges(self, stop_ns: int, last: Sequence[Reading | Failed]) -> Trace:
        """What was read at the two edges."""
        trace = Trace(Header(sources=self._facts))
        for place, both in enumerate(zip(self._first, last, strict=True)):
            for line in reading_lines(place, both):
                trace.add(line)
        slept_ns = suspended_ns() - self._suspended_ns
        if slept_ns > SLEPT_NS:
            trace.add(Line(b=self._start_ns, a=stop_ns, z=slept_ns))
        return trace

    @property
    def seconds(self) -> Quantity:
        """Seconds between the edges, by the monotonic clock. Raises ``RuntimeError`` while the window is open."""
        return self._closed()[0]

    @property
    def scopes(self) -> dict[str, Quantity]:
        """Joules of each source by its scope. Raises ``RuntimeError`` while the window is open."""
        named = zip((facts.scope for facts in self._facts), self._closed()[1], strict=True)
        return dict(itertools.islice(named, self._summed))

    @property
    def checks(self) -> dict[str, Quantity]:
        """Joules of each cross-check by its name and scope. Raises ``RuntimeError`` while the window is open."""
        named = zip((f"{facts.name}, {facts.scope}" for facts in self._facts), self._closed()[1], strict=True)
        return dict(itertools.islice(named, self._summed, None))

    @property
    def joules(self) -> Quantity:
        """Joules of all scopes together; unknown, with the reason, if there is no source or one of them lost time.

        Raises ``RuntimeError`` while the window is open.
        """
        whole = _total(self._closed()[1][: self._summed], self._unavailable)
        return msgspec.structs.replace(whole, flags=(*whole.flags, *self.disturbed)) if whole.paths else whole

    @property
    def net_joules(self) -> Quantity:
        """Joules less what the idle windows before and after used in the same time; see :mod:`joulemark.meters.idle`.

        Unknown if there were none. Raises ``RuntimeError`` while the window is open.
        """
        return net_of(self.joules, self.seconds, self.idle)

    def progress(self, iterations: float) -> None:
        """Say, inside the window, that so many iterations are done by now; the device must have finished them.

        Once at the end is enough; more often makes :attr:`joules_per_iteration` see that some took longer.
        """
        self._progress.append((time.perf_counter_ns(), float(iterations)))

    @property
    def joules_per_iteration(self) -> dict[str, Quantity]:
        """Joules of one iteration by the scope of each counter, for work shorter than the counter's update period.

        By :func:`joulemark.meters.slope.joules_per_iteration` from what the sampler read and :meth:`progress` was told.
        Raises ``RuntimeError`` while the window is open, ``ValueError`` if it was told nothing or fewer and fewer.
        """
        joules = self._closed()[1]
        if not self._progress:
            raise ValueError("no iterations were told: call window.progress(iterations) inside the window")
        from joulemark.meters.slope import joules_per_iteration  # needs numpy

        told = [(self._start_ns, 0.0), *self._progress]
        return {
            facts.scope: joules_per_iteration(ticks, told, window=quantity)
            for facts, ticks, quantity in zip(self._facts[: self._summed], self._ticks, joules, strict=False)
            if facts.kind == "counter"
        }

    def _closed(self) -> tuple[Quantity, list[Quantity]]:
        if self._result is None:
            raise RuntimeError("the window has no result yet: read it after the `with` block")
        return self._result


def _read(source: Source | PowerSensor) -> Reading | Failed:
    """Read, or say when and why that failed, twice: nothing that is read later makes good for the edge of a window."""
    told = read_or_why(source)
    if isinstance(told, str):
        told = read_or_why(source)
    return (time.perf_counter_ns(), told) if isinstance(told, str) else told


def _total(scopes: Sequence[Quantity], unavailable: Sequence[Unavailable]) -> Quantity:
    """Sum of disjoint scopes, or why there is none; flagged ``partial`` if the machine has a part that none covers.

    A counter that two dies show is summed once, and flagged.
    """
    if not scopes:
        told = "; ".join(f"{missing.name}: {missing.reason}" for missing in unavailable)
        reason = f"no energy counter ({told})" if told else "no energy counter was given"
        return Quantity(
            value=None, unit="J", kind=Kind.MEASURED, method="energy counter", scope="none", source="", reason=reason
        )
    own = [one for one in scopes if MIRRORED not in one.flags]
    whole = total(own)
    if len(own) < len(scopes):
        whole = msgspec.structs.replace(whole, flags=(*whole.flags, MIRRORED))
    if any(missing.present for missing in unavailable):
        return msgspec.structs.replace(whole, flags=(*whole.flags, "partial"))
    return whole


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
