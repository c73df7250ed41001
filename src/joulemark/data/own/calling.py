"""Calling a user's code: what it prints goes to standard error, what it raises becomes one sentence."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def called(what: str, function: Callable[..., T], *given: Any) -> T:
    """``function(*given)``; ``ValueError`` if it raises or exits, named by ``what``.

    >>> called("train()", int, "seven")
    Traceback (most recent call last):
    ...
    ValueError: train() raised ValueError: invalid literal for int() with base 10: 'seven'
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):  # our output may be JSON for a script
            return function(*given)
    except (Exception, SystemExit) as error:  # the user's code, which may raise anything
        raise ValueError(f"{what} raised {_in_a_sentence(error)}") from error


def _in_a_sentence(error: BaseException) -> str:
    """Kind and message of an error. Errors of a loader's workers bring a traceback as text: of it the last line."""
    kind, text = type(error).__name__, str(error).strip()
    if "Traceback (most recent call last)" in text:
        return text.splitlines()[-1].strip()
    return f"{kind}: {text}" if text else kind
