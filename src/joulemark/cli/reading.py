"""Verbs that read results: board, compare, report, explain, check, migrate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from joulemark.cli.app import (
    Files,
    Hardware,
    Json,
    Limit,
    Points,
    Refused,
    ResultsFolder,
    SuiteName,
    TaskFiles,
    app,
    console,
    damaged_json,
    import_given,
    import_tasks,
    print_json,
    print_lines,
    show_boards,
    stored_results,
    tell,
    tell_damaged,
    write_output,
)

RUNS, COMMITTED = "runs", "results"
"""Where runs leave their results, and where a project keeps those that it publishes."""


@app.command()
def board(
    suite: SuiteName,
    results: ResultsFolder = RUNS,
    hardware: Hardware = None,
    limit: Points = None,
    limit_images: Limit = None,
    technique: Files = None,
    task: TaskFiles = None,
    json: Json = False,
) -> None:
    """Show the boards of a suite: who is ranked where, who is not, and why."""
    from joulemark.benchmarking.stored_suites import suite_of_results

    import_given(technique)
    import_tasks(task)
    chosen = suite_of_results(suite, results, limit_images=limit_images, limit=limit, warn=tell)
    show_boards(chosen, results, hardware, json=json)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="A technique of the suite, or `baseline`.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
    suite: Annotated[
        str, typer.Option(help="A suite's name, the path of a .toml file, or your own task: mine.py.")
    ] = "quick",
    board: Annotated[str, typer.Option(help="seconds, joules, or an energy model of the suite.")] = "seconds",
    limit: Annotated[
        float | None, typer.Option(help="Accuracy limit in points that it was run with; the largest if not given.")
    ] = None,
    results: ResultsFolder = RUNS,
    hardware: Hardware = None,
    limit_images: Limit = None,
    technique: Files = None,
    task: TaskFiles = None,
    json: Json = False,
) -> None:
    """Say in one sentence which of two techniques costs less, with figures, or why there is no verdict."""
    from joulemark.benchmarking.stored_suites import suite_of_results
    from joulemark.report.comparison import compare as judge
    from joulemark.report.load import place_of, why_elsewhere

    def elsewhere(name: str) -> str | None:
        from joulemark.techniques.technique import technique_names

        return why_elsewhere(chosen, results, here, name, technique_names())

    import_given(technique)
    import_tasks(task)
    chosen = suite_of_results(suite, results, limit_images=limit_images, limit=limit, warn=tell)
    known = stored_results(chosen, results, hardware)
    here = place_of(chosen, results, hardware)
    answer = judge(
        known, first, second, board=board, limit_points=limit, elsewhere=elsewhere,
    )  # fmt: skip
    if json:
        print_json({**msgspec.to_builtins(answer), "damaged": damaged_json(known.damaged)})
    else:
        print_lines([answer.sentence])


@app.command()
def report(
    suite: SuiteName = "quick",
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")] = Path("report.html"),
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    results: ResultsFolder = RUNS,
    hardware: Hardware = None,
    limit: Points = None,
    limit_images: Limit = None,
    technique: Files = None,
    task: TaskFiles = None,
    json: Json = False,
) -> None:
    """Write the results of a suite as one page: a self-contained file that needs no network."""
    from joulemark.benchmarking.stored_suites import suite_of_results
    from joulemark.report.page import render_page

    import_given(technique)
    import_tasks(task)
    chosen = suite_of_results(suite, results, limit_images=limit_images, limit=limit, warn=tell)
    known = stored_results(chosen, results, hardware)
    page = render_page(known)
    write_output(output, page)
    if open_:
        typer.launch(output.resolve().as_uri())
    if json:
        print_json({"page": str(output), "bytes": len(page.encode()), "damaged": damaged_json(known.damaged)})
    else:
        print_lines([f"Wrote {output}."])


@app.command()
def explain(
    name: Annotated[str, typer.Argument(help="A technique, energy model, backend, meter or net (`joulemark list`).")],
    technique: Annotated[
        list[Path] | None, typer.Option("-t", "--technique", help="A .py file whose techniques are known too.")
    ] = None,
    suite: Annotated[
        list[str] | None, typer.Option("--suite", help="Show results of this .toml file too, not of ours alone.")
    ] = None,
    task: TaskFiles = None,
    results: ResultsFolder = RUNS,
    json: Json = False,
) -> None:
    """Explain a technique: idea, equations, knobs, real or simulated, claims, file, what it reached here.

    What it reached is read from runs/ or, if nothing is known of it there, from results/ beside it.
    """
    from joulemark.explain.explanation import explain as explained

    import_given(technique)
    import_tasks(task)
    stored, damaged = _stored(results, suite or [])
    # A clone of the project has no runs of its own yet, but the committed results beside them.
    committed = COMMITTED if results == RUNS and Path(COMMITTED).is_dir() else None
    known = explained(
        name, results=stored, files=technique or [],
        otherwise=lambda: [] if committed is None else _stored(committed, suite or [])[0],
    )  # fmt: skip
    tell_damaged(damaged)
    if json:
        print_json({**msgspec.to_builtins(known), "damaged": damaged_json(damaged)})
        return
    from joulemark.explain.explanation_text import as_text

    console().print(as_text(known))


@app.command()
def check(
    results: Annotated[str, typer.Argument(help="Folder (or fsspec URL) that holds the results.")] = "runs",
    words: Annotated[
        list[Path] | None,
        typer.Option(
            "-w", "--words", help="Also hold the words of this .md or .html against the results. Repeat it for several."
        ),
    ] = None,
    technique: Files = None,
    task: TaskFiles = None,
    json: Json = False,
) -> None:
    """Judge every stored record again by the rules and name what is broken; exit code 1 if anything is."""
    from joulemark.check.claims import stored_trials, unbacked_in
    from joulemark.check.results import as_json, as_lines, check_results

    import_given(technique)
    import_tasks(task)
    checked, trials = check_results(results), stored_trials(results) if words else {}
    try:
        claims = {path: unbacked_in(path, trials) for path in words or []}
    except OSError as error:
        raise Refused(f"cannot read {error.filename}: {error.strerror}: name .md or .html files behind -w") from error
    if json:
        print_json({**as_json(checked), "words": {str(path): found for path, found in claims.items()}})
    else:
        print_lines(as_lines(checked))
        print_lines(
            [f"{path}:{one.line}: claims {one.claim}, but {one.problem}: {one.sentence}"
             for path, found in claims.items() for one in found]
        )  # fmt: skip
    if checked.broken or any(claims.values()):
        raise typer.Exit(1)


@app.command()
def migrate(
    results: Annotated[Path, typer.Argument(help="Folder that holds results of an earlier version.")] = Path("runs"),
    history: Annotated[
        Path | None,
        typer.Option("--history", help="Git repository with the commits that the records name: what code made them."),
    ] = None,
    json: Json = False,
) -> None:
    """Bring stored results of an earlier version to this one, in place; exit code 1 if a record was left as it is."""
    from joulemark.migrating.migrate import lines
    from joulemark.migrating.migrate import migrate as bring_over

    done = bring_over(results, repository=history)
    if json:
        print_json(msgspec.to_builtins(done))
    else:
        print_lines(list(lines(done)))
    if done.failed:
        raise typer.Exit(1)


def _stored(results: str, named: list[str]) -> tuple[list[Any], list[tuple[str, str]]]:
    """Results of our suites and of the .toml files named, on every machine that has some; and what cannot be read."""
    from joulemark.benchmarking.suite_files import load_suite, shipped_suites
    from joulemark.report.load import load_all

    found, damaged = [], []
    for suite in (load_suite(name) for name in (*shipped_suites(), *named)):
        here, unread = load_all(suite, results)
        found += here
        damaged += unread
    return found, list(dict.fromkeys(damaged))  # suites may share a task, and so its failures
