"""Verbs that make results: run, free, publish."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from joulemark.cli.app import (
    Json,
    Limit,
    Points,
    Refused,
    ResultsFolder,
    SuiteName,
    app,
    console,
    print_json,
    print_lines,
    show_boards,
    stored_results,
    tell,
    tell_damaged,
)

if TYPE_CHECKING:
    from joulemark.benchmarking.suite import Suite
    from joulemark.store import Store


@app.command()
def run(
    suite: SuiteName,
    technique: Annotated[
        list[str] | None,
        typer.Option(
            "-t",
            "--technique",
            help="Run only this: a name, names joined by +, name:knob=value, a .py file, or `baseline` (the baselines "
            "alone). Repeat it for several.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Run seeds 0 to N-1 instead of the suite's.")
    ] = None,
    limit: Points = None,
    limit_images: Limit = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Train baselines anew instead of taking those that come with the package.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and stop.")] = False,
    results: ResultsFolder = "runs",
    json: Json = False,
) -> None:
    """Run a suite: baselines, techniques, the choice on validation images, measuring, one test.

    A run that was stopped goes on where it was; a finished one does nothing. Results are in --results.
    """
    from joulemark.benchmarking.suite_files import narrowed

    names, files = _techniques(technique or [])
    chosen = narrowed(
        _suite(suite, limit), techniques=names, seeds=seeds, limit_images=limit_images, limit=limit
    )  # fmt: skip
    from joulemark.benchmarking.chains import chains_of
    from joulemark.benchmarking.plan import plan
    from joulemark.benchmarking.run import run as run_suite
    from joulemark.benchmarking.session import Session

    session = Session.open(chosen, results, fresh=fresh)
    chains = chains_of(chosen.techniques, files)
    lines = plan(session, chains)  # what cannot be run is said before anything is
    if dry_run:
        print_json(lines) if json else print_lines(lines)
        return
    from joulemark.notebook.progress import listening

    try:
        with closing(session), listening(json=json) as listen:
            outcome = run_suite(session, chains, listen)
    except KeyboardInterrupt as stop:
        typer.echo("\njoulemark: stopped. What was finished is kept; the same command goes on from there.", err=True)
        raise typer.Exit(130) from stop
    finally:
        _tell_set_aside(session.store)
    if json:
        damaged = session.store.damaged
        typer.echo(msgspec.json.encode({**msgspec.to_builtins(outcome), "damaged": damaged}).decode())  # the last line
    else:
        show_boards(chosen, results, session.machine.hardware_class)
        print_lines([f"{outcome.made} steps made, {outcome.kept} kept from before, in {outcome.seconds:.0f} s. "
                f"Results: {session.store.folder}"])  # fmt: skip
    for reason in outcome.failed:
        typer.echo(f"joulemark: {reason}", err=True)
    if outcome.failed:
        raise typer.Exit(1)


@app.command()
def free(
    suite: SuiteName,
    limit: Points = None,
    limit_images: Limit = None,
    results: ResultsFolder = "runs",
    json: Json = False,
) -> None:
    """Measure what costs nothing for a suite's baseline: runtime, threads, batch, layout, compilation, precision.

    What is in --results already is kept; the baseline is trained first if it is not there.
    """
    from joulemark.benchmarking.run import run_free
    from joulemark.benchmarking.session import Session
    from joulemark.benchmarking.suite_files import narrowed
    from joulemark.notebook.progress import listening
    from joulemark.report.free_board import as_dict, build_free, free_table

    chosen = narrowed(_suite(suite, limit), limit_images=limit_images, limit=limit)
    session = Session.open(chosen, results)
    try:
        with closing(session), listening(json=json) as listen:
            run_free(session, listen)
    except KeyboardInterrupt as stop:
        typer.echo("\njoulemark: stopped. What was finished is kept; the same command goes on from there.", err=True)
        raise typer.Exit(130) from stop
    finally:
        _tell_set_aside(session.store)
    stored = stored_results(chosen, results, session.machine.hardware_class)
    view = build_free(stored.free, max(stored.limits_points))
    if json:
        typer.echo(msgspec.json.encode(as_dict(view)).decode())  # the last of the lines
    elif view is not None:
        console().print(free_table(view))


@app.command()
def publish(
    suite: SuiteName,
    to: Annotated[Path, typer.Option("--to", help="Folder to write to; ours is src/joulemark/baselines.")],
    results: ResultsFolder = "runs",
    json: Json = False,
) -> None:
    """Write the trained baselines of a suite where the package keeps those that nobody has to train again."""
    from joulemark.benchmarking.baselines import publish_trained
    from joulemark.benchmarking.session import Session
    from joulemark.benchmarking.suite_files import load_suite

    session = Session.open(load_suite(suite), results)
    written = [str(path) for path in publish_trained(session, to)]
    tell_damaged((one.path, one.reason) for one in session.store.damaged)
    if not written:
        raise Refused(f"no baseline of suite {suite!r} was trained in {results}: `joulemark run {suite} -t baseline`")
    print_json(written) if json else print_lines([f"Wrote {path} and its net." for path in written])


def _suite(name: str, limit: float | None) -> Suite:
    """A suite by its name or path, or that of a user's own task, which is opened for it: its data are read."""
    if not name.endswith(".py"):
        from joulemark.benchmarking.suite_files import load_suite

        return load_suite(name)
    from joulemark.benchmarking.own_task import open_task

    opened = open_task(name, limit=limit)
    own = opened.task.own
    for warning in () if own is None else own.warnings:
        tell(f"{Path(name).name}: {warning}")
    return opened.suite


def _tell_set_aside(store: Store) -> None:
    """Say which damaged records were made again, and where the files are that could not be read."""
    for one in store.damaged:
        if one.aside:
            typer.echo(
                f"joulemark: {one.path} could not be read and was made again; the old one is {one.aside}: {one.reason}",
                err=True,
            )
    tell_damaged((one.path, one.reason) for one in store.damaged if not one.aside)


def _techniques(given: list[str]) -> tuple[tuple[str, ...], list[Path]]:
    """Names to run and files to load; a file on its own means all techniques in it."""
    files = [Path(name) for name in given if name.endswith(".py")]
    names = [name for name in given if not name.endswith(".py")]
    if files:
        from joulemark.techniques.technique import file_techniques

        inside = [one.name for path in files for one in file_techniques(path)]
        mentioned = {part.partition(":")[0] for name in names for part in name.split("+")}
        names += [name for name in inside if name not in mentioned]
    return tuple(dict.fromkeys(names)), files
