"""Everything that a terminal shows of a suite's results: boards, what is free, tables beside them, and sentences."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from joulemark.report.board import build_board
from joulemark.report.board_text import as_dict, board_table, other_sizes, paced_table
from joulemark.report.facts import unsteady
from joulemark.report.free_board import build_free, free_table
from joulemark.report.generations import earlier_code
from joulemark.report.own_task import own_sentences
from joulemark.report.results import Results
from joulemark.report.rows import BoardView
from joulemark.report.sizes import as_dicts as sizes_dicts
from joulemark.report.sizes import sizes_table
from joulemark.report.verdicts import headline
from joulemark.report.zeros import as_dicts as zeros_dicts
from joulemark.report.zeros import zeros_table


def views_of(results: Results) -> list[BoardView]:
    """The boards at every limit."""
    return [build_board(results, one, limit) for limit in results.limits_points for one in results.boards]


def headline_view(results: Results) -> BoardView:
    """The board of seconds at the largest limit."""
    seconds = next(one for one in results.boards if one.cost == "seconds")
    return build_board(results, seconds, max(results.limits_points))


def whole_board(results: Results) -> list[Any]:
    """What a terminal prints, part by part."""
    views = views_of(results)
    free = build_free(results.free, max(results.limits_points))
    tables = [
        None if free is None else free_table(free),
        *map(board_table, views),
        *other_sizes(results, max(results.limits_points)),
        sizes_table(results),
        zeros_table(results),
        paced_table(results),
    ]
    told = [
        *(f"Your own task. {sentence}" for sentence in own_sentences(results)),
        *(f"Unsteady. {sentence}" for sentence in unsteady(results)),
        *(f"Earlier code. {sentence}" for sentence in earlier_code(results.generations)),
        *headline(results, views),
    ]
    parts = [part for table in tables if table is not None for part in (table, Text())]  # an empty line behind each
    return [*parts, *map(Text, told)]


def whole_board_dicts(results: Results) -> list[dict[str, Any]]:
    """The same as plain values for a script, one for each board and limit."""
    more: dict[str, Any] = {
        "sizes": sizes_dicts(results),
        "zeros": zeros_dicts(results),
    }  # of all limits: with the boards of seconds
    if results.own is not None:
        more["own_task"] = own_sentences(results)
    return [as_dict(view) | (more if view.board.cost == "seconds" else {}) for view in views_of(results)]
