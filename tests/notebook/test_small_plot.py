"""The few lines of HTML that a notebook shows of a study."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
from synthetic import FAST, make_results

from joulemark.notebook.small_plot import WIDTH, small_board
from joulemark.report.board import build_board
from joulemark.task import Own


class Tags(HTMLParser):
    """Opened tags that are not closed yet, and all that were seen."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_every_tag_is_closed_and_no_script_is_there():
    tags = Tags()
    tags.feed(small_board(make_results()))
    assert not tags.open
    assert "script" not in tags.seen and {"table", "svg", "rect"} <= {*tags.seen}


def test_bars_are_as_long_as_the_ratios():
    results = make_results()
    view = build_board(
        results, next(one for one in results.boards if one.cost == "seconds"), max(results.limits_points)
    )
    longest = max(row.ratio.high for row in view.rows if row.ratio is not None)
    bars = dict(re.findall(r'aria-label="([\d.]+) times faster"><rect width="([\d.]+)"', small_board(results)))
    row = next(row for row in view.rows if row.technique == FAST.technique)
    assert abs(float(bars[f"{row.ratio.value:.2f}"]) - WIDTH * row.ratio.value / max(1.0, longest)) < 0.1


def test_text_of_a_record_is_escaped():
    results = msgspec.structs.replace(
        make_results(), task_title="<b onclick=x>", own=Own(net="0" * 16, warnings=("<i>",))
    )
    page = small_board(results)
    assert "&lt;b onclick=x&gt;" in page and "&lt;i&gt;" in page and "<i>" not in page
