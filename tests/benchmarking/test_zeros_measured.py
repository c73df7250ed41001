"""A net with unstructured zeros: on its sparse home, and beside it on the dense backend that only multiplies them."""

from __future__ import annotations

from tiny import tiny_suite

from joulemark.benchmarking import measuring as measuring_module
from joulemark.benchmarking.chains import chains_of
from joulemark.benchmarking.free import settings
from joulemark.benchmarking.run import run
from joulemark.check.results import check_results
from joulemark.nets.header import Format
from joulemark.nets.net import Net
from joulemark.report.board import build_board
from joulemark.report.load import load_results
from joulemark.report.zeros import zeros_rows
from joulemark.techniques.pruning.magnitude import prune

NET = Net.new("lenet", (1, 28, 28), seed=0, width=0.3)
FORM = Format(weight_bits=8, activation_bits=8, low=-4.0, high=4.0)


def names(session, net):
    return [f"{one.name} {size}" for one, size in session.scenarios(net)]


def test_where_nets_are_measured(open_session):
    session = open_session(
        tiny_suite(backends=("onnxruntime", "eager", "sparse"), batch_sizes=(1, 64), home_only=(64,))
    )
    masked, quantised = prune(NET, 0.9), NET.replace(formats={"stage1.conv": FORM})
    assert session.home(masked).name == "sparse"
    assert names(session, masked) == ["onnxruntime 1", "onnxruntime 64", "sparse 1", "sparse 64"]
    assert names(session, NET) == ["onnxruntime 1", "onnxruntime 64", "eager 1", "sparse 1"]
    assert names(session, quantised) == ["onnxruntime 1", "onnxruntime 64"]


def test_suites_without_sparse_are_as_before(open_session):
    session = open_session(tiny_suite(backends=("onnxruntime", "eager"), batch_sizes=(1, 64), home_only=(64,)))
    assert session.home(prune(NET, 0.9)).name == "onnxruntime"
    assert names(session, prune(NET, 0.9)) == ["onnxruntime 1", "onnxruntime 64"]
    assert names(session, NET) == ["onnxruntime 1", "onnxruntime 64", "eager 1"]


def test_a_net_simulated_for_its_integers_too_is_not_run_beside(open_session):
    """On eager both zeros and integers are simulated: its time there would say nothing of zeros."""
    session = open_session(tiny_suite(backends=("eager", "onnxruntime", "sparse"), batch_sizes=(1,)))
    both = prune(NET, 0.9).replace(formats={"stage1.conv": FORM})
    assert names(session, both) == ["eager 1"]
    assert names(session, NET.replace(formats={"stage1.conv": FORM})) == ["onnxruntime 1"]


def test_sparse_is_no_free_setting_of_a_baseline_without_masks(open_session):
    assert {one.backend for one in settings(open_session(tiny_suite()))} >= {"eager", "onnxruntime"}
    assert "sparse" not in {one.backend for one in settings(open_session(tiny_suite()))}


def test_from_suite_to_boards_and_check(open_session, heard, monkeypatch, tmp_path):
    monkeypatch.setattr(measuring_module, "WARM_UP_SECONDS", 0.01)
    suite = tiny_suite(techniques=("magnitude",), backends=("eager", "sparse"), home_only=(), limits_points=(90.0,))
    session = open_session(suite)
    assert run(session, chains_of(suite.techniques), heard).failed == ()
    trials = [trial for trial in session.store.trials() if trial.technique == "magnitude"]
    for trial in trials:
        executed = {timing.backend: (timing.execution, timing.reason) for timing in trial.timings}
        assert executed["sparse"] == ("real", None)
        assert executed["eager"][0] == "simulated"
        assert set(trial.scores) == {"eager", "sparse"}
        # Of a net without masks the two are the same: only one of them is a baseline to divide by.
        assert all((set(one.screening), one.reference) == ({"eager"}, "eager") for one in trial.timings)
    assert trials
    results = load_results(suite, tmp_path / "results", session.machine.hardware_class)
    view = build_board(results, next(one for one in results.boards if one.cost == "seconds"), 90.0)
    row = next(row for row in view.ranked if row.technique == "magnitude")
    assert (row.execution, row.backend) == ("real", "sparse")
    shown = next(one for one in zeros_rows(results) if set(one.trials) == set(row.trials))
    assert shown.sparse == row.ratio
    assert shown.dense is not None
    assert shown.models == {name: row.ratios[name] for name in suite.models}
    assert check_results(tmp_path / "results").broken == ()
