"""The entry point: runs a verb and turns what it refuses into one sentence."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import NoReturn, cast

import msgspec
import typer

from joulemark.cli.app import Refused, app, printable

UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""What the parser raises. It is click's, which older versions of typer import and newer ones hold inside."""


def main() -> NoReturn:
    """Run the command. Bad input is one sentence on standard error and exit code 2; Ctrl-C is 130.

    Under --json a script finds the sentence on standard output, too, as ``{"error": "..."}``.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without our characters still shows the rest
    words = sys.argv[1:]
    try:
        code = app(standalone_mode=not words)  # without a word it shows its help
    except UsageError as error:
        wrong = cast(typer.BadParameter, error)
        text = wrong.format_message()
        end = "" if text.endswith((".", "?")) else "."
        _refuse(f"{text}{end} See `{wrong.ctx.command_path if wrong.ctx else 'joulemark'} --help`.", words)
    except typer.Abort:
        sys.exit(1)
    except (Refused, ValueError, OSError, ArithmeticError, MemoryError, RecursionError) as error:
        _refuse(sentence(error), words)
    sys.exit(code if isinstance(code, int) else 0)


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


def _refuse(text: str, words: Sequence[str]) -> NoReturn:
    typer.echo(printable(f"joulemark: {text}"), err=True)
    if asked_for_json(words):
        typer.echo(msgspec.json.encode({"error": text}).decode())
    sys.exit(2)
