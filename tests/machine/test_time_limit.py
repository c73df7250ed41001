"""Code that runs too long is stopped, even if it catches everything."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from joulemark.machine import time_limit as module
from joulemark.machine.time_limit import TimeLimit, time_limit


def test_what_is_quick_is_left_alone_and_the_alarm_is_put_back():
    before = signal.getsignal(signal.SIGALRM)
    with time_limit(0.05):
        pass
    time.sleep(0.08)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_code_that_catches_everything_is_stopped_again(monkeypatch):
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.02)
    caught = 0
    began = time.monotonic()
    with pytest.raises(TimeLimit), time_limit(0.02):
        while True:
            try:
                time.sleep(5)
            except BaseException:
                caught += 1
                if caught == 3:
                    raise
    assert caught == 3
    assert time.monotonic() - began < 2


def test_an_ordinary_handler_misses_it():
    with pytest.raises(TimeLimit), time_limit(0.02):
        try:
            time.sleep(5)
        except Exception:  # noqa: BLE001  (the very thing that is tested)
            pytest.fail("a limit is no Exception")


def test_beside_the_main_thread_nothing_is_stopped():
    done = []

    def work():
        with time_limit(0.01):
            time.sleep(0.05)
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
