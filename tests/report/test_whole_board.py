"""All that a terminal shows of a suite: every board at every limit, the tables beside them, then sentences."""

from __future__ import annotations

import msgspec
from rich.text import Text
from synthetic import make_results

from joulemark.report.verdicts import headline
from joulemark.report.whole_board import views_of, whole_board, whole_board_dicts
from joulemark.task import Own


def test_there_is_a_view_of_each_board_at_each_limit():
    results = make_results()
    pairs = [(view.limit_points, view.board.cost) for view in views_of(results)]
    assert pairs == [(limit, board.cost) for limit in results.limits_points for board in results.boards]


def test_it_ends_with_the_headline():
    results = make_results()
    told = [part.plain for part in whole_board(results) if isinstance(part, Text)]
    last = list(headline(results, views_of(results)))
    assert told[-len(last) :] == last


def test_what_is_said_of_a_users_task_stands_with_the_boards_of_seconds():
    results = msgspec.structs.replace(make_results(), own=Own(net="0" * 16, warnings=("one",)))
    for board in whole_board_dicts(results):
        assert ("own_task" in board) == (board["board"]["cost"] == "seconds")
    assert "Your own task. One." in [part.plain for part in whole_board(results) if isinstance(part, Text)]
    assert all("own_task" not in board for board in whole_board_dicts(make_results()))
