"""Tables at the widths of real terminals: nothing that a person must read is cut or left out."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from synthetic import make_results
from test_free_board import trial
from test_verdicts import views_of

from joulemark.report.board_text import board_table, other_sizes
from joulemark.report.free_board import build_free, free_table
from joulemark.report.table import RowsOrBlocks
from joulemark.report.words import interval, points, times

WIDTHS = [40, 60, 80, 100, 120, 160]


def drawn(renderable, width):
    console = Console(width=width, file=io.StringIO())
    console.print(renderable)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    return text


def words(text):
    """The words in their order, without the rules of the table."""
    return " ".join(re.sub(r"[^\w\s.,:;()≤−–/+*%-]", " ", text).split())  # noqa: RUF001


@pytest.mark.parametrize("width", WIDTHS)
def test_a_board_tells_rank_name_ratio_loss_and_reason_at_every_width(width):
    view = views_of(make_results())[1]
    said = words(drawn(board_table(view), width))
    for row in view.rows:
        if row.status == "ranked":
            assert times(row.ratio.value) in said and interval(row.ratio) in said
            assert f"≤ {points(row.test.bound)}" in said
    reasons = " ".join(row.reason for row in view.ineligible).split()
    assert reasons
    assert {word.strip(",;:()") for word in reasons} <= {word.strip(",;:()") for word in said.split()}
    for row in (*view.rows, *view.ineligible):
        assert row.technique in said


def test_a_narrow_board_is_a_block_for_each_row():
    view = views_of(make_results())[1]
    text = drawn(board_table(view), 80)
    ranks = re.findall(r"^rank +(\S+) *\ntechnique +([a-z0-9-]+)", text, re.MULTILINE)
    assert ranks == [(row.rank_text, row.technique) for row in (*view.rows, *view.ineligible)]
    best = view.rows[0]
    assert re.search(rf"^x faster +{times(best.ratio.value)}, {interval(best.ratio)} *$", text, re.MULTILINE)
    assert "┃" not in text and "┃" in drawn(board_table(view), 160)


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_free_keeps_its_numbers_and_notes(width):
    view = build_free([
        trial("a", 1.0, control=True), trial("b", 3.0, batch_size=64, options=("channels_last", "bf16")),
        trial("d", reason="no compiler here"),
    ])  # fmt: skip
    said = words(drawn(free_table(view), width))
    assert "3.00" in said and "2.73 to 3.30" in said and "333 µs" in said
    assert {"throughput,", "latency:", "not", "measured:", "no", "compiler", "here"} <= set(said.split())


@pytest.mark.parametrize("width", WIDTHS)
def test_other_batch_sizes_keep_their_ratios(width):
    results = make_results()
    tables = other_sizes(results, 2.0)
    assert tables
    assert all("2.00 to 2.00" in words(drawn(table, width)) for table in tables)


def test_short_columns_get_all_they_want_before_long_ones_share():
    table = RowsOrBlocks("name", "size", "text")
    table.add_row("a b c d", "1.6 M", "one two three " * 40)
    assert "│ a b c d │ 1.6 M │ one two three" in drawn(table, 60)


def test_a_word_longer_than_a_line_is_broken_and_not_cut():
    table = RowsOrBlocks("name", "place")
    table.add_row("a", "x" * 300)
    for width in (20, 40, 80):
        assert drawn(table, width).count("x") == 300
