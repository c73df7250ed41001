"""Verbs that look at this machine, a net or a command: list, doctor, audit, measure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from joulemark.cli.app import (
    Json,
    Refused,
    app,
    console,
    parse_shape,
    print_json,
    print_lines,
    print_table,
    write_output,
)

LISTS = ("techniques", "suites", "tasks", "meters", "models", "backends", "metrics", "nets")


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help=" | ".join(LISTS))],
    json: Json = False,
) -> None:
    """List techniques, suites, tasks, meters, models, backends, metrics or nets."""
    if what not in LISTS:
        from joulemark.vocabulary import unknown_name_message

        raise Refused(unknown_name_message("list", what, LISTS))
    from joulemark.explain import listing

    rows = getattr(listing, what)()
    print_json(rows) if json else print_table(rows)


@app.command()
def doctor(
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 if no energy can be measured here.")] = False,
    selftest: Annotated[bool, typer.Option("--selftest", help="Test each energy counter: half a minute each.")] = False,
    json: Json = False,
) -> None:
    """Say what can be measured on this machine, what cannot and why, and whether it is quiet."""
    if selftest:
        from joulemark.cli.selftesting import selftest_doctor  # not above: verbs stand in --help as they are imported

        raise typer.Exit(selftest_doctor(strict=strict, json=json))
    from joulemark.explain import listing
    from joulemark.machine.machine import quiet_checks, this_machine, versions
    from joulemark.meters.probe import device_checks

    machine, checks, meters = this_machine(), [*quiet_checks(), *device_checks()], listing.meters(cited=json)
    measurable = any(row["status"] == "available" for row in meters)
    if json:
        print_json(
            {"machine": machine, "meters": meters, "backends": listing.backends(), "checks": checks,
             "versions": versions(), "joules_measurable": measurable}
        )  # fmt: skip
    else:
        print_lines(
            [
                f"Hardware class  {machine.hardware_class}",
                f"Processor       {machine.processor}, {machine.cores} cores",
                "",
            ]
        )
        print_table(_fixes_once(meters))
        print_table(listing.backends())
        print_table(
            [{"check": c.name, "ok": {True: "yes", False: "NO", None: "?"}[c.ok], "detail": c.detail} for c in checks]
        )
        print_lines(
            ["Joules can be measured here."] if measurable else
            ["Joules cannot be measured here: seconds are measured, joules are modelled, and every result says so."]
        )  # fmt: skip
    if strict and not measurable:
        raise typer.Exit(3)


@app.command()
def audit(
    net: Annotated[
        str,
        typer.Argument(
            help="model.onnx, or package.module:function that returns a torch module. The latter imports and runs that "
            "code, with all it may do: name only code that you trust."
        ),
    ],
    images: Annotated[
        Path | None, typer.Option(help="Folder of PNG and JPEG files, or a .npy of ready inputs; no labels needed.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, max=600, help="Time to spend.")] = 5.0,
    shape: Annotated[
        str | None, typer.Option(help="Shape of one input, channels first, where the net leaves it open: 3,224,224.")
    ] = None,
    scale: Annotated[float, typer.Option(help="Pixels, 0 to 255, are multiplied by this.")] = 1 / 255,
    mean: Annotated[
        str | None, typer.Option(help="Then subtracted, one number or one a channel: 0.485,0.456,0.406 if not given.")
    ] = None,
    std: Annotated[
        str | None, typer.Option(help="Then divided by: 0.229,0.224,0.225 if not given (grey: mean 0, std 1).")
    ] = None,
    bgr: Annotated[bool, typer.Option("--bgr", help="Blue first, as in Caffe.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the audit as a page, too.")] = None,
    json: Json = False,
) -> None:
    """Audit a net without labels or training: energy by layer, what this machine would give, and advice."""
    from joulemark.auditing.audit import audit as audited
    from joulemark.auditing.audit_page import render_audit
    from joulemark.auditing.audit_text import as_renderables
    from joulemark.auditing.images import Preprocessing

    how = Preprocessing(scale=scale, mean=_numbers("--mean", mean), std=_numbers("--std", std), bgr=bgr)
    row = parse_shape(shape)
    try:
        found = audited(
            net, images, how=how, shape=row, minutes=minutes, tell=lambda line: typer.echo(f"  {line}", err=True)
        )
    except KeyboardInterrupt as stop:
        typer.echo("\njoulemark: stopped; an audit keeps nothing.", err=True)
        raise typer.Exit(130) from stop
    if output is not None:
        write_output(output, render_audit(found))
    if json:
        print_json(found)
        return
    for part in as_renderables(found):
        console().print(part)
    if output is not None:
        print_lines([f"Wrote {output}."])


@app.command(context_settings={"allow_interspersed_args": False})
def measure(
    command: Annotated[
        list[str], typer.Argument(help="The command and its words; put -- before it.", metavar="-- COMMAND")
    ],
    repeat: Annotated[int, typer.Option(min=1, max=10_000, help="Run it so often; the first failure stops.")] = 1,
    idle: Annotated[
        float,
        typer.Option(min=0.0, max=3600.0, help="Measure so many idle seconds before and after, for net joules."),
    ] = 0.0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the report as JSON to this file.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Keep the raw readings in this file, for `joulemark replay`.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, on standard error.")] = False,
) -> None:
    """Run a command and measure it: seconds, CPU seconds, memory, and joules where there is a counter.

    The command keeps standard input and output; the report goes to standard error. The exit code is the command's:
    128 + n if signal n ended it, 127 if it is not found, 126 if it cannot be run.
    """
    from joulemark.command.command import CannotRun, measure_command
    from joulemark.command.command_report import report_lines

    try:
        measured = measure_command(command, repeat=repeat, idle_seconds=idle, trace=trace)
    except CannotRun as error:
        typer.echo(f"joulemark: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    text = msgspec.json.format(msgspec.json.encode(measured), indent=2).decode()
    typer.echo(text if json else "\n".join(report_lines(measured)), err=True)
    if output is not None:
        try:
            write_output(output, f"{text}\n")
        except Refused as error:
            typer.echo(f"joulemark: {error}", err=True)
            raise typer.Exit(measured.exit_code or 2) from error
    raise typer.Exit(measured.exit_code)


def _fixes_once(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of meters in which a fix of many lines is told once, where it is first needed."""
    told: dict[str, str] = {}
    shown = []
    for row in rows:
        first = told.setdefault(row["fix"], row["meter"])
        again = "\n" in row["fix"] and first != row["meter"]
        shown.append({**row, "fix": f"as for {first}"} if again else row)
    return shown


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers separated by commas."""
    if text is None:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise Refused(f"{option} {text}: give numbers separated by commas") from error
    if not all(math.isfinite(number) for number in numbers):
        raise Refused(f"{option} {text}: give finite numbers")
    return numbers
