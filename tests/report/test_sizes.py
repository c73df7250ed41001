"""What is left of nets: counts by hand from trials with known proxies and layers."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console
from synthetic import SETTINGS, make_results

from joulemark.judging.rules import BASELINE
from joulemark.record import LayerEnergy
from joulemark.report.page import render_page
from joulemark.report.sizes import as_dicts, left, shares_told, sizes_rows, sizes_table

PRUNED = next(one for one in SETTINGS if one.technique == "unstructured-pruning")
PARAMETERS = {0: 100.0, 1: 400.0}  # by seed
SHARES = {0: 0.25, 1: 0.35}


def report(layers):
    """A model's report of layers: path -> (operator, MACs)."""
    found = tuple(LayerEnergy(layer=p, operator=o, joules={}, macs=m) for p, (o, m) in layers.items())
    return msgspec.structs.replace(make_results().trials[0].models[0], layers=found)


def results():
    """The made-up results with counts and layers of one technique: one convolution is rewritten, one gone."""

    def changed(trial):
        if trial.technique == BASELINE:
            layers = {"a": ("conv", 1000.0), "b": ("conv", 500.0), "c": ("conv", 400.0), "d": ("linear", 9.0)}
            proxies = {"nonzero_parameters": 1000.0, "macs": 5000.0}
            return msgspec.structs.replace(trial, proxies=proxies, models=(report(layers),))
        if trial.technique != PRUNED.technique:
            return msgspec.structs.replace(trial, proxies={}, models=())
        proxies = {"nonzero_parameters": PARAMETERS[trial.seed], "macs": 6000.0}
        layers = {"a": ("lowered", 1000.0 * SHARES[trial.seed]), "b.<x>": ("conv", 30.0), "b.y": ("conv", 8.0)}
        return msgspec.structs.replace(trial, proxies=proxies, models=(report(layers),))

    made = make_results()
    return msgspec.structs.replace(made, trials=[changed(trial) for trial in made.trials])


def row_of(known):
    return next(row for row in sizes_rows(known) if row.technique == PRUNED.technique)


def test_every_tested_setting_is_there_once():
    known = results()
    assert len(sizes_rows(known)) == len({(t.technique, str(t.knobs)) for t in known.trials if t.technique != BASELINE})
    assert all(row.seeds == (0, 1) for row in sizes_rows(known))


def test_counts_are_means_and_ratios_geometric_means_over_seeds():
    row = row_of(results())
    assert row.parameters == 250.0
    assert row.parameters_ratio == pytest.approx(5.0)  # 10 and 2.5
    assert row.macs_ratio == pytest.approx(5 / 6)
    assert left(row.macs, row.macs_ratio) == ["6,000", "1.20x more"]
    assert row.convolutions == {"a": pytest.approx(0.3), "b": pytest.approx(0.076), "c": 0.0}
    assert shares_told(row) == "30, 7.6, 0 %"
    assert shares_told(msgspec.structs.replace(row, convolutions=dict.fromkeys("ab", 1.0))) == "all"
    assert (
        shares_told(msgspec.structs.replace(row, convolutions={str(n): n / 10 for n in range(1, 10)})) == "10 to 90 %"
    )


def test_what_is_not_known_is_none():
    others = [row for row in sizes_rows(results()) if row.technique != PRUNED.technique]
    assert {(row.parameters, row.parameters_ratio, row.macs, row.macs_ratio) for row in others} == {(None,) * 4}
    assert {shares_told(row) for row in others} == {""}


def test_terminal_page_and_json_say_the_same():
    known = results()
    screen = io.StringIO()
    Console(file=screen, width=160).print(sizes_table(known))
    page = render_page(known)
    for text in ("What is left", "6,000", "1.20x more", "30, 7.6, 0 %"):
        assert text in screen.getvalue()
        assert text in page
    assert next(row for row in as_dicts(known) if row["technique"] == PRUNED.technique)["macs"] == 6000.0
    assert sizes_table(msgspec.structs.replace(known, trials=[])) is None
