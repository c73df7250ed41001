"""How long somebody else's code may take."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

AGAIN_SECONDS = 1.0
"""Code that catches everything is stopped again after this time, until it gives in."""


class TimeLimit(BaseException):
    """Raised inside code that ran too long. Not an ``Exception``, so that the code's own handlers miss it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeLimit` in the block after ``seconds``, and again every second as long as it is caught.

    Works in the main thread of a POSIX system.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield  # nothing can interrupt a block here; the caller's own limit has to
        return

    def stop(_number: int, _frame: Any) -> None:
        raise TimeLimit

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
