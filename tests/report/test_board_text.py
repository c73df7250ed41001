"""The boards in a terminal: the rows of the page, every figure in its column, names that are no markup."""

from __future__ import annotations

import io
import json
import re

import msgspec
import pytest
from made_up import paced
from made_up import quantity as measured
from rich.console import Console
from synthetic import FAST, IMAGES, SETTINGS, Setting, make_results, with_joules, with_metric
from test_board import row_of, view_of, with_reference
from test_verdicts import views_of

from joulemark.report.board_text import as_dict, board_table, cells, gain_word, loss_told, other_sizes, paced_table


def drawn(renderable, width=250):
    console = Console(width=width, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


def test_terminal_shows_the_same_rows():
    view = view_of(make_results(), "seconds")
    text = drawn(board_table(view), 160)
    for row in (*view.rows, *view.ineligible):
        assert row.technique in text
    assert "simulated: no kernel" in text
    assert "A/A control, the baseline against itself at batch 1: ONNX Runtime 1.000 (1.000 to 1.000)" in text


def test_seconds_are_a_proxy_and_make_nothing_cheaper():
    results = with_joules(make_results())
    heads = {view.board.name: [column.header for column in board_table(view).columns] for view in views_of(results)}
    assert "x faster" in heads["seconds"] and "x cheaper" not in heads["seconds"]
    assert "x cheaper" in heads["joules"] and "x cheaper" in heads["row-stationary"]
    assert [column.header for column in other_sizes(results, 2.0)[-1].columns][1] == "x faster"


def test_plain_dicts_are_json():
    plain = json.loads(json.dumps(as_dict(view_of(make_results(), "seconds"))))
    assert plain["rows"][0]["ratio"]["value"] == pytest.approx(2.0)
    assert plain["rows"][0]["verdict"] == "2.00x faster"
    assert plain["ineligible"][0]["reason"]
    assert plain["rows"][0]["export"] == f"joulemark export {plain['rows'][0]['trials'][0][:12]} -o model.onnx"
    assert {row["export"] for row in plain["ineligible"] if not row["trials"]} == {None}


def test_a_row_without_knobs_has_no_empty_line():
    results = make_results()
    view = view_of(results, "seconds")
    names = {row.technique: cells(view, row)[1] for row in (*view.rows, *view.ineligible)}
    assert names["baseline"] == "baseline"
    assert names["conditional-deep-learning"] == "conditional-deep-learning\nstrength 0.5"
    assert names["squeezenet"] == "squeezenet\nwidth 0.5"


def test_each_figure_stands_in_its_column():
    view = view_of(make_results(), "seconds")
    rank, technique, ratio, cost, loss, executed, making, remarks = cells(view, row_of(view, FAST.technique))
    assert (rank, technique) == ("1", f"{FAST.technique}\nstrength 0.5")
    assert ratio == "2.00\n2.00 to 2.00"
    assert cost == "200 µs"
    assert re.fullmatch(r"0\.50\n≤ 0\.\d\d", loss)
    assert executed == "real on ONNX Runtime"
    assert making == "6 min\n6,000 passes"  # six attempts of 60 s and 1,000 passes
    assert remarks == "2.00x faster"


def test_the_baseline_loses_nothing_and_its_ratio_needs_no_interval():
    view = view_of(make_results(), "seconds")
    baseline = cells(view, row_of(view, "baseline"))
    assert baseline[2:5] == ("1.00", "400 µs", "")


def test_what_is_not_known_is_empty_and_never_zero():
    view = view_of(make_results(), "seconds")
    failed = cells(view, row_of(view, "squeezenet"))
    assert failed[2:7] == ("",) * 5
    assert failed[7] == "failed: the loss became NaN in epoch 3"


def test_the_ratio_on_the_own_backend_stands_below_one_that_divides_by_another():
    view = view_of(with_reference(make_results()), "seconds")
    ratio = cells(view, row_of(view, FAST.technique))[2]
    assert ratio.startswith("1.00\n1.00 to 1.00\n(own backend 2.00)")
    assert "own backend" not in cells(view, row_of(view, "baseline"))[2]


def test_reason_verdict_and_flags_are_the_remarks_in_that_order():
    view = view_of(make_results(), "seconds")
    row = msgspec.structs.replace(row_of(view, FAST.technique), reason="why", flags=("one", "two"))
    assert cells(view, row)[7] == "why; 2.00x faster; one; two"


def test_brackets_in_names_and_remarks_are_no_markup():
    evil = Setting("[bold]mine[/bold]", 0.5, 2.0, (2.0, 2.0), 2.0, 3, tested=True)
    results = make_results((*SETTINGS, evil))
    view = view_of(results, "seconds")
    said = drawn(board_table(view))
    assert "[bold]mine[/bold]" in said
    row = msgspec.structs.replace(view.rows[0], flags=("[red]flag",))
    assert "[red]flag" in drawn(board_table(msgspec.structs.replace(view, rows=(row, *view.rows[1:]))))


def test_the_winner_is_bold_and_what_is_not_ranked_is_dim():
    second = Setting("second", 0.5, 1.5, (2.0, 2.0), 2.0, 3, tested=True)
    view = view_of(make_results((*SETTINGS, second)), "seconds")
    assert [row.technique for row in view.rows] == [FAST.technique, "second", "baseline"]
    styles = [row.style for row in board_table(view).rows]
    assert styles == ["bold", None, None, *["dim"] * len(view.ineligible)]


def test_an_empty_board_is_its_title_and_why():
    said = drawn(board_table(view_of(make_results(), "joules")))
    title, why = said.strip().splitlines()
    assert title == "measured joules per input · at most 2 points lost"
    assert why.startswith("Empty: joules were not measured here (no energy counter on this machine).")


def test_a_caption_says_what_x_is_or_why_nothing_is_ranked():
    results = make_results()
    assert "x: seconds of the fp32 baseline over seconds of the row" in drawn(board_table(view_of(results, "seconds")))
    modelled = board_table(view_of(results, "row-stationary"))
    what, _, export = modelled.caption.splitlines()
    assert what == "x: modelled joules of the fp32 baseline / of the row"
    assert export.startswith("To export a row: joulemark export KEY -o model.onnx; KEY:")
    none = board_table(view_of(msgspec.structs.replace(results, trials=results.trials[:2]), "seconds"))
    assert none.caption.startswith("No technique is ranked at a limit of 2 points")


def test_a_caption_says_what_losses_are_of_and_what_the_baseline_has():
    results = make_results()
    wrong = 100 * (1 - 40 / IMAGES)
    assert loss_told(view_of(results, "seconds")) == (
        "test loss: points of accuracy lost on test rows (negative: a gain), and below it the one-sided 95 % bound; "
        f"the baseline has {wrong:.2f} % accuracy"
    )
    assert loss_told(view_of(results, "seconds")) in board_table(view_of(results, "seconds")).caption
    by_other = view_of(with_metric(results, "agreement"), "seconds")
    assert loss_told(by_other).startswith("test loss: points of disagreement with the original net on test rows")
    assert "baseline" not in loss_told(by_other)
    untested = msgspec.structs.replace(results, trials=results.trials[:2])
    assert loss_told(view_of(untested, "seconds")) == ""


@pytest.mark.parametrize(("board", "word"), [("seconds", "x faster"), ("joules", "x cheaper")])
def test_the_head_of_the_ratios_is_a_word_that_the_board_has_earned(board, word):
    assert gain_word(view_of(with_joules(make_results()), board)) == word


def test_other_batch_sizes_show_the_same_nets_with_ratio_and_cost():
    results = make_results()
    (table,) = other_sizes(results, 2.0)
    assert table.title == "measured seconds per input at batch 64, the same nets"
    columns = [list(column.cells) for column in table.columns]
    assert columns[0] == [f"{FAST.technique}\nstrength 0.5", "baseline"]
    assert columns[1] == ["2.00\n2.00 to 2.00", "1.00"]
    assert columns[2] == ["133 µs", "267 µs"]  # at batch 64 the baseline takes two thirds
    assert columns[3] == ["real on ONNX Runtime", "real"]
    assert other_sizes(msgspec.structs.replace(results, batch_sizes=(1,)), 2.0) == []


def with_paced(one, technique=FAST.technique):
    results = make_results()
    trials = [msgspec.structs.replace(t, paced=(one,) if t.technique == technique else ()) for t in results.trials]
    return msgspec.structs.replace(results, trials=trials)


def test_the_paced_scenario_is_a_table_of_its_own_or_none():
    assert paced_table(make_results()) is None
    (line,) = zip(*(column.cells for column in paced_table(with_paced(paced())).columns), strict=True)
    assert line == (
        "2",
        f"{FAST.technique}\nstrength 0.5",
        "2.00 ms, 3.00 ms",
        "2 of 120",
        "10.0 s (25.0 s)",
        "10.0 s",
        "unknown",
    )


def test_paced_joules_are_shown_where_a_counter_read_them():
    one = paced()
    known = msgspec.structs.replace(
        one, candidate=msgspec.structs.replace(one.candidate, joules_per_hour=measured(612.5, "J/h"))
    )
    table = paced_table(with_paced(known))
    assert list(table.columns[-1].cells) == ["612 J"]
    assert "idle included" in table.title


def test_a_simulated_paced_row_says_so_below_its_name():
    one = msgspec.structs.replace(paced(), execution="simulated")
    (name,) = paced_table(with_paced(one, "unstructured-pruning")).columns[1].cells
    assert name == "unstructured-pruning\nstrength 0.6\nsimulated"


def test_json_has_the_same_rows_with_their_verdicts():
    view = view_of(make_results(), "row-stationary")
    plain = as_dict(view)
    assert [row["technique"] for row in plain["rows"]] == [row.technique for row in view.rows]
    verdicts = {row["technique"]: row["verdict"] for row in (*plain["rows"], *plain["ineligible"])}
    assert verdicts[FAST.technique] == "2.00x fewer modelled joules"
    assert verdicts["baseline"] is None and verdicts["squeezenet"] is None
    json.dumps(plain, allow_nan=False)
