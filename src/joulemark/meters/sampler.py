"""Reads every source again and again in a child process, and writes what it read to a trace.

A child, because a thread of the measured process waits whenever one call there holds the interpreter's lock. Frequent
readings tell several wraps apart, leave of a reset only the time between two of them unknown, and make power sensors
usable. The measured process still reads the sources itself at the edges of its windows, so losing the child costs
these things and never the result.

The child is :mod:`joulemark.meters.polling`. ``python -m joulemark.meters.sampler`` prints what it costs.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from joulemark.machine.machine import this_machine
from joulemark.meters.source import timed
from joulemark.meters.trace import (
    Described,
    Failed,
    Line,
    Trace,
    decode_line,
    describe,
    encode,
    read_trace,
    reading_lines,
)
from joulemark.record import Quantity, Reading

PROBE = "joulemark.meters.probe:probe"

SHORTEST_PERIOD_SECONDS = 0.05
"""A counter that is refreshed each millisecond need not be read as often; more costs energy itself."""

LONGEST_PERIOD_SECONDS = 1.0

STOP = b"\n"
"""Anything on its standard input ends the child."""

START_SECONDS = 10.0
"""A child that has not begun by then is left alone: the windows are measured at their edges."""


def poll_seconds(sources: Iterable[Any]) -> float:
    """Period in which all sources are read: half an update, a quarter of the fastest turn, 0.05 s to 1 s."""
    periods = [LONGEST_PERIOD_SECONDS]
    for source in sources:
        periods.append(source.update_seconds / 2)
        modulus = getattr(source, "modulus", None)
        if modulus is not None:
            periods.append(modulus * source.unit_joules / (4 * source.max_watts))
    return max(min(periods), SHORTEST_PERIOD_SECONDS)


class Sampler:
    """Keeps a trace of ``sources`` at ``path`` while it is open; without a path it is in a temporary file.

    ``opener`` names the function, ``module:function``, with which the child opens them: it returns the sources, or
    these and what is unavailable. A source is known by its name and scope. Raises ``OSError`` if the trace cannot be
    written.
    """

    def __init__(
        self,
        sources: Sequence[Described],
        path: Path | None = None,
        *,
        period_seconds: float | None = None,
        opener: str = PROBE,
    ) -> None:
        self._sources = tuple(sources)
        self._path = path
        self._opener = opener
        self._period_seconds = period_seconds or poll_seconds(sources)
        self._child: subprocess.Popen[bytes] | None = None
        self._began = False
        self._windows = self._open = 0

    def __enter__(self) -> Self:
        environment = {
            "machine": msgspec.to_builtins(this_machine()),
            "kernel": platform.release(),
            "python": platform.python_version(),
        }
        header = describe(self._sources, environment, self._period_seconds)
        self._trace = Trace(header)
        if self._path is None:
            self._file, name = tempfile.mkstemp(prefix="joulemark-", suffix=".jsonl")
            Path(name).unlink()  # without a name it is gone with its last user
        else:
            self._file = _emptied(self._path)
        # Two processes write: each writes whole lines in one call, and always at the end.
        fcntl.fcntl(self._file, fcntl.F_SETFL, fcntl.fcntl(self._file, fcntl.F_GETFL) | os.O_APPEND)
        self._read_to = os.write(self._file, encode([header]))
        if self._sources:
            with suppress(OSError):  # no child: the edges are read all the same
                self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        child, self._child = self._child, None
        if child is not None:
            if child.stdin is not None:
                with suppress(OSError):
                    child.stdin.write(STOP)  # processes forked meanwhile hold the pipe, too, so closing it says nothing
                    child.stdin.flush()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        os.close(self._file)

    @property
    def pid(self) -> int | None:
        """Process id of the child; ``None`` if there is none."""
        return None if self._child is None else self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the child has begun to read and still runs."""
        return self._began and self._child is not None and self._child.poll() is None

    def opened(self, start_ns: int, name: str, readings: Sequence[Reading | Failed]) -> int:
        """Write the opening edge of a window, one reading a source; the number of the window."""
        self._windows += 1
        self._append([*self._edge(readings), Line(w="open", k=self._windows, t=start_ns, name=name)])
        self._open += 1
        return self._windows

    def closed(self, window: int, stop_ns: int, name: str, readings: Sequence[Reading | Failed]) -> Trace:
        """Write the closing edge; the trace of all that stands before it in the file.

        Raises ``OSError`` or ``ValueError`` if the file cannot be used; then the window has no result in it either.
        """
        try:
            self._append([*self._edge(readings), Line(w="close", k=window, t=stop_ns, name=name)])
            self._take(window)
        except (OSError, ValueError):
            self._open -= 1
            raise
        return self._trace

    def result(self, window: int, quantities: Sequence[Quantity]) -> None:
        """Write what a closed window gave; of the trace, only what is needed later is kept in memory."""
        self._append([Line(w="result", k=window, q=tuple(quantities))])
        self._open -= 1
        if self._open == 0:
            self._trace.forget(time.perf_counter_ns())

    def _start(self) -> None:
        """Start the child and wait until it has read once."""
        # A group of its own: Ctrl-C on the terminal is for the measured program.
        self._child = subprocess.Popen(
            [sys.executable, "-m", "joulemark.meters.polling"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            pass_fds=(self._file,), process_group=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(place or os.curdir for place in sys.path)},
        )  # fmt: skip
        spec = {
            "file": self._file,
            "opener": self._opener,
            "period_seconds": self._period_seconds,
            "sources": [[source.name, source.scope] for source in self._sources],
        }
        if self._child.stdin is not None and self._child.stdout is not None:
            self._child.stdin.write(json.dumps(spec).encode() + b"\n")
            self._child.stdin.flush()
            # A byte when it has begun, or its end.
            ready, _, _ = select.select([self._child.stdout], [], [], START_SECONDS)
            self._began = bool(ready) and os.read(self._child.stdout.fileno(), 1) != b""

    def _edge(self, readings: Sequence[Reading | Failed]) -> list[Line]:
        return [line for source, reading in enumerate(readings) for line in reading_lines(source, [reading])]

    def _append(self, lines: Iterable[Line]) -> None:
        os.write(self._file, encode(lines))

    def _take(self, window: int) -> None:
        """Add the lines of the file up to the closing edge of a window.

        Raises ``OSError`` if the file does not keep what is written to it (/dev/null, or emptied by someone else).
        """
        while True:
            text = os.pread(self._file, 1 << 20, self._read_to)
            whole = text.split(b"\n")[:-1]
            if not whole:
                raise OSError(errno.EIO, "the trace does not hold what was written to it")
            for one in whole:
                self._read_to += len(one) + 1
                line = decode_line(one)
                self._trace.add(line)
                if line.w == "close" and line.k == window:
                    return


def _emptied(path: Path) -> int:
    """Open a file for a new trace, empty and ours alone.

    Raises ``OSError``, also if another measurement is writing it: two traces in one file would be none.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # shared with the child, and gone with both
    except BlockingIOError as error:
        os.close(file)
        raise OSError(errno.EBUSY, "another measurement is writing it", str(path)) from error
    except OSError:
        pass  # a file system without locks
    with suppress(OSError):  # a pipe or a device is never longer than it is
        os.ftruncate(file, 0)
    return file


class _File:
    """A counter in a file, read as RAPL's is."""

    name = scope = "self-measurement"
    unit_joules, modulus, max_watts, update_seconds = 1e-6, None, 1000.0, 1e-3
    gain_uncertainty, citation = None, "a file"

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (kept open, as a source does)
        self._file.write(b"262143328850\n")
        self._file.flush()

    def read(self) -> Reading:
        return timed(lambda: int(os.pread(self._file.fileno(), 64, 0)))

    def close(self) -> None:
        self._file.close()


def one_file() -> list[_File]:
    """A source of constant value, for the self-measurement."""
    return [_File()]


def self_measure(seconds: float = 5.0, period_seconds: float = 0.1) -> float:
    """Share of one core that the child takes for one file, from its own processor time; ``nan`` if it did not run."""
    sources = one_file()
    with tempfile.TemporaryDirectory() as folder, closing(sources[0]):
        path = Path(folder) / "trace.jsonl"
        opener = "joulemark.meters.sampler:one_file"
        with Sampler(sources, path, period_seconds=period_seconds, opener=opener):
            time.sleep(seconds)
        _, lines = read_trace(path)
    ends = [(line.cpu, line.t) for line in lines if line.w == "end"]
    polls = [line.b for line in lines if line.n is not None]
    if not ends or ends[0][0] is None or ends[0][1] is None or polls[0] is None:
        return float("nan")
    return ends[0][0] / ((ends[0][1] - polls[0]) / 1e9)


if __name__ == "__main__":
    sys.stdout.write(f"{self_measure():.3%} of one core at 10 Hz, one counter in a file\n")
