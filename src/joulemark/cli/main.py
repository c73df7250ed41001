"""The entry point: runs a verb and turns what it refuses into one sentence."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import NoReturn, cast

import msgspec
import typer

from joulemark.cli.app import Refused, app, tell
from joulemark.cli.child import RUNNING_OTHERS_CODE, in_child

UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""What the parser raises. It is click's, which older versions of typer import and newer ones hold inside."""


def main() -> NoReturn:
    """Run the command as it was typed, in a child where it runs other people's code."""
    words = sys.argv[1:]
    tell = in_child(lambda text: _refused(text, words)) if RUNNING_OTHERS_CODE.intersection(words[:1]) else None
    code = answer(words)
    if tell is not None:
        tell(code)
    sys.exit(code)


def answer(words: Sequence[str]) -> int:
    """Run the command in this process; its exit code. Bad input is one sentence on standard error and 2; Ctrl-C is 130.

    Under --json a script finds the sentence on standard output, too, as ``{"error": "..."}``.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without our characters still shows the rest
    try:
        code = app(list(words), standalone_mode=not words)  # without a word it shows its help
    except UsageError as error:
        wrong = cast(typer.BadParameter, error)
        text = wrong.format_message()
        end = "" if text.endswith((".", "?")) else "."
        return _refused(f"{text}{end} See `{wrong.ctx.command_path if wrong.ctx else 'joulemark'} --help`.", words)
    except typer.Abort:
        return 1
    except (Refused, ValueError, OSError, ArithmeticError, MemoryError, RecursionError) as error:
        return _refused(sentence(error), words)
    return code if isinstance(code, int) else 0


def sentence(error: Exception) -> str:
    """What was refused, on one line.

    >>> sentence(OverflowError("math range error"))
    'this cannot be computed (math range error): look for a number that is far too large or small'
    """
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"there is not enough memory ({text or 'none was given'}): ask for less at a time"
    if isinstance(error, RecursionError):
        return f"something is nested too deeply to be read ({text})"
    if isinstance(error, ArithmeticError) and not isinstance(error, FloatingPointError):  # ours say what to do
        return f"this cannot be computed ({text}): look for a number that is far too large or small"
    return text


def asked_for_json(words: Sequence[str]) -> bool:
    """Whether a script wants JSON on standard output; that of `measure` belongs to the command it runs.

    >>> asked_for_json(["board", "quick", "--json"]), asked_for_json(["measure", "--json", "ls"])
    (True, False)
    """
    return words[:1] != ["measure"] and "--json" in words


def _refused(text: str, words: Sequence[str]) -> int:
    tell(text)
    if asked_for_json(words):
        typer.echo(msgspec.json.encode({"error": text}).decode())
    return 2
