"""Calling a user's code: whatever it raises is one sentence, whatever it prints is no output of ours."""

from __future__ import annotations

import sys

import pytest

from joulemark.data.own.calling import called


def test_what_it_gives_is_handed_on_and_what_it_prints_goes_to_standard_error(capsys):
    def add(a, b):
        sys.stdout.write("hello\n")
        return a + b

    assert called("f()", add, 2, 3) == 5
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("x"), "f() raised KeyError: 'x'"),
        (AssertionError(), "f() raised AssertionError"),
        (SystemExit(3), "f() raised SystemExit: 3"),
        (OSError(2, "no file"), "f() raised FileNotFoundError: [Errno 2] no file"),
        (
            RuntimeError(
                "Caught in worker.\nTraceback (most recent call last):\n  File 'x'\nZeroDivisionError: by 0\n"
            ),
            "f() raised ZeroDivisionError: by 0",
        ),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, BaseException) else "",
)
def test_whatever_is_raised_is_one_sentence(error, said):
    def fail():
        raise error

    with pytest.raises(ValueError, match="raised") as refused:
        called("f()", fail)
    assert str(refused.value) == said


def test_a_person_can_stop_it():
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        called("f()", stop)
