"""The command: verbs only. Each one parses, calls and prints; the work is done in the rooms below.

Imports that are slow stand inside the verbs, so that ``joulemark --help`` answers at once.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import msgspec
import typer

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Make convolutional networks use less energy, and prove it: techniques, meters, models, one fair comparison.",
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]
ResultsFolder = Annotated[str, typer.Option("--results", help="Folder (or fsspec URL) that holds the results.")]
SuiteName = Annotated[str, typer.Argument(help="A suite's name (`joulemark list suites`) or the path of a .toml file.")]
Hardware = Annotated[str | None, typer.Option(help="Hardware class to show, if the results are of several.")]
Limit = Annotated[
    int | None,
    typer.Option(min=10, help="At most so many images of each split: a smoke run, kept apart from real results."),
]
LISTS = ("techniques", "suites", "meters", "models", "backends", "nets")


class Refused(Exception):  # noqa: N818  (an answer, not a fault)
    """The command cannot do what was asked; the message is one sentence."""


@app.command()
def run(
    suite: SuiteName,
    technique: Annotated[
        list[str] | None,
        typer.Option(
            "-t",
            "--technique",
            help="Run only this: a name, names joined by +, name:knob=value, a .py file, or `baseline` for the baselines "
            "alone. Repeat it for several.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Run seeds 0 to N-1 instead of the suite's.")
    ] = None,
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
    from joulemark.benchmark.suite import load_suite, narrowed

    names, files = _techniques(technique or [])
    chosen = narrowed(load_suite(suite), techniques=names, seeds=seeds, limit_images=limit_images)
    from joulemark.benchmark.run import chains_of, plan
    from joulemark.benchmark.run import run as run_suite
    from joulemark.benchmark.session import Session

    session = Session.open(chosen, results, fresh=fresh)
    chains = chains_of(chosen.techniques, files)
    if dry_run:
        lines = plan(session, chains)
        _print_json(lines) if json else _lines(lines)
        return
    from joulemark.progress import listening

    try:
        with listening(json=json) as listen:
            outcome = run_suite(session, chains, listen)
    except KeyboardInterrupt as stop:
        typer.echo("\njoulemark: stopped. What was finished is kept; the same command goes on from there.", err=True)
        raise typer.Exit(130) from stop
    if json:
        typer.echo(msgspec.json.encode(outcome).decode())  # the last of the lines
    else:
        _show_boards(chosen, results, session.machine.hardware_class)
        _lines([f"{outcome.made} steps made, {outcome.kept} kept from before, in {outcome.seconds:.0f} s. "
                f"Results: {session.store.folder}"])  # fmt: skip
    for reason in outcome.failed:
        typer.echo(f"joulemark: {reason}", err=True)
    if outcome.failed:
        raise typer.Exit(1)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help=" | ".join(LISTS))],
    json: Json = False,
) -> None:
    """List techniques, suites, meters, models, backends or nets."""
    if what not in LISTS:
        from joulemark.record import unknown_name

        raise Refused(unknown_name("list", what, LISTS))
    from joulemark import listing

    rows = getattr(listing, what)()
    _print_json(rows) if json else _table(rows)


@app.command()
def doctor(
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 if no energy can be measured here.")] = False,
    json: Json = False,
) -> None:
    """Say what can be measured on this machine, what cannot and why, and whether it is quiet."""
    from joulemark import listing
    from joulemark.machine import quiet_checks, this_machine, versions

    machine, checks, meters = this_machine(), quiet_checks(), listing.meters()
    measurable = any(row["status"] == "available" for row in meters)
    if json:
        _print_json(
            {"machine": machine, "meters": meters, "backends": listing.backends(), "checks": checks,
             "versions": versions(), "joules_measurable": measurable}
        )  # fmt: skip
    else:
        _lines(
            [
                f"Hardware class  {machine.hardware_class}",
                f"Processor       {machine.processor}, {machine.cores} cores",
                "",
            ]
        )
        _table(meters)
        _table(listing.backends())
        _table(
            [{"check": c.name, "ok": {True: "yes", False: "NO", None: "?"}[c.ok], "detail": c.detail} for c in checks]
        )
        _lines(
            ["Joules can be measured here."] if measurable else
            ["Joules cannot be measured here: seconds are measured, joules are modelled, and every result says so."]
        )  # fmt: skip
    if strict and not measurable:
        raise typer.Exit(3)


@app.command()
def profile(
    net: Annotated[
        str, typer.Argument(help="A net's name (`joulemark list nets`) or the path of a saved .safetensors net.")
    ],
    model: Annotated[str, typer.Option(help="Energy model.")] = "row-stationary",
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Inputs in one batch.")] = 1,
    inputs: Annotated[int, typer.Option(min=1, max=100_000, help="Random inputs to run.")] = 16,
    json: Json = False,
) -> None:
    """Show a net layer by layer: shapes, MACs, bytes, modelled joules."""
    from joulemark.energy.model import energy_model
    from joulemark.profile import open_net, profile_net, short

    report = profile_net(open_net(net), energy_model(model), batch_size=batch, inputs=inputs)
    if json:
        _print_json(report)
        return
    _table(
        [
            {"layer": row.layer, "operator": row.operator, "shape": f"{row.input} → {row.output}",
             "weights": row.weights, "MACs": short(row.macs), "bytes": short(row.bytes),
             "modelled J": None if row.joules is None else f"{row.joules:.2e}", "": row.bar}
            for row in report.layers
        ]
    )  # fmt: skip
    _lines(report.summary)


@app.command()
def board(
    suite: SuiteName,
    results: ResultsFolder = "runs",
    hardware: Hardware = None,
    limit_images: Limit = None,
    json: Json = False,
) -> None:
    """Show the boards of a suite: who is ranked where, who is not, and why."""
    from joulemark.benchmark.suite import load_suite, narrowed

    chosen = narrowed(load_suite(suite), techniques=(), seeds=None, limit_images=limit_images)
    _show_boards(chosen, results, hardware, json=json)


@app.command()
def free(
    suite: SuiteName,
    limit_images: Limit = None,
    results: ResultsFolder = "runs",
    json: Json = False,
) -> None:
    """Measure what costs nothing for a suite's baseline: runtime, threads, batch, layout, compilation, precision.

    What is in --results already is kept; the baseline is trained first if it is not there.
    """
    from joulemark.benchmark.run import run_free
    from joulemark.benchmark.session import Session
    from joulemark.benchmark.suite import load_suite, narrowed
    from joulemark.progress import listening
    from joulemark.report.free import as_dict, build_free, free_table
    from joulemark.report.load import load_results

    chosen = narrowed(load_suite(suite), techniques=(), seeds=None, limit_images=limit_images)
    session = Session.open(chosen, results)
    try:
        with listening(json=json) as listen:
            run_free(session, listen)
    except KeyboardInterrupt as stop:
        typer.echo("\njoulemark: stopped. What was finished is kept; the same command goes on from there.", err=True)
        raise typer.Exit(130) from stop
    view = build_free(load_results(chosen, results, session.machine.hardware_class).free)
    if json:
        typer.echo(msgspec.json.encode(as_dict(view)).decode())  # the last of the lines
    elif view is not None:
        _console().print(free_table(view))


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
    from joulemark.audit.audit import audit as audited
    from joulemark.audit.images import Preprocessing
    from joulemark.audit.page import render_audit
    from joulemark.audit.terminal import as_renderables

    how = Preprocessing(scale=scale, mean=_numbers("--mean", mean), std=_numbers("--std", std), bgr=bgr)
    row = None if shape is None else tuple(int(size) for size in _numbers("--shape", shape) or ())
    if row is not None and min(row, default=0) < 1:
        raise Refused(f"--shape {shape}: give whole numbers of at least 1, as 3,224,224")
    try:
        found = audited(
            net, images, how=how, shape=row, minutes=minutes, tell=lambda line: typer.echo(f"  {line}", err=True)
        )
    except KeyboardInterrupt as stop:
        typer.echo("\njoulemark: stopped; an audit keeps nothing.", err=True)
        raise typer.Exit(130) from stop
    if output is not None:
        try:
            output.write_text(render_audit(found), encoding="utf-8")
        except OSError as error:
            raise Refused(f"cannot write {output}: {error.strerror}") from error
    if json:
        _print_json(found)
        return
    for part in as_renderables(found):
        _console().print(part)
    if output is not None:
        _lines([f"Wrote {output}."])


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers separated by commas."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise Refused(f"{option} {text}: give numbers separated by commas") from error


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="A technique of the suite, or `baseline`.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
    suite: Annotated[str, typer.Option(help="A suite's name or the path of a .toml file.")] = "quick",
    board: Annotated[str, typer.Option(help="seconds, joules, or an energy model of the suite.")] = "seconds",
    limit: Annotated[
        float | None, typer.Option(help="Accuracy limit in points, one of the suite's; the largest if not given.")
    ] = None,
    results: ResultsFolder = "runs",
    hardware: Hardware = None,
    limit_images: Limit = None,
    json: Json = False,
) -> None:
    """Say in one sentence which of two techniques costs less, with figures, or why there is no verdict."""
    from joulemark.benchmark.suite import load_suite, narrowed
    from joulemark.report.comparison import compare as judge
    from joulemark.report.load import load_results, place_of, why_elsewhere

    chosen = narrowed(load_suite(suite), techniques=(), seeds=None, limit_images=limit_images)
    here = place_of(chosen, results, hardware)
    answer = judge(
        load_results(chosen, results, hardware), first, second, board=board, limit_points=limit,
        elsewhere=lambda name: why_elsewhere(chosen, results, here, name),
    )  # fmt: skip
    _print_json(answer) if json else _lines([answer.sentence])


@app.command()
def report(
    suite: SuiteName = "quick",
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")] = Path("report.html"),
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    results: ResultsFolder = "runs",
    hardware: Hardware = None,
    limit_images: Limit = None,
    json: Json = False,
) -> None:
    """Write the results of a suite as one page: a self-contained file that needs no network."""
    from joulemark.benchmark.suite import load_suite, narrowed
    from joulemark.report.load import load_results
    from joulemark.report.page import render_page

    chosen = narrowed(load_suite(suite), techniques=(), seeds=None, limit_images=limit_images)
    page = render_page(load_results(chosen, results, hardware))
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise Refused(f"cannot write {output}: {error.strerror}") from error
    if open_:
        typer.launch(output.resolve().as_uri())
    _print_json({"page": str(output), "bytes": len(page.encode())}) if json else _lines([f"Wrote {output}."])


@app.command()
def explain(
    name: Annotated[str, typer.Argument(help="A technique, energy model, backend, meter or net (`joulemark list`).")],
    technique: Annotated[
        list[Path] | None, typer.Option("-t", "--technique", help="A .py file whose techniques are known too.")
    ] = None,
    suite: Annotated[
        list[str] | None, typer.Option("--suite", help="Show results of this .toml file too, not of ours alone.")
    ] = None,
    results: ResultsFolder = "runs",
    json: Json = False,
) -> None:
    """Explain a technique: idea, equations, knobs, real or simulated, claims, file, what it reached here."""
    from joulemark.explain.explanation import explain as explained

    known = explained(name, results=_stored(results, suite or []), files=technique or [])
    if json:
        _print_json(known)
        return
    from joulemark.explain.terminal import as_text

    _console().print(as_text(known))


@app.command()
def check(
    results: Annotated[str, typer.Argument(help="Folder (or fsspec URL) that holds the results.")] = "runs",
    words: Annotated[
        list[Path] | None,
        typer.Option(
            "-w", "--words", help="Also hold the words of this .md or .html against the results. Repeat it for several."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Judge every stored record again by the rules and name what is broken; exit code 1 if anything is."""
    from joulemark.check.claims import stored_trials, unbacked_in
    from joulemark.check.results import as_json, as_lines, check_results

    checked, trials = check_results(results), stored_trials(results) if words else {}
    claims = {path: unbacked_in(path, trials) for path in words or []}
    if json:
        _print_json({**as_json(checked), "words": {str(path): found for path, found in claims.items()}})
    else:
        _lines(as_lines(checked))
        _lines(
            [f"{path}:{one.line}: claims {one.claim}, but {one.problem}: {one.sentence}"
             for path, found in claims.items() for one in found]
        )  # fmt: skip
    if checked.broken or any(claims.values()):
        raise typer.Exit(1)


@app.command(context_settings={"allow_interspersed_args": False})
def measure(
    command: Annotated[
        list[str], typer.Argument(help="The command and its words; put -- before it.", metavar="-- COMMAND")
    ],
    repeat: Annotated[int, typer.Option(min=1, max=10_000, help="Run it so often; the first failure stops.")] = 1,
    idle: Annotated[
        float, typer.Option(min=0.0, max=3600.0, help="Measure so many idle seconds before, to state net joules too.")
    ] = 0.0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the report as JSON to this file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, on standard error.")] = False,
) -> None:
    """Run a command and measure it: seconds, CPU seconds, memory, and joules where there is a counter.

    The command keeps standard input and output; the report goes to standard error. The exit code is the command's:
    128 + n if signal n ended it, 127 if it is not found, 126 if it cannot be run.
    """
    from joulemark.command import CannotRun, measure_command, report_lines

    try:
        measured = measure_command(command, repeat=repeat, idle_seconds=idle)
    except CannotRun as error:
        typer.echo(f"joulemark: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    text = msgspec.json.format(msgspec.json.encode(measured), indent=2).decode()
    typer.echo(text if json else "\n".join(report_lines(measured)), err=True)
    if output is not None:
        try:
            output.write_text(f"{text}\n", encoding="utf-8")
        except OSError as error:
            typer.echo(f"joulemark: cannot write {output}: {error.strerror}", err=True)
            raise typer.Exit(measured.exit_code or 2) from error
    raise typer.Exit(measured.exit_code)


def _techniques(given: list[str]) -> tuple[tuple[str, ...], list[Path]]:
    """Names to run and files to load; a file on its own means all techniques in it."""
    files = [Path(name) for name in given if name.endswith(".py")]
    names = [name for name in given if not name.endswith(".py")]
    if files:
        from joulemark.techniques.technique import file_techniques

        inside = [one.name for path in files for one in file_techniques(path)]
        mentioned = {part.partition(":")[0] for name in names for part in name.split("+")}
        names += [name for name in inside if name not in mentioned]
    return tuple(names), files


def _stored(results: str, named: list[str]) -> list[Any]:
    """Results of our suites and of the .toml files named, on every machine that has some."""
    from joulemark.benchmark.suite import load_suite, shipped_suites
    from joulemark.report.load import load_all

    return [known for name in (*shipped_suites(), *named) for known in load_all(load_suite(name), results)]


def _show_boards(suite: Any, results: str, hardware: str | None, *, json: bool = False) -> None:
    from joulemark.report.board import build_board
    from joulemark.report.facts import unsteady
    from joulemark.report.free import build_free, free_table
    from joulemark.report.load import load_results
    from joulemark.report.terminal import as_dict, board_table, other_sizes, paced_table
    from joulemark.report.verdicts import headline

    known = load_results(suite, results, hardware)
    views = [build_board(known, one, limit) for limit in suite.limits_points for one in known.boards]
    if json:
        _print_json([as_dict(view) for view in views])
        return
    console = _console()
    free = build_free(known.free)
    if free is not None:
        console.print(free_table(free))
    for view in views:
        console.print(board_table(view))
    for table in (*other_sizes(known, max(suite.limits_points)), paced_table(known)):
        if table is not None:
            console.print(table)
    for sentence in unsteady(known):
        console.print(f"Unsteady. {sentence}", markup=False)
    for sentence in headline(known, views):
        console.print(sentence, markup=False)
    for path, reason in known.damaged:
        typer.echo(f"joulemark: {path} could not be read and was set aside: {reason}", err=True)


def _print_json(value: Any) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _lines(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)


def _table(rows: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(rows[0] if rows else ()):
        table.add_column(column, overflow="fold", no_wrap=position == 0)
    for row in rows:
        table.add_row(*(Text("" if value is None else str(value)) for value in row.values()))
    _console().print(table)


def _console() -> Console:
    """A terminal as wide as it is; a file or pipe gets lines that a person can still read."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 120)


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


if __name__ == "__main__":
    main()
