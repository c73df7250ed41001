"""Signals are read in turn, once each, and the handlers of before are given back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from joulemark.machine.signals import FORWARDED, caught_signals, pass_on


@pytest.fixture(autouse=True)
def _not_ignored():
    """What runs these tests may ignore some."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGHUP, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_numbers_are_read_in_the_order_in_which_signals_came():
    with caught_signals() as read_signals:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert list(read_signals()) == [signal.SIGTERM, signal.SIGHUP, signal.SIGTERM]


def test_the_end_of_a_child_is_read_too():
    with caught_signals() as read_signals:
        child = subprocess.Popen([sys.executable, "-c", "pass"])
        assert list(read_signals()) == [signal.SIGCHLD]
        assert child.wait(30) == 0


def test_handlers_are_given_back_and_what_was_ignored_stays_so():
    numbers = [*FORWARDED, signal.SIGCHLD]
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        before = [signal.getsignal(number) for number in numbers]
        with pytest.raises(KeyError), caught_signals():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) not in before
            raise KeyError
        assert [signal.getsignal(number) for number in numbers] == before
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.signal(signal.SIGHUP, old)


def test_a_child_gets_what_is_passed_on():
    child = subprocess.Popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"],
                             stdout=subprocess.PIPE)  # fmt: skip
    with child:
        child.stdout.readline()
        pass_on(signal.SIGTERM, child.pid)
        assert child.wait(30) == -signal.SIGTERM
