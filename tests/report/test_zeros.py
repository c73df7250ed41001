"""Unstructured zeros, three ways: which nets are shown, what pools, what is not measured."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import msgspec
import pytest
from rich.console import Console
from synthetic import SETTINGS, make_results, score, timing

from joulemark.judging.rules import BASELINE
from joulemark.report.board import build_board
from joulemark.report.figures import three_ways
from joulemark.report.page import render_page
from joulemark.report.zeros import as_dicts, explained, zeros_rows, zeros_table

PRUNED = next(one for one in SETTINGS if one.technique == "unstructured-pruning")
LEFT = {0: 100.0, 1: 300.0}  # of 1,000 parameters, by seed


def results(*, sparse=(0, 1), reference=None):
    """The made-up results with zeros counted, timed at 0.9 on the dense backend and 1.8 on the sparse one."""

    def changed(trial):
        left = LEFT[trial.seed] if trial.technique == PRUNED.technique else 990.0
        proxies = {**trial.proxies, "parameters": 1000.0, "nonzero_parameters": left}
        timings = list(trial.timings)
        scores = dict(trial.scores)
        if trial.technique == PRUNED.technique and trial.seed in sparse:
            kernel = replace(PRUNED, speed=1.8, execution="real")
            timings += [timing(kernel, trial.seed, "sparse", size) for size in (1, 64)]
            scores["sparse"] = score("test", 20, trial.seed)
        if trial.technique == BASELINE:
            scores["sparse"] = scores["eager"]
        if reference:
            timings = [
                msgspec.structs.replace(one, reference=reference, reference_ratio=twice(one.ratio)) for one in timings
            ]
        return msgspec.structs.replace(trial, proxies=proxies, timings=tuple(timings), scores=scores)

    made = make_results()
    return msgspec.structs.replace(
        made, backends=("onnxruntime", "eager", "sparse"), trials=[changed(trial) for trial in made.trials]
    )


def twice(ratio):
    return msgspec.structs.replace(ratio, value=2 * ratio.value, low=2 * ratio.low, high=2 * ratio.high)


def test_only_nets_whose_zeros_are_multiplied_are_shown():
    rows = zeros_rows(results())
    assert [(row.technique, row.batch_size) for row in rows] == [(PRUNED.technique, 1), (PRUNED.technique, 64)]
    assert zeros_rows(make_results()) == []  # records without counts of parameters
    assert zeros_table(make_results()) is None


def test_the_three_ways_by_hand():
    row = zeros_rows(results())[0]
    assert row.seeds == (0, 1)
    assert row.zeros == pytest.approx(0.8)  # 0.9 and 0.7
    assert row.dense.value == pytest.approx(0.9)
    assert row.sparse.value == pytest.approx(1.8)
    assert row.sparse_own.value == pytest.approx(1.8)  # nothing here says that another backend is faster
    assert row.models["row-stationary"].value == pytest.approx(8**0.5)  # 2 and 4
    assert row.test.points == pytest.approx(100 * 20 / 2000)  # on the sparse backend
    assert row.dense_backend == "onnxruntime"


def test_modelled_ratios_are_those_of_the_board():
    known = results()
    view = build_board(known, next(one for one in known.boards if one.name == "row-stationary"), 2.0)
    ranked = next(row for row in view.ranked if row.technique == PRUNED.technique)
    assert zeros_rows(known)[0].models["row-stationary"] == ranked.ratio


@pytest.mark.parametrize("sparse", [(), (1,)])
def test_an_incomplete_triple_is_not_measured(sparse):
    known = results(sparse=sparse)
    for row in json.loads(json.dumps(as_dicts(known))):
        assert row["sparse"] is None
        assert row["dense"]["value"] == pytest.approx(0.9)
    assert "not measured" in drawn(zeros_table(known))
    assert "not measured" in render_page(known)


def test_both_kernels_divide_by_the_same_baseline():
    row = zeros_rows(results(reference="eager"))[0]
    assert row.reference == ("eager",)
    assert (row.dense.value, row.sparse.value) == (pytest.approx(1.8), pytest.approx(3.6))
    assert row.dense_own.value == pytest.approx(0.9)
    text = drawn(zeros_table(results(reference="eager")))
    assert "(own backend 0.90)" in text
    assert "the fp32 baseline on eager PyTorch" in " ".join(text.split())
    assert "own backend" not in drawn(zeros_table(results()))


def test_table_figure_and_page_say_the_same():
    known = results()
    text = drawn(zeros_table(known))
    assert "1.80" in text
    assert "80.0 %" in text
    figure = three_ways(zeros_rows(known))
    points = {trace.name: list(trace.x) for trace in figure.data}
    assert points["sparse kernel, measured"] == [pytest.approx(1.8)] * 2
    assert points["dense kernel, measured"] == [pytest.approx(0.9)] * 2
    assert len(set(figure.data[0].y)) == 2
    page = render_page(known)
    assert "Unstructured zeros, three ways" in page
    assert explained(zeros_rows(known)) in page
    assert re.search(r"<td class=.n.>1\.80.<small>1\.80 to 1\.80</small>", page)
    assert "Unstructured zeros" not in render_page(make_results())


def drawn(table):
    screen = Console(width=160, record=True, file=io.StringIO())
    screen.print(table)
    return screen.export_text()
