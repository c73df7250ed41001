"""What a command leaves running when it has ended: its joules from then on belong to nobody."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
"""prctl(2), since Linux 3.4: orphans among our descendants become our children instead of init's."""


@contextmanager
def adopting() -> Iterator[None]:
    """While it lasts, orphans among our descendants become our children, so that :func:`left_running` sees them."""
    if sys.platform == "linux":
        _prctl(1)
    try:
        yield
    finally:
        if sys.platform == "linux":
            _prctl(0)


def children() -> dict[int, tuple[str, str]]:
    """Name and state ("Z" has ended) of every child of this process by its number; empty where there is no /proc."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            name, _, rest = path.read_text(errors="replace").partition("(")[2].rpartition(")")
            state, parent = rest.split()[:2]
            if int(parent) == os.getpid():
                found[int(path.parent.name)] = name, state
    return found


def left_running(known: Collection[int]) -> dict[int, str]:
    """Names of children that are not ``known`` from before. Orphans that have ended are reaped: nobody else will."""
    found = {}
    for pid, (name, state) in children().items():
        if pid in known:
            continue
        if state != "Z":
            found[pid] = name
            continue
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return found


def _prctl(on: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, on, 0, 0, 0)
