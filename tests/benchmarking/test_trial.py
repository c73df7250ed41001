"""A trial's record: the headline's denominator, the raw blocks, the control, the paced scenario."""

from __future__ import annotations

import msgspec
import pytest
from tiny import tiny_suite

from joulemark.benchmarking import measuring as measuring_module
from joulemark.benchmarking import trial as trial_module
from joulemark.benchmarking.chains import chains_of
from joulemark.benchmarking.run import run
from joulemark.judging.stability import recomputed, warnings
from joulemark.judging.statistics import paired_ratio
from joulemark.report.board import build_board
from joulemark.report.results import Results


@pytest.fixture
def trials(open_session, heard, monkeypatch):
    """Trials of the baseline and of one technique on two backends, the second of which screens as the fastest."""
    monkeypatch.setattr(measuring_module, "WARM_UP_SECONDS", 0.01)
    monkeypatch.setattr(
        trial_module, "screen", lambda nets, images, size: {name: 1.0 / (1 + len(name)) for name in nets}
    )
    suite = tiny_suite(techniques=("small-dense",), backends=("eager", "onnxruntime"), home_only=())
    measuring = msgspec.structs.replace(suite.measuring, blocks=8, paced=(200.0,), paced_seconds=0.01)
    session = open_session(msgspec.structs.replace(suite, measuring=measuring))
    assert run(session, chains_of(suite.techniques), heard).failed == ()
    return session, session.store.trials()


def test_the_control_is_a_second_compilation_and_never_the_same_object(open_session, heard, monkeypatch):
    pairs = []
    measure = trial_module.measure_pairs

    def watched(given, *rest, **more):
        pairs.append(list(given))
        return measure(given, *rest, **more)

    monkeypatch.setattr(trial_module, "measure_pairs", watched)
    suite = tiny_suite(techniques=("int8",), backends=("eager", "onnxruntime"), home_only=())
    assert run(open_session(suite), chains_of(suite.techniques), heard).failed == ()
    assert len(pairs) == 2  # of the baseline, which is the control, and of the technique
    for pair in (one for of_trial in pairs for one in of_trial):
        assert pair.candidate is not pair.baseline
        assert getattr(pair.candidate, "graph", 0) is not getattr(pair.baseline, "graph", 1)
        assert getattr(pair.candidate, "module", 0) is not getattr(pair.baseline, "module", 1)


def test_a_trial_holds_all_that_its_ratios_need(trials):
    session, made = trials
    for trial in made:
        assert trial.order_seed is not None
        assert sorted(trial.order) == ["eager batch 1"] * 8 + ["onnxruntime batch 1"] * 8
        assert {check.name for check in trial.provenance.checks} >= {"load", "processes", "governor"}
        assert trial.conditions.seconds > 0
        assert trial.warnings == tuple(warnings(trial))
        eager, onnx = trial.timings
        assert (eager.reference, onnx.reference) == ("onnxruntime", "onnxruntime")
        assert set(eager.screening) == {"eager", "onnxruntime"}
        assert len(eager.blocks) == len(eager.reference_blocks) == len(eager.turned) == 8
        assert onnx.reference_blocks == ()
        assert onnx.reference_ratio == onnx.ratio
        assert eager.reference_ratio != eager.ratio
        for timing in trial.timings:
            assert {name: getattr(timing, name) for name in recomputed(timing)} == recomputed(timing)
    assert len({trial.order_seed for trial in made}) == len(made)

    paced = made[0].paced[0]
    assert (paced.inputs_per_second, paced.backend, paced.reference) == (200.0, "eager", "onnxruntime")
    assert paced.candidate.inputs == paced.baseline.inputs == 6 * 2
    assert paced.busy == paired_ratio(paced.blocks)
    assert paced.conditions.seconds >= 12 * paced.window_seconds

    suite, store = session.suite, session.store
    results = Results(
        suite_name=suite.name, task_title="t", hardware_class=session.machine.hardware_class, limits_points=(40.0,),
        models=suite.models, backends=suite.backends, batch_sizes=suite.batch_sizes, command="test",
        attempts=store.attempts(), trials=made, truths=store.truths(),
    )  # fmt: skip
    view = build_board(results, results.boards[1], 40.0)
    tested = next(trial for trial in made if trial.technique == "small-dense")
    for row in view.ranked:
        assert view.reference == ("onnxruntime",)
        assert row.ratio.value == pytest.approx(tested.timings[0].reference_ratio.value)
        assert row.same_backend.value == pytest.approx(tested.timings[0].ratio.value)
        assert view.elsewhere(row)


def test_integers_are_said_where_they_are_real(open_session, heard):
    suite = tiny_suite(backends=("eager", "onnxruntime"), home_only=())
    session = open_session(suite)
    assert run(session, chains_of(["int8"]), heard).failed == ()
    made = {trial.technique: trial.timings for trial in session.store.trials()}
    assert {timing.backend: timing.precision for timing in made["int8"]} == {"onnxruntime": "int8"}
    assert {timing.precision for timing in made["baseline"]} == {"fp32"}
