"""An explanation in a terminal: headings, paragraphs and small tables, drawn by rich."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from joulemark.explain.explanation import Explanation, Knob, Reached
from joulemark.report.words import backend_name, interval, times
from joulemark.techniques.paper import Claim, Paper


def as_text(known: Explanation) -> Group:
    """Draw an explanation; nothing in it is read as markup."""
    parts: list[RenderableType] = [Text.assemble((known.name, "bold"), f"  ({known.kind})\n{plain(known.title)}")]
    if known.paper is not None:
        parts += _idea(known.paper)
    if known.details:
        words = Text("\n\n".join(map(plain, known.details)))
        parts += _section("How it is done here" if known.paper else "In words", [words])
    if known.facts:
        parts += _section("In short", [_facts(known.facts)])
    if known.knobs:
        parts += _section("Knobs", [_table(("knob", "default", "may be", ""), map(_knob, known.knobs))])
    if known.executions:
        rows = ((backend_name(one.backend), one.execution, one.reason or "") for one in known.executions)
        title = "Real or simulated, as each backend says of a small net made by it just now"
        parts += _section(title, [_table(("backend", "execution", "why"), rows)])
    if known.paper is not None:
        parts += _claims(known.paper.claims)
    if known.kind == "technique":
        parts += _reached(known.reached)
    if known.paper is not None and known.paper.reference:
        parts += _section("Reference", [Text(known.paper.reference)])
    if known.file:
        parts += _section("File", [Text(f"{known.file}:{known.line}", overflow="fold")])
    return Group(*parts)


def plain(text: str) -> str:
    """Text without the marks of docstrings.

    >>> plain("see :func:`joulemark.energy.model.energy_model` and ``width``, :class:`~a.b.Net`")
    'see joulemark.energy.model.energy_model and width, Net'
    """
    text = re.sub(r":\w+:`~(?:\w+\.)*(\w+)`", r"\1", text)
    return re.sub(r":\w+:`([^`]+)`", r"\1", text).replace("``", "")


def _idea(paper: Paper) -> Iterator[RenderableType]:
    if paper.idea:
        yield from _section("Idea", [Text(paper.idea)])
    if paper.equations:
        yield from _section("Equations", [Text("\n".join(paper.equations))])


def _claims(claims: Sequence[Claim]) -> Iterator[RenderableType]:
    if not claims:
        return
    rows = (
        (one.figure, one.metric, one.baseline, one.accuracy, f"seen: {one.where}" if one.verified else
         f"{one.mark}, not verified")
        for one in claims
    )  # fmt: skip
    columns = ("figure", "metric, on what", "against", "accuracy", "how we know")
    yield from _section("Claimed elsewhere, not by this benchmark", [_table(columns, rows)])


def _reached(rows: Sequence[Reached]) -> Iterator[RenderableType]:
    if not rows:
        yield from _section("Reached here", [Text("No stored results of it: run a suite, or name their folder.")])
    for (suite, machine, limit, folder), some in groupby(rows, _place):
        cells = (
            (one.board, one.technique,
             "" if one.ratio is None else f"{times(one.ratio.value)} ({interval(one.ratio)})",
             one.remark or one.status)
            for one in some
        )  # fmt: skip
        title = f"Reached in suite {suite} on {machine} with at most {limit:g} points lost"
        title += f" (records in {folder})" if folder else ""
        yield from _section(title, [_table(("board", "technique", "baseline / it (95 %)", "verdict"), cells)])


def _place(one: Reached) -> tuple[str, str, float, str]:
    return one.suite, one.hardware_class, one.limit_points, one.folder


def _section(title: str, parts: Iterable[RenderableType]) -> Iterator[RenderableType]:
    inside = list(parts)
    if inside:
        yield Text(f"\n{title}", style="bold")
        yield Padding(Group(*inside), (0, 0, 0, 2))


def _facts(facts: Mapping[str, Sequence[str]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, lines in facts.items():
        grid.add_row(Text(name), Text("\n".join(lines)))
    return grid


def _knob(knob: Knob) -> tuple[str, ...]:
    may = f"{knob.low:g} to {knob.high:g}" if knob.low is not None and knob.high is not None else ""
    may = ", ".join(knob.choices) or may or ("true, false" if isinstance(knob.default, bool) else "")
    default = str(knob.default).lower() if isinstance(knob.default, bool) else str(knob.default)
    return knob.name, default, may, "searched by the benchmark" if knob.searched else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for position, column in enumerate(columns):
        table.add_column(column, overflow="fold", min_width=min(12, len(column)) if position else None)
    for row in rows:
        table.add_row(*map(Text, row))
    return table
