"""Signals that are meant for a child: caught by the process that waits for it, and passed on."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@contextmanager
def caught_signals() -> Iterator[Callable[[], bytes]]:
    """Catch signals that would end this process, and that a child has ended; what is yielded waits for the next ones.

    Their numbers go through a pipe, so none is lost that comes while a child is being started, or just before the wait.
    A signal ignored before stays so, for the child too: `nohup` means both.
    """
    numbers = [one for one in FORWARDED if signal.getsignal(one) is not signal.SIG_IGN]
    ours, kernels = os.pipe()
    os.set_blocking(kernels, False)  # as set_wakeup_fd asks
    fd = signal.set_wakeup_fd(kernels, warn_on_full_buffer=False)
    before = {number: signal.signal(number, lambda *_: None) for number in [*numbers, signal.SIGCHLD]}
    try:
        yield lambda: os.read(ours, 4096)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(fd)
        os.close(ours)
        os.close(kernels)


def pass_on(number: int, pid: int) -> None:
    """Let a child that is not reaped yet decide what a signal means.

    Ctrl-C on a terminal reaches every process of its foreground group, so there the child has it already.
    """
    if number not in (signal.SIGINT, signal.SIGQUIT) or not _in_foreground():
        with contextlib.suppress(PermissionError):  # a command that became another user's may not be told
            os.kill(pid, number)  # not yet reaped, so the number is still its own


def _in_foreground() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False  # no terminal
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)
