"""The energy sensors of this machine, held open together, and the windows over them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from joulemark.meters.idle import IDLE_BLOCKS, SHORTEST_BLOCK_SECONDS, Block, idle_of
from joulemark.meters.probe import probe, probe_checks
from joulemark.meters.replay import SHORTEST_UPDATES
from joulemark.meters.source import PowerSensor, Source, Unavailable
from joulemark.meters.tenants import between, boards_of, look
from joulemark.meters.window import Window

if TYPE_CHECKING:
    from joulemark.meters.sampler import Sampler

SAMPLED = "joulemark.meters.probe:probe_sampled"
"""What the child of the sampler opens."""


@dataclass(frozen=True)
class Meters:
    """Sources whose joules are summed (or why there are none), cross-checks, and the sampler if there is one."""

    sources: Sequence[Source | PowerSensor]
    unavailable: Sequence[Unavailable] = ()
    checks: Sequence[PowerSensor] = ()
    sampler: Sampler | None = None

    def window(self, name: str = "window", sync: Callable[[], object] | None = None) -> Window:
        """A window over all of them."""
        return Window(
            self.sources, sync, unavailable=self.unavailable, checks=self.checks, sampler=self.sampler, name=name
        )

    def idle(self, seconds: float, name: str = "idle") -> list[Block]:
        """Do nothing for so long, and measure it: in equal blocks if each is long enough to tell their spread.

        Without a source there is nothing to wait for, and the one block is empty.
        """
        count = IDLE_BLOCKS if seconds >= IDLE_BLOCKS * SHORTEST_BLOCK_SECONDS else 1
        too_short = any(seconds < SHORTEST_UPDATES * source.update_seconds for source in self.sources)
        blocks = []
        for _ in range(count if self.sources else 1):
            with self.window(name) as block:
                if self.sources:
                    time.sleep(seconds / count)
            blocks.append(Block(block.seconds, block.joules, too_short=too_short))
        return blocks


@contextmanager
def open_meters(
    *,
    trace: Path | None = None,
    sampled: bool = False,
    checked: bool = True,
    counter_period_seconds: float | None = None,
) -> Iterator[Meters]:
    """Open every energy sensor of this machine and close them afterwards.

    A sampler reads them all the time if ``sampled``, if ``trace`` names the file for its readings, or if one of them
    is a power sensor, which makes joules in no other way. ``checked`` opens the cross-checks, too. Counters alone are
    read each ``counter_period_seconds`` if that is given, which is as exact and keeps hours small; what a reset loses
    is that long. Raises ``OSError`` if the trace cannot be written.
    """
    with ExitStack() as held:
        sources, unavailable = probe()
        for source in sources:
            held.callback(source.close)
        checks = probe_checks(source.path for source in sources) if checked else []
        for check in checks:
            held.callback(check.close)
        every = [*sources, *checks]
        power = any(hasattr(one, "unit_watts") for one in every)
        sampler = None
        if trace is not None or power or (every and sampled):
            sampler = _sampler(every, trace, None if power else counter_period_seconds, held)
        yield Meters(sources, unavailable, checks, sampler)


@contextmanager
def measure(
    sync: Callable[[], object] | None = None, *, idle_seconds: float = 0.0, trace: Path | None = None
) -> Iterator[Window]:
    """Measure a block over every energy sensor that this machine has, and close them afterwards.

    A child process reads them all the time, so that a block may be longer than a turn of a counter and a reset cannot
    pass unseen; starting it takes a tenth of a second, before the block. With ``idle_seconds``, the machine is measured
    idle so long before and after it, too, and ``window.net_joules`` are the joules without that. ``trace`` names a file
    for the raw readings (``joulemark replay``). Raises ``OSError`` if it cannot be written.

    >>> with measure() as window:
    ...     total = sum(range(1000))
    >>> window.seconds.unit, window.joules.unit
    ('s', 'J')
    """
    with open_meters(trace=trace, sampled=True) as meters:
        before = meters.idle(idle_seconds, "idle before") if idle_seconds > 0 else []
        boards = boards_of(meters.sources)
        seen = look(boards) if meters.sources else None
        with meters.window(sync=sync) as window:
            yield window
        if seen is not None:
            window.disturbed = between(seen, look(boards))
        if before:
            window.idle = idle_of(before, meters.idle(idle_seconds, "idle after"))


def _sampler(
    every: Sequence[Source | PowerSensor], trace: Path | None, period_seconds: float | None, held: ExitStack
) -> Sampler | None:
    from joulemark.meters.sampler import Sampler

    try:
        return held.enter_context(Sampler(every, trace, period_seconds=period_seconds, opener=SAMPLED))
    except OSError:
        if trace is None:
            return None  # no room for a temporary file: the edges are read all the same
        raise
