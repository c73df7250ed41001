"""A study in a few lines of HTML: a small table of the headline board with a bar for each ratio. No script runs."""

from __future__ import annotations

import html

from joulemark.report.own_task import own_sentences
from joulemark.report.results import Results
from joulemark.report.rows import BoardView, Row
from joulemark.report.verdicts import headline
from joulemark.report.whole_board import headline_view, views_of
from joulemark.report.words import points, times, with_knobs, with_prefix

WIDTH, HEIGHT = 180, 14
"""Pixels of a bar's picture."""


def small_board(results: Results) -> str:
    """The board of seconds at the largest limit as a table, and the sentences that sum all boards up."""
    view = headline_view(results)
    longest = max([1.0, *(row.ratio.high for row in view.rows if row.ratio is not None)])
    rows = "".join(_row(view, row, longest) for row in (*view.rows, *view.ineligible))
    told = "".join(
        f"<p>{html.escape(one)}</p>" for one in (*headline(results, views_of(results)), *own_sentences(results))
    )
    head = "".join(
        f'<th style="text-align:left">{one}</th>' for one in ("technique", "times faster", "", "per input", "test loss")
    )
    title = f"{results.task_title}, {results.hardware_class}: at most {view.limit_words}"
    return f"<div><b>{html.escape(title)}</b><table><tr>{head}</tr>{rows}</table>{told}</div>"


def _row(view: BoardView, row: Row, longest: float) -> str:
    ratio = "" if row.ratio is None else times(row.ratio.value)
    cost = "" if row.cost is None else with_prefix(row.cost, view.unit)
    lost = "" if row.test is None or row.status == "baseline" else points(row.test.points)
    remark = row.reason or lost
    name = with_knobs(row.technique, row.knobs) if row.knobs else row.technique
    cells = (html.escape(name), ratio, _bar(row, longest), cost, html.escape(remark))
    grey = ' style="opacity:0.6"' if row.rank is None and row.status != "baseline" else ""
    written = "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells)
    return f"<tr{grey}>{written}</tr>"


def _bar(row: Row, longest: float) -> str:
    """The ratio as a bar from 0, its interval as a line on it, and a tick at 1."""
    if row.ratio is None:
        return ""
    value, low, high, one = (WIDTH * x / longest for x in (row.ratio.value, row.ratio.low, row.ratio.high, 1.0))
    middle = HEIGHT / 2
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{times(row.ratio.value)} times faster">'
        f'<rect width="{value:.1f}" height="{HEIGHT - 4}" y="2" fill="#4c8bf5" opacity="0.7"/>'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="black"/>'
        f'<line x1="{one:.1f}" x2="{one:.1f}" y1="0" y2="{HEIGHT}" stroke="black" stroke-dasharray="2"/></svg>'
    )
