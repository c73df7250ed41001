"""The verb that computes results again from raw readings: replay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from joulemark.cli.app import Json, Refused, app, print_json, print_lines, print_table

if TYPE_CHECKING:
    from joulemark.meters.replay import Replayed


@app.command()
def replay(
    trace: Annotated[Path, typer.Argument(help="A trace of raw readings, as `joulemark measure --trace FILE` writes.")],
    json: Json = False,
) -> None:
    """Compute the joules of a trace again from its raw readings; exit code 1 if a stored result differs."""
    from joulemark.meters.replay import replay as replayed

    try:
        found = replayed(trace)
    except OSError as error:
        raise Refused(f"cannot read {trace}: {error.strerror}") from error
    stored = [one for one in found if one.stored is not None]
    differing = [one for one in stored if not one.same]
    if json:
        print_json(found)
    elif not found:
        print_lines([f"{trace} holds no closed window of a source."])
    else:
        print_table(
            [
                {"window": one.window, "sensor": one.sensor, "scope": one.scope, "seconds": f"{one.seconds:.4g}",
                 "stored J": _told(one.stored.value) if one.stored else "none",
                 "recomputed J": _told(one.recomputed.value), "same": _same(one),
                 "": one.recomputed.reason or ", ".join(one.recomputed.flags)}
                for one in found
            ]
        )  # fmt: skip
        print_lines([f"{len(stored) - len(differing)} of {len(stored)} stored results are the same again."])
    if differing:
        raise typer.Exit(1)


def _same(one: Replayed) -> str:
    return "" if one.stored is None else "yes" if one.same else "NO"


def _told(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"
