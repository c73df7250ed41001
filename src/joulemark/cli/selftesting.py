"""Verbs that test the meters themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from joulemark.cli.app import Json, app, print_json, print_lines

if TYPE_CHECKING:
    from joulemark.selftest.outcome import Outcome
    from joulemark.selftest.parts import Failed

FAILED, CANNOT = 1, 3
"""Exit codes: a target was missed; something could not be tested."""


@app.command("selftest-gpu")
def selftest_gpu(
    part: Annotated[int, typer.Option(min=1, max=4, help="Which quarter of the experiments; each under 8 minutes.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; results/gpu/<hardware class>/<board> if not given.")
    ] = None,
    json: Json = False,
) -> None:
    """Test the energy counter of a GPU by experiment (docs/gpu-checklist.md); a finished experiment is not repeated.

    Exit code 1 if a target is missed, 3 if something could not be tested.
    """
    from joulemark.machine.machine import this_machine
    from joulemark.selftest.gpu import CannotTest, open_bench
    from joulemark.selftest.parts import Failed, run_part

    try:
        bench = open_bench()
    except CannotTest as error:
        typer.echo(f"joulemark: part {part} of the GPU self-test could not be done here: {error}", err=True)
        raise typer.Exit(CANNOT) from error
    folder = out or Path("results", "gpu", this_machine().hardware_class, bench.board[:12])
    found: list[Outcome | Failed] = []
    for one, old in run_part(part, bench, folder):
        found.append(one)
        if not json:
            print_lines(_lines(one, old=old))
    if json:
        print_json({"part": part, "folder": str(folder), "experiments": found})
    if any(isinstance(one, Failed) for one in found):
        raise typer.Exit(CANNOT)
    if any(target.passed is False for one in found if not isinstance(one, Failed) for target in one.targets):
        raise typer.Exit(FAILED)


def selftest_doctor(*, strict: bool, json: bool) -> int:
    """`doctor --selftest`: the small self-test on every counter there is; the exit code, 3 if strict and none is."""
    from joulemark.meters.probe import probe_counters
    from joulemark.selftest.quick import quick_selftest

    sources, unavailable = probe_counters()
    try:
        tests, sentences = quick_selftest(sources, unavailable)
    finally:
        for source in sources:
            source.close()
    if json:
        print_json({"selftest": tests, "sentences": sentences})
    else:
        print_lines(sentences)
    return CANNOT if strict and not tests else 0


def _lines(one: Outcome | Failed, *, old: bool) -> list[str]:
    from joulemark.selftest.parts import Failed

    if isinstance(one, Failed):
        return [f"{one.experiment}  {one.title}: not finished: {one.reason}"]
    head = f"{one.experiment}  {one.title} ({'done before' if old else f'{one.seconds:.0f} s'})"
    words = {True: "pass", False: "FAIL", None: "unknown"}
    return [
        head,
        *(
            f"    {words[target.passed]:8}{target.name}: "
            f"{'' if target.value is None else f'{target.value:.5g}, '}wanted {target.wanted}"
            for target in one.targets
        ),
    ]
