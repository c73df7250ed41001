"""The child process of a sampler: reads its sources in slots of equal length and writes lines of a trace.

It opens the sources itself, by the name of the function that opens them (``joulemark.meters.probe:probe``): nothing is
pickled, and the program that measures is not imported again. It ends when anything comes on its standard input, when
that is closed, and when the program that measures is gone: what that forked meanwhile keeps its pipes open.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import time
from collections.abc import Callable, Sequence
from typing import Any

from joulemark.meters.source import Sensor, read_or_why
from joulemark.meters.trace import SLEPT_NS, Line, encode, suspended_ns


def poll(
    sources: Sequence[tuple[int, Sensor]],
    write: Callable[[bytes], object],
    period_ns: int,
    wait: Callable[[float], bool],
) -> None:
    """Read ``sources``, each with its place in the header, once in each slot of ``period_ns``, until told to stop.

    ``wait`` sleeps for so many seconds and says whether to stop. Slots that passed meanwhile are skipped, and their
    numbers with them.
    """
    began_ns = checked_ns = time.perf_counter_ns()
    asleep_ns = suspended_ns()
    slot = 0
    while True:
        lines = [_polled(place, slot, source) for place, source in sources]
        now_ns, suspended = time.perf_counter_ns(), suspended_ns()
        if suspended - asleep_ns > SLEPT_NS:
            lines.insert(0, encode([Line(z=suspended - asleep_ns, b=checked_ns, a=now_ns)]))
            asleep_ns = suspended
        checked_ns = now_ns
        write(b"".join(lines))
        now_ns = time.perf_counter_ns()
        slot = (now_ns - began_ns) // period_ns + 1
        if wait((began_ns + slot * period_ns - now_ns) / 1e9):
            return


def _polled(place: int, slot: int, source: Sensor) -> bytes:
    begun_ns = time.perf_counter_ns()
    reading = read_or_why(source)
    if isinstance(reading, str):
        return encode([Line(s=place, n=slot, b=begun_ns, e=reading)])
    return b'{"s":%d,"n":%d,"b":%d,"a":%d,"r":%d}\n' % (
        place, slot, reading.before_ns, reading.after_ns, reading.raw,
    )  # fmt: skip


def open_sources(opener: str) -> list[Any]:
    """Sources of the function named ``module:function``."""
    module, _, function = opener.partition(":")
    found = getattr(importlib.import_module(module), function)()
    return list(found[0] if isinstance(found, tuple) else found)


def main() -> None:
    """The child: its task is the first line of standard input, and the end of that its own end."""
    spec = json.loads(_first_line(0))
    places = {tuple(key): place for place, key in enumerate(spec["sources"])}
    opened = open_sources(spec["opener"])
    sources = [(places[one.name, one.scope], one) for one in opened if (one.name, one.scope) in places]
    if not sources:
        return
    file, told, parent = spec["file"], False, os.getppid()
    began = time.process_time()

    def write(lines: bytes) -> None:
        nonlocal told
        os.write(file, lines)
        if not told:
            os.write(1, b".")
            told = True

    def wait(seconds: float) -> bool:
        return bool(select.select([0], [], [], max(seconds, 0.0))[0]) or os.getppid() != parent

    poll(sources, write, round(spec["period_seconds"] * 1e9), wait)
    write(encode([Line(w="end", t=time.perf_counter_ns(), cpu=time.process_time() - began)]))


def _first_line(file: int) -> bytes:
    """Read a line without a buffer, which would hide from ``select`` what follows."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(file, 1)
        if not byte:
            break
        line += byte
    return line


if __name__ == "__main__":
    main()
