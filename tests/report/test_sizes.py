"""What is left of nets: counts by hand from trials with known proxies and notes."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console
from synthetic import SETTINGS, make_results

from joulemark.report.page import render_page
from joulemark.report.sizes import as_dicts, left, shares_told, sizes_rows, sizes_table
from joulemark.report.tested import settings_tested
from joulemark.rules import BASELINE

PRUNED = next(one for one in SETTINGS if one.technique == "unstructured-pruning")
PARAMETERS = {0: 100.0, 1: 400.0}  # by seed
SHARES = {0: 0.25, 1: 0.35}


def results(notes=None):
    """The made-up results with counts and notes of one technique."""

    def changed(trial):
        if trial.technique == BASELINE:
            return msgspec.structs.replace(trial, proxies={"nonzero_parameters": 1000.0, "macs": 5000.0})
        if trial.technique != PRUNED.technique:
            return msgspec.structs.replace(trial, proxies={}, notes={})
        proxies = {"nonzero_parameters": PARAMETERS[trial.seed], "macs": 6000.0}
        given = {"convolutions": {"a.<b>": {"macs_share": SHARES[trial.seed]}, "c": {"macs_share": 0.076}}}
        return msgspec.structs.replace(trial, proxies=proxies, notes=given if notes is None else notes[trial.seed])

    made = make_results()
    return msgspec.structs.replace(made, trials=[changed(trial) for trial in made.trials])


def row_of(known):
    return next(row for row in sizes_rows(known) if row.technique == PRUNED.technique)


def test_every_tested_setting_is_there_once():
    known = results()
    assert len(sizes_rows(known)) == len({(t.technique, str(t.knobs)) for t in known.trials if t.technique != BASELINE})
    assert all(baseline.seed == trial.seed for pairs in settings_tested(known) for baseline, trial in pairs)


def test_counts_are_means_and_ratios_geometric_means_over_seeds():
    row = row_of(results())
    assert row.parameters == 250.0
    assert row.parameters_ratio == pytest.approx(5.0)  # 10 and 2.5
    assert row.macs_ratio == pytest.approx(5 / 6)
    assert left(row.macs, row.macs_ratio) == ["6,000", "1.20x more"]
    assert shares_told(row) == "30, 7.6 %"


def test_what_is_not_known_is_none_and_notes_may_be_anything():
    others = [row for row in sizes_rows(results()) if row.technique != PRUNED.technique]
    assert {(row.parameters, row.parameters_ratio, row.macs, row.macs_ratio) for row in others} == {(None,) * 4}
    for odd in ("text", [1], {"a": 3}, {"a": {"macs_share": "much"}}, None):
        row = row_of(results({seed: {"convolutions": odd} for seed in (0, 1)}))
        assert row.convolutions == {}
        assert shares_told(row) == ""
    one = {0: {"convolutions": {"c": {"macs_share": 0.5}}}, 1: {}}  # a seed that lacks it: no mean
    assert row_of(results(one)).convolutions == {}


def test_terminal_page_and_json_say_the_same():
    known = results()
    screen = io.StringIO()
    Console(file=screen, width=160).print(sizes_table(known))
    page = render_page(known)
    for text in ("What is left", "6,000", "1.20x more", "30, 7.6 %"):
        assert text in screen.getvalue()
        assert text in page
    assert next(row for row in as_dicts(known) if row["technique"] == PRUNED.technique)["convolutions"] == {
        "a.<b>": pytest.approx(0.3), "c": pytest.approx(0.076),
    }  # fmt: skip
    assert sizes_table(msgspec.structs.replace(known, trials=[])) is None
