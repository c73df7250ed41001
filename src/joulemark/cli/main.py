"""The entry point: runs a verb and turns what it refuses into one sentence."""

from __future__ import annotations

import io
import sys
from typing import NoReturn

import typer

from joulemark.cli.app import Refused, app


def main() -> NoReturn:
    """Run the command. Bad input is one sentence on standard error and exit code 2; Ctrl-C is 130."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without our characters still shows the rest
    try:
        app()
    except (Refused, ValueError, OSError) as error:
        typer.echo(f"joulemark: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    sys.exit(0)
