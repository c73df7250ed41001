"""The table: figures by hand, computed once, and read by everything that is drawn."""

from __future__ import annotations

import ast
from importlib import resources

import msgspec
import pytest
from synthetic import BASELINE_SECONDS, FAST, SETTINGS, make_results, with_control, with_joules

from joulemark.judging.rules import BASELINE
from joulemark.record import Ratio
from joulemark.report import results as results_module
from joulemark.report.board import build_board
from joulemark.report.page import render_page
from joulemark.report.sizes import sizes_rows
from joulemark.report.zeros import zeros_rows

COMPUTING = {"costs.py", "by_layer.py", "line.py", "tabulate.py"}
"""The only files that make figures of trials and attempts."""


def test_one_line_a_tested_setting_and_one_for_the_baseline():
    results = make_results()
    table = results.table
    assert [line.technique for line in table.settings] == [s.technique for s in SETTINGS if s.tested][1:]
    assert table.baseline.technique == BASELINE
    for line in (*table.settings, table.baseline):
        assert table.of_trials[line.trials] is line
        assert line.seeds == (0, 1)
    tried = {candidate.attempts: candidate for pool in results.pool.values() for candidate in pool}
    untested = [tried[keys].knobs for keys in tried if keys not in table.of_attempts]
    assert untested == [({"strength": 0.9},), ({"strength": 0.1},), ({"strength": 1.0},)]


def test_the_baselines_costs_and_speeds_by_hand():
    table = make_results().table
    assert table.costs["seconds"][1] == pytest.approx(BASELINE_SECONDS)
    assert table.costs["seconds"][64] == pytest.approx(BASELINE_SECONDS / 1.5)
    assert table.costs["joules"] == {1: None, 64: None}
    assert table.speeds[1] == {"onnxruntime": pytest.approx(BASELINE_SECONDS), "eager": pytest.approx(BASELINE_SECONDS)}
    assert table.baseline.at[1].by_seed["seconds"] == (Ratio(value=1.0, low=1.0, high=1.0, count=1),) * 2


def test_every_screened_attempt_stands_beside_the_baseline_of_its_seed():
    table = make_results().table
    assert len(table.screened) == 2 * (len(SETTINGS) - 1)
    fast = next(one for one in table.screened if one.knobs == ({"strength": FAST.knob},))
    assert fast.points == pytest.approx(-0.5)
    assert fast.costs["seconds"] == (BASELINE_SECONDS, BASELINE_SECONDS / FAST.speed)
    assert "joules" not in fast.costs
    assert "joules" in with_joules(make_results()).table.screened[0].costs


def test_the_control_of_a_backend_without_windows_is_that_of_the_backend_that_speaks():
    results = with_control(make_results(), "onnxruntime", 1, Ratio(value=1.02, low=1.01, high=1.03, count=12))
    seconds = next(board for board in results.boards if board.cost == "seconds")
    own, elsewhere, unseen = (results.table.control(seconds, name, 1) for name in ("onnxruntime", "eager", "openvino"))
    assert own == unseen
    assert own.value == pytest.approx(1.02)
    assert elsewhere.value == pytest.approx(1.0)


def test_a_model_that_knows_no_joules_says_why():
    results = make_results()
    none = msgspec.structs.replace(results.trials[0].models[0].joules, value=None, reason="it gives seconds only")
    trials = [
        msgspec.structs.replace(t, models=(msgspec.structs.replace(t.models[0], joules=none),)) for t in results.trials
    ]
    attempts = [msgspec.structs.replace(a, models={"row-stationary": none}) for a in results.attempts]
    told = msgspec.structs.replace(results, trials=trials, attempts=attempts).table.unknown
    assert told["row-stationary"] == "Empty: row-stationary knows no joules (it gives seconds only)."
    assert "seconds" not in told


def test_records_of_two_versions_of_a_task_make_no_table():
    results = make_results()
    attempts = [msgspec.structs.replace(results.attempts[0], task_key="toy-2"), *results.attempts[1:]]
    with pytest.raises(ValueError, match="versions of a task: keys toy-1, toy-2"):
        _ = msgspec.structs.replace(results, attempts=attempts).table


def test_it_is_computed_once_for_all_boards_tables_and_the_page(monkeypatch):
    computed = []
    tabulate = results_module.tabulate

    def counting(*records, **frame):
        computed.append(frame)
        return tabulate(*records, **frame)

    monkeypatch.setattr(results_module, "tabulate", counting)
    results = make_results(limits=(0.5, 2.0))
    for board in results.boards:
        build_board(results, board, 2.0)
    render_page(results), sizes_rows(results), zeros_rows(results)
    assert len(computed) == 1


def test_nothing_that_is_drawn_goes_back_to_the_arithmetic_on_records():
    folder = resources.files("joulemark.report")
    for file in (entry for entry in folder.iterdir() if entry.name.endswith(".py") and entry.name not in COMPUTING):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in (
                "joulemark.report.costs",
                "joulemark.report.by_layer",
            ):
                functions = [name.name for name in node.names if name.name[0].islower()]
                assert functions == [], f"{file.name} computes {functions} instead of reading the table"
