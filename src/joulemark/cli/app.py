"""The application: options that verbs share, and how they print."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make convolutional networks use less energy, and prove it: techniques, meters, models, one fair comparison.",
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]
ResultsFolder = Annotated[str, typer.Option("--results", help="Folder (or fsspec URL) that holds the results.")]
SuiteName = Annotated[
    str,
    typer.Argument(
        help="A suite's name (`joulemark list suites`), the path of a .toml file, or your own task: mine.py "
        "(`joulemark init mine.py`)."
    ),
]
Hardware = Annotated[str | None, typer.Option(help="Hardware class to show, if the results are of several.")]
Points = Annotated[
    float | None,
    typer.Option(
        "--limit", min=0.01, max=100, help="Points of the metric that may be lost, instead of the suite's limits."
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(min=10, help="At most so many images of each split: a smoke run, kept apart from real results."),
]

Files = Annotated[
    list[Path] | None,
    typer.Option("-t", "--technique", help="A .py file that registers what the results were made with. Repeatable."),
]


def _print_version(asked: bool) -> None:
    """Print the version and stop, if that was asked for."""
    if asked:
        import joulemark

        typer.echo(f"joulemark {joulemark.__version__}")
        raise typer.Exit


@app.callback()
def _before_any_verb(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


TaskFiles = Annotated[
    list[Path] | None,
    typer.Option("--task", help="A task file (`joulemark init`) whose nets or metric are met; it is run. Repeatable."),
]


class Refused(Exception):  # noqa: N818  (an answer, not a fault)
    """The command cannot do what was asked; the message is one sentence."""


def show_boards(suite: Any, results: str, hardware: str | None, *, json: bool = False) -> None:
    """Print the boards of a suite, one for each question and limit, with what is free above them."""
    from joulemark.report.whole_board import whole_board, whole_board_dicts

    known = stored_results(suite, results, hardware)
    if json:
        print_json(whole_board_dicts(known))
        return
    screen = console()
    for part in whole_board(known):
        screen.print(part)


def import_given(files: Iterable[Path] | None) -> None:
    """Import the user's files, so that what they register is known. Raises ``ValueError`` for one that cannot be."""
    from joulemark.techniques.technique import import_user_file

    for path in files or []:
        import_user_file(path)


def import_tasks(files: Iterable[Path] | None) -> None:
    """Import task files, so that nets made of them can be opened; data are not read. ``ValueError`` if one is none."""
    for path in files or []:
        from joulemark.benchmarking.own_task import register_task

        register_task(path)


def stored_results(suite: Any, results: str, hardware: str | None) -> Any:
    """All that is stored of a suite's last study; what could not be read is told on standard error.

    Raises ``ValueError`` if there is nothing to show, or nobody knows the metric that it is judged by.
    """
    from joulemark.judging.metrics.metric import metric
    from joulemark.report.load import load_results
    from joulemark.run_command import task_file

    try:
        metric(suite.task.metric)
    except ValueError as error:
        file = f"-t, or --task {task_file(suite)}" if task_file(suite) else "-t"
        raise Refused(f"{error}; name the file that registers it behind {file}") from error

    known = load_results(suite, results, hardware)
    tell_damaged(known.damaged)
    return known


def tell(sentence: str) -> None:
    """One sentence on standard error beside what was asked for."""
    typer.echo(printable(f"joulemark: {sentence}"), err=True)


def tell_damaged(damaged: Iterable[tuple[str, str]]) -> None:
    """One sentence on standard error for each file that could not be read: its path and the reason."""
    for path, reason in damaged:
        tell(f"{path} could not be read and is left out: {reason}")


def damaged_json(damaged: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """The same for a script."""
    return [{"path": path, "reason": reason} for path, reason in damaged]


def write_output(path: Path, text: str) -> None:
    """Write what ``-o`` asks for, whole or not at all: on a full disk the old file stays.

    A symbolic link is followed; what is no regular file (/dev/stdout) is written to as it is.
    """
    from joulemark.machine.atomic_files import replace_file

    data = text.encode()
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
        else:
            replace_file(Path(os.path.realpath(path)), data)
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror or error}") from error


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_lines(lines: list[str]) -> None:
    """Print lines; what no terminal should be sent, from a file of somebody else, is written as an escape."""
    for line in lines:
        typer.echo(printable(line))


def printable(text: str) -> str:
    """A text without what a terminal would obey, which is written as an escape.

    >>> printable(f"a{chr(27)}[31mb") == "a" + chr(92) + "x1b[31mb"
    True
    """
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print rows as a table, or as blocks where it would not fit; the keys of the first are its columns."""
    from rich.box import SIMPLE_HEAD
    from rich.text import Text

    from joulemark.report.table import RowsOrBlocks

    table = RowsOrBlocks(box=SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(rows[0] if rows else ()):
        table.add_column(column, overflow="fold", no_wrap=position == 0)
    for row in rows:
        table.add_row(*(Text("" if value is None else printable(str(value))) for value in row.values()))
    console().print(table)


def console() -> Console:
    """A terminal as wide as it is; a file or pipe gets lines that a person can still read."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 120)


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """Whole numbers of at least 1, separated by commas.

    >>> parse_shape("3,224,224")
    (3, 224, 224)
    """
    if text is None:
        return None
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = (0,)
    if min(sizes) < 1:
        raise Refused(f"--shape {text}: give whole numbers of at least 1, as 3,224,224")
    return sizes
