"""The boards in a terminal: the same rows as the page, as tables or as plain dicts."""

from __future__ import annotations

from typing import Any

import msgspec
from rich.markup import escape
from rich.text import Text

from joulemark.report.board import other_views
from joulemark.report.exporting import export_command, export_line
from joulemark.report.facts import control, denominator
from joulemark.report.pace import paced_rows
from joulemark.report.results import Results
from joulemark.report.rows import BoardView, Row
from joulemark.report.table import RowsOrBlocks
from joulemark.report.verdicts import row_verdict
from joulemark.report.words import (
    backend_name,
    count,
    duration,
    in_points,
    interval,
    points,
    times,
    with_knobs,
    with_prefix,
)


def board_table(view: BoardView) -> RowsOrBlocks | Text:
    """Draw a board as a table: the ranked, the baseline, then the ineligible in grey with their reasons.

    An empty board is two lines of text: its title and why it is empty.
    """
    lost = "lost" if view.lost == view.metric else f"of {view.lost}"
    title = f"{view.board.title} · at most {in_points(view.limit_points)} {lost}"
    if not view.rows and not view.ineligible:
        return Text.assemble((f"{title}\n", "italic"), view.note or "")
    said = f"x: {denominator(view) or 'modelled joules of the fp32 baseline / of the row'}"
    caption = "\n".join(filter(None, (view.note or said, loss_told(view), control(view), export_line(view))))
    table = RowsOrBlocks(title=escape(title), caption=escape(caption), title_justify="left", caption_justify="left")
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("technique", overflow="fold")
    table.add_column(gain_word(view), justify="right", no_wrap=True)
    table.add_column("per input", justify="right", no_wrap=True)
    table.add_column("test loss", justify="right", no_wrap=True)
    table.add_column("executed")
    table.add_column("making of", justify="right", no_wrap=True)
    table.add_column("remarks", overflow="fold")
    for row in view.rows:
        table.add_row(*cells(view, row), style="bold" if row.rank and row.rank[0] == 1 else None)
    if view.rows and view.ineligible:
        table.add_section()
    for row in view.ineligible:
        table.add_row(*cells(view, row), style="dim")
    return table


def loss_told(view: BoardView) -> str:
    """What the losses are points of, and what the baseline itself has; empty where no net was tested."""
    if not any(row.test for row in (*view.ranked, *view.ineligible)):
        return ""
    what = f"points of {view.lost}{' lost' if view.lost == view.metric else ''} on test rows (negative: a gain)"
    text = f"test loss: {what}, and below it the one-sided 95 % bound"
    value = next((row.test.value for row in view.rows if row.status == "baseline" and row.test is not None), None)
    if value is None or view.lost != view.metric:
        return text
    return f"{text}; the baseline has {100 * value:.2f} % {view.metric}"


def gain_word(view: BoardView) -> str:
    """Head of the ratios: seconds are a proxy and make a net faster, never cheaper."""
    return "x faster" if view.board.cost == "seconds" else "x cheaper"


def other_sizes(results: Results, limit_points: float) -> list[RowsOrBlocks]:
    """Draw the measured winners at every other batch size: the ratio and what it costs, no more."""
    tables = []
    for view in other_views(results, limit_points):
        title = f"{view.board.title} at batch {view.batch_size}, the same nets"
        table = RowsOrBlocks(
            title=escape(title),
            caption=escape(f"x: {denominator(view)}\n{control(view)}".strip()),
            title_justify="left",
            caption_justify="left",
        )
        for name in ("technique", gain_word(view), "per input", "executed"):
            table.add_column(name, no_wrap=name not in ("technique", "executed"), overflow="fold")
        for row in view.rows:
            drawn = cells(view, row)
            table.add_row(drawn[1], drawn[2], drawn[3], drawn[5])
        tables.append(table)
    return tables


def paced_table(results: Results) -> RowsOrBlocks | None:
    """Draw the paced scenario, never mixed with the saturated one; ``None`` where there is none."""
    rows = paced_rows(results)
    if not rows:
        return None
    table = RowsOrBlocks(
        title="paced: single inputs at a fixed rate, idle included",
        title_justify="left",
        caption="busy: time of an hour in which the net runs; energy: gross, of all that the counters cover",
        caption_justify="left",
    )
    for name in (
        "inputs/s",
        "technique",
        "latency, 95 %",
        "missed",
        "busy, an hour\n(baseline)",
        "CPU, an hour",
        "energy, an hour",
    ):
        table.add_column(name, no_wrap=name != "technique", overflow="fold")
    for row in rows:
        name = with_knobs(row.technique, row.knobs)
        table.add_row(
            f"{row.inputs_per_second:g}",
            escape(name if row.execution == "real" else f"{name}\nsimulated"),
            f"{with_prefix(row.latency_seconds, 's')}, {with_prefix(row.latency_95_seconds, 's')}",
            f"{row.missed} of {row.inputs}",
            f"{with_prefix(row.busy_seconds_per_hour, 's')} ({with_prefix(row.baseline_busy_seconds_per_hour, 's')})",
            with_prefix(row.cpu_seconds_per_hour, "s"),
            with_prefix(row.joules_per_hour, "J"),
        )
    return table


def cells(view: BoardView, row: Row) -> tuple[str, ...]:
    """Write the cells of one row, names escaped so that brackets in them are not markup."""
    name = with_knobs(row.technique, row.knobs)
    ratio = "" if row.ratio is None else times(row.ratio.value)
    if row.ratio is not None and row.status == "ranked":
        ratio += f"\n{interval(row.ratio)}"
    if row.same_backend is not None and view.elsewhere(row):
        ratio += f"\n(own backend {times(row.same_backend.value)})"
    loss = ""
    if row.test is not None and row.status != "baseline":
        loss = f"{points(row.test.points)}\n≤ {points(row.test.bound)}"
    making = ""
    if row.making is not None and row.making.attempts:
        making = f"{duration(row.making.seconds)}\n{count(row.making.image_passes)} passes"
    remarks = [text for text in (row.reason, row_verdict(view, row), *row.flags) if text]
    return (
        row.rank_text,
        escape(name),
        ratio,
        "" if row.cost is None else with_prefix(row.cost, view.unit),
        loss,
        " on ".join(filter(None, (row.execution, row.backend and backend_name(row.backend)))),
        making,
        escape("; ".join(remarks)),
    )


def as_dict(view: BoardView) -> dict[str, Any]:
    """Turn a board into plain dicts, lists and numbers, for ``--json``."""
    plain: dict[str, Any] = msgspec.to_builtins(view)
    for key in ("rows", "ineligible"):
        for drawn, row in zip(plain[key], getattr(view, key), strict=True):
            drawn["verdict"] = row_verdict(view, row)
            drawn["export"] = export_command(row, view.task_file)
    return plain
