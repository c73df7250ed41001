"""Any command, measured: wall seconds, CPU seconds, peak memory, and joules where this machine has a counter.

Counters see the whole machine, so the joules are gross: what else runs, and what it costs to be on, is in them. With
idle windows before and after, the idle power times the seconds is taken off and stands beside it as net, with an
interval that holds what idle power varied by. Where the command costs no more than that, net is about 0 and can be
below.
"""

from __future__ import annotations

import math
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from joulemark.command.descendants import adopting, children, left_running
from joulemark.machine.signals import caught_signals, pass_on
from joulemark.meters.idle import idle_of, net_of, with_idle
from joulemark.meters.meters import open_meters
from joulemark.meters.tenants import between, boards_of, look
from joulemark.meters.window import Window
from joulemark.record import Kind, Quantity, Record

NOT_FOUND, NOT_EXECUTABLE, SIGNALLED = 127, 126, 128
"""Exit codes of POSIX shells: no such command, a file that cannot be run, and what is added to a signal's number."""


class CannotRun(ValueError):  # noqa: N818  (an answer, not a fault)
    """The command could not be started; ``exit_code`` is what a shell would answer."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Run(Record, frozen=True, kw_only=True):
    """One run of the command."""

    exit_code: int  # 128 + n if signal n ended it
    left_running: tuple[str, ...] = ()  # processes of it, or of a run before, that ran on at its end: "sleep (4711)"
    seconds: Quantity
    cpu_seconds: Quantity
    peak_memory_bytes: Quantity
    joules: Quantity  # gross
    net_joules: Quantity
    scopes: dict[str, Quantity] = {}  # gross joules of each part that has a sensor
    checks: dict[str, Quantity] = {}  # the same joules by other sensors, never summed


class Measured(Record, frozen=True, kw_only=True):
    """All runs of a command and their medians, with 95 % intervals from six runs on."""

    command: tuple[str, ...]
    exit_code: int  # of the first run that failed, else 0
    repeat: int  # runs asked for; a failure or a signal ends them early
    runs: tuple[Run, ...]
    median: dict[str, Quantity]
    idle: dict[str, Quantity]  # "seconds" and "joules" of the windows before and after; empty if not asked for
    scopes: dict[str, Quantity] = {}  # median gross joules of each part that has a sensor
    checks: dict[str, Quantity] = {}  # the same by other sensors


def measure_command(
    command: Sequence[str], *, repeat: int = 1, idle_seconds: float = 0.0, trace: Path | None = None
) -> Measured:
    """Run a command (no shell) ``repeat`` times; its input and output are this process's own.

    A failure ends the repetitions, and so does a signal to end that came during a run, whatever the command made of
    it. ``trace`` keeps the raw readings of the sensors. Raises :class:`CannotRun` if the command cannot be started,
    ``ValueError`` if the trace cannot be written.
    """
    began: list[Run] = []
    stopped = False
    with ExitStack() as held:
        try:
            meters = held.enter_context(open_meters(trace=trace, sampled=True))
        except OSError as error:
            raise ValueError(f"cannot write {trace}: {error.strerror}") from error
        before = meters.idle(idle_seconds, "idle before") if idle_seconds > 0 else []
        held.enter_context(adopting())
        ours = frozenset(children())  # the sampler
        while len(began) < repeat and not stopped:
            run, signalled = _run(command, meters.window(f"run {len(began) + 1}"), ours, boards_of(meters.sources))
            began.append(run)
            stopped = signalled or run.exit_code != 0
        # Whoever stopped it wants no more waiting.
        after = meters.idle(idle_seconds, "idle after") if before and not stopped else []
    idle = idle_of(before, after) if before else {}
    runs = [msgspec.structs.replace(one, net_joules=net_of(one.joules, one.seconds, idle)) for one in began]
    fields = [name for name in Run.__struct_fields__ if name not in ("exit_code", "left_running", "scopes", "checks")]
    median = {name: median_of([getattr(run, name) for run in runs]) for name in fields}
    first = runs[0]
    return Measured(
        command=tuple(command),
        exit_code=runs[-1].exit_code,
        repeat=repeat,
        runs=tuple(runs),
        median={**median, "net_joules": with_idle(median["net_joules"], median["seconds"], idle)},
        idle=idle,
        scopes={scope: median_of([run.scopes[scope] for run in runs]) for scope in first.scopes},
        checks={name: median_of([run.checks[name] for run in runs]) for name in first.checks},
    )


def _run(command: Sequence[str], window: Window, ours: frozenset[int], boards: Sequence[str]) -> tuple[Run, bool]:
    """One run, net of nothing yet, and whether a signal came that would have ended this process.

    What a command leaves running is flagged: its joules end with the command, and the next window has them.
    """
    seen = look(boards)
    with window:
        status, usage, signalled = _wait(command)
    window.disturbed = between(seen, look(boards))
    left = tuple(f"{name} ({pid})" for pid, name in sorted(left_running(ours).items()))
    code = os.waitstatus_to_exitcode(status)
    run = Run(
        exit_code=code if code >= 0 else SIGNALLED - code,
        left_running=left,
        seconds=window.seconds,
        cpu_seconds=_quantity(
            usage.ru_utime + usage.ru_stime, "s", "kernel accounting, user and system", "wait4(2)",
            "the command and the descendants that were waited for",
        ),
        peak_memory_bytes=_peak(usage),
        joules=_flagged(window.joules, "left_running") if left else window.joules,
        net_joules=window.net_joules,
        scopes=window.scopes,
        checks=window.checks,
    )  # fmt: skip
    return run, signalled


def _wait(command: Sequence[str]) -> tuple[int, resource.struct_rusage, bool]:
    """Start a command and pass signals on to it; once it has ended, its wait status, resources and if there was one."""
    with caught_signals() as read_signals:
        try:
            child = subprocess.Popen(list(command))  # noqa: S603  (running the given command is the task)
        except FileNotFoundError as error:
            raise _missing(command[0]) from error
        except OSError as error:
            raise CannotRun(f"cannot run {command[0]}: {error.strerror}", NOT_EXECUTABLE) from error
        signalled, ended = False, 0
        while not ended:
            for number in read_signals():
                if number != signal.SIGCHLD:
                    signalled = True
                    pass_on(number, child.pid)
            ended, status, usage = os.wait4(child.pid, os.WNOHANG)
        child.returncode = os.waitstatus_to_exitcode(status)  # it is reaped: Popen must not wait again
    return status, usage, signalled


def _missing(program: str) -> CannotRun:
    """What to say if the system found no file: the program itself is not there, or what it needs to be started."""
    found = shutil.which(program)
    if found is None:
        return CannotRun(f"command not found: {program}", NOT_FOUND)
    with Path(found).open("rb") as file:
        first = file.readline(256)
    if not first.startswith(b"#!"):
        return CannotRun(f"cannot run {program}: the loader or library it was built for is not there", NOT_EXECUTABLE)
    interpreter = first[2:].decode(errors="replace").strip(" \t\n").partition(" ")[0]
    return CannotRun(
        f"cannot run {program}: its first line asks for {interpreter!r}, which is not there", NOT_EXECUTABLE
    )


def _peak(usage: resource.struct_rusage) -> Quantity:
    """Largest resident memory of one process of the command's tree.

    Linux counts a child's peak from the moment it was forked, with this process's memory still in it, so a smaller
    command's own peak is not known.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    peak, own = usage.ru_maxrss * unit, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    known = sys.platform == "darwin" or peak > own
    reason = None if known else f"at most {peak / 1e6:.0f} MB, which is what the measuring process itself holds"
    method, scope = "kernel accounting", "largest resident set of one process of the tree"
    return _quantity(float(peak) if known else None, "B", method, "wait4(2)", scope, reason=reason)


def _quantity(
    value: float | None, unit: str, method: str, source: str, scope: str, *, reason: str | None = None
) -> Quantity:
    return Quantity(
        value=value, unit=unit, kind=Kind.MEASURED, method=method, scope=scope, source=source, reason=reason
    )


def median_of(values: Sequence[Quantity]) -> Quantity:
    """Median of one quantity over runs with the interval of :func:`median_interval`; unknown if one run's is.

    Runs that are too short for their meter have no interval: counted in whole updates, all may say the same and be
    wrong by one. Their median is as uncertain as one of them.
    """
    first = values[0]
    flags = tuple(dict.fromkeys(flag for one in values for flag in one.flags))
    known = [one.value for one in values if one.value is not None]
    if len(values) == 1:
        return first
    if len(known) < len(values):
        reason = next(one.reason for one in values if one.value is None)
        return _copy(first, value=None, flags=flags, reason=reason)
    too_short = "too_short" in flags
    low, high = (None if too_short else median_interval(known)) or (None, None)
    randoms = [one.random for one in values if one.random is not None]
    scales = [one.systematic for one in values if one.systematic is not None]
    # A share of each value, the same in all runs.
    systematic = statistics.median(scales) if len(scales) == len(values) else None
    method = f"{first.method}; median of {len(known)} runs"
    return _copy(
        first,
        value=statistics.median(known),
        low=low,
        high=high,
        random=max(randoms) if too_short and randoms else None,
        systematic=systematic,
        flags=flags,
        method=method,
        count=len(known),
    )


def _flagged(quantity: Quantity, flag: str) -> Quantity:
    return msgspec.structs.replace(quantity, flags=(*quantity.flags, flag))


def _copy(quantity: Quantity, **changes: Any) -> Quantity:
    kept = {name: getattr(quantity, name) for name in ("unit", "kind", "method", "scope", "source", "paths", "gain")}
    return Quantity(**{**kept, **changes})


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Interval that holds the median with at least 95 %, whatever the distribution; ``None`` below six values.

    From the k-th smallest to the k-th largest with 1 - 2 P(Binomial(n, 1/2) < k) >= 0.95 (David and Nagaraja, Order
    Statistics, 3rd edition 2003, section 7.1).

    >>> median_interval([5, 1, 4, 2, 6, 3])
    (1, 6)
    """
    count, tail, k = len(values), 0.0, 0
    while 2 * (tail + math.comb(count, k) / 2**count) <= 0.05:
        tail += math.comb(count, k) / 2**count
        k += 1
    ordered = sorted(values)
    return (ordered[k - 1], ordered[count - k]) if k else None
