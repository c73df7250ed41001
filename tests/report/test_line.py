"""One line of the table: figures of a setting by hand."""

from __future__ import annotations

import msgspec
import pytest
from synthetic import FAST, make_results

from joulemark.report.line import NO_PROXY, Proxy


def changed(results, change):
    """The results with each timing of the fast technique changed: its trial and itself go in."""
    trials = [
        msgspec.structs.replace(t, timings=tuple(change(t, one) for one in t.timings))
        if t.technique == FAST.technique
        else t
        for t in results.trials
    ]
    return msgspec.structs.replace(results, trials=trials)


def line_of(results):
    return next(line for line in results.table.settings if line.technique == FAST.technique)


def test_ratios_losses_and_layers_by_hand():
    line = line_of(make_results())
    at = line.at[64]
    assert (at.home, at.execution, at.references) == ("onnxruntime", "real", ())
    assert at.ratios["seconds"].value == pytest.approx(2.0)
    assert at.ratios["row-stationary"].value == pytest.approx(2.0)
    assert "joules" not in at.ratios
    assert {name: loss.points for name, loss in line.losses.items()} == {
        "onnxruntime": pytest.approx(0.5),
        "eager": pytest.approx(0.5),
    }
    before, after = line.layers["row-stationary"]
    assert sum(before["conv2"].values()) == pytest.approx(5e-6)
    assert sum(after["conv2"].values()) == pytest.approx(2.5e-6)


def test_one_simulated_seed_makes_the_setting_simulated():
    def simulate(trial, timing):
        if trial.seed == 0:
            return timing
        return msgspec.structs.replace(timing, execution="simulated", reason="no kernel")

    at = line_of(changed(make_results(), simulate)).at[1]
    assert (at.execution, at.reason) == ("simulated", "no kernel")
    assert at.on["eager"].executions == ("real", "simulated")
    assert not at.on["eager"].real


def test_a_seed_without_a_ratio_leaves_a_gap_and_no_ratio_over_every_seed():
    def lose(trial, timing):
        return msgspec.structs.replace(timing, ratio=None) if trial.seed == 1 else timing

    at = line_of(changed(make_results(), lose)).at[1]
    assert [ratio is None for ratio in at.by_seed["seconds"]] == [False, True]
    assert at.ratios["seconds"].value == pytest.approx(2.0)
    assert "seconds" not in at.on["onnxruntime"].headline
    assert at.on["onnxruntime"].own["seconds"].value == pytest.approx(2.0)


def test_a_proxy_is_pooled_by_mean_and_geometric_mean_and_only_if_every_seed_has_it():
    proxy = Proxy(before=(1000.0, 1000.0), after=(100.0, 400.0))
    assert (proxy.mean, proxy.ratio) == (250.0, pytest.approx(5.0))
    half = Proxy(before=(1000.0, 1000.0), after=(100.0, None))
    assert (half.mean, half.ratio) == (None, None)
    assert (NO_PROXY.mean, NO_PROXY.ratio) == (None, None)
