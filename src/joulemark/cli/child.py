"""Verbs that run other people's code do it in a child, so that nothing it does ends the command without a word.

A technique may call ``os._exit(0)``, crash the interpreter or be killed for its memory: the parent, which loads nothing
and runs nothing, then says so and exits with 1. The child lives no longer than the parent.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Set

RUNNING_OTHERS_CODE = frozenset({"run", "free", "export"})


def in_child(refuse: Callable[[str], object]) -> Callable[[int], None]:
    """Go on in a forked child; the parent waits for it and ends as it does, so it never returns from here.

    What is returned tells the parent the exit code, and that all that was asked for is done. ``refuse`` is told the
    sentence if the child ends without that. Where there is no fork(2) the process goes on by itself.
    """
    if not hasattr(os, "fork"):
        return lambda code: None
    from joulemark.machine.signals import caught_signals

    answer, tell = os.pipe()
    alive, held = os.pipe()  # the parent holds the other end for as long as it lives
    sys.stdout.flush()
    sys.stderr.flush()
    with caught_signals() as read_signals:
        pid = os.fork()
        if pid:
            os.close(tell)
            os.close(alive)
            passed, status = _ended(pid, read_signals)
    if not pid:
        os.close(answer)
        os.close(held)
        threading.Thread(target=_end_with_parent, args=(alive,), daemon=True).start()
        return lambda code: _told(tell, code)
    os.set_blocking(answer, False)  # somebody's own child may still hold the other end
    try:
        said = os.read(answer, 16)
    except BlockingIOError:
        said = b""
    if not said:
        refuse(_how(os.waitstatus_to_exitcode(status), passed))
    sys.exit(int(said or 1))


def _told(tell: int, code: int) -> None:
    os.write(tell, b"%d" % code)
    os.close(tell)


def _end_with_parent(alive: int) -> None:
    os.read(alive, 1)  # nothing is ever written: it returns when the parent is gone
    os.kill(os.getpid(), signal.SIGKILL)


def _ended(pid: int, read_signals: Callable[[], bytes]) -> tuple[set[int], int]:
    """The signals passed on to the child, and its status at its end."""
    from joulemark.machine.signals import pass_on

    passed: set[int] = set()
    while True:
        for number in read_signals():
            if number != signal.SIGCHLD:
                passed.add(number)
                pass_on(number, pid)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return passed, status


def _how(code: int, passed: Set[int]) -> str:
    """How the child ended without a word; if by a signal that this process was sent, so does this one."""
    if -code in passed:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    memory = " (if that was for its memory, ask for less at a time)" if -code == signal.SIGKILL else ""
    return (
        f"the process that did the work {how}{memory} before it was done. What was finished is kept; the same "
        "command goes on from there"
    )
