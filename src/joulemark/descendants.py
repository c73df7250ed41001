"""What a command leaves running when it has ended: its joules from then on belong to nobody."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
"""prctl(2), since Linux 3.4: orphans among our descendants become our children instead of init's."""


@contextmanager
def adopting() -> Iterator[None]:
    """While it lasts, orphans among our descendants become our children, so that :func:`running` sees them."""
    if sys.platform == "linux":
        _prctl(1)
    try:
        yield
    finally:
        if sys.platform == "linux":
            _prctl(0)


def running(known: frozenset[int] = frozenset()) -> dict[int, str]:
    """Names of the children of this process by number, without those that are ``known``; empty where there is no /proc.

    Orphans that have ended are reaped, since nobody else will.
    """
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        pid = int(path.parent.name)
        if pid in known:
            continue
        with suppress(OSError):  # it has ended meanwhile
            name, _, rest = path.read_text(errors="replace").partition("(")[2].rpartition(")")
            state, parent = rest.split()[:2]
            if int(parent) != os.getpid():
                continue
            if state == "Z":
                os.waitpid(pid, os.WNOHANG)
            else:
                found[pid] = name
    return found


def _prctl(on: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, on, 0, 0, 0)
