"""The road: suite, attempts, choice, trials, boards; and techniques that misbehave."""

import errno
import json
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tiny import technique_file, tiny_splits, tiny_suite

from joulemark.benchmarking.chains import chains_of
from joulemark.benchmarking.errors import AttemptError
from joulemark.benchmarking.run import run
from joulemark.benchmarking.session import Session
from joulemark.judging.losses import right_rows
from joulemark.report.board import build_board
from joulemark.report.results import Results
from joulemark.store import StoreError
from joulemark.techniques.technique import TechniqueError, load_technique


def run_one(open_session, heard, path: Path, suite=None):
    session = open_session(suite)
    outcome = run(session, chains_of([path.stem], [path]), heard)
    return session, outcome


def results_of(session) -> Results:
    suite, store = session.suite, session.store
    return Results(
        suite_name=suite.name,
        task_title=suite.task.title,
        hardware_class=session.machine.hardware_class,
        limits_points=suite.limits_points,
        models=suite.models,
        backends=suite.backends,
        batch_sizes=suite.batch_sizes,
        command="test",
        attempts=store.attempts(),
        trials=store.trials(),
        truths=store.truths(),
        failures=store.failures(),
        damaged=[(one.path, one.reason) for one in store.damaged],
    )


def test_a_run_ends_with_boards_and_a_second_run_does_nothing(open_session, heard):
    suite = tiny_suite(techniques=("small-dense", "conditional-deep-learning"))
    session = open_session(suite)
    outcome = run(session, chains_of(suite.techniques), heard)
    assert outcome.failed == ()
    assert outcome.made == len(heard.titles("finished")) == len(session.store.attempts()) + len(session.store.trials())
    views = [build_board(results_of(session), board, 40.0) for board in results_of(session).boards]
    assert "joules were not measured" in views[0].note or views[0].ranked  # this machine may have a counter
    assert {row.technique for row in views[2].ranked} >= {"small-dense"}

    again = run(open_session(suite), chains_of(suite.techniques), heard)
    assert (again.made, again.failed) == (0, ())
    assert again.kept == outcome.made


def test_records_hold_what_was_really_computed(open_session, heard):
    session = open_session(tiny_suite(techniques=("small-dense",)))
    run(session, chains_of(["small-dense"]), heard)
    for trial in session.store.trials():
        module = session.net(trial.net).net.module()
        test = session.splits["test"]
        import torch

        with torch.no_grad():
            right = (module(torch.from_numpy(test.images)).argmax(1).numpy()) == test.labels
        score = trial.scores["eager"]
        assert np.array_equal(right_rows(score, session.store.truths()), right)
        assert score.value == right.mean()
        assert len(trial.timings) == 1
        assert len(trial.timings[0].blocks) == session.suite.measuring.blocks
    attempt = next(a for a in session.store.attempts() if a.technique == "small-dense")
    assert attempt.making.image_passes == 2 * 300  # two epochs over 300 images, nothing else


MISBEHAVING = {
    "three": ("return 3", "three returned int, not a Net"),
    "luckless": ("raise RuntimeError('no luck\\nat all')", "luckless raised RuntimeError: no luck at all"),
    "nowhere": (
        "return net.replace(builder='nothing')",
        "nowhere returned a net that does not run: unknown builder 'nothing'",
    ),
    "nan": (
        "return net.replace(state={n: t * float('nan') for n, t in net.state.items()})",
        "nan returned a net whose outputs are not finite",
    ),
    "greedy": ("bench.fit(net, epochs=bench.epochs + 1)", "the budget is 2 epochs"),
    "leaver": ("raise SystemExit(0)", "leaver raised SystemExit"),
    "basic": ("raise BaseException('so')", "basic raised BaseException: so"),
    "rude": ("raise ValueError('a\\ud800\\x1b[31mb')", "rude raised ValueError: a [31mb"),
    "noted": ("bench.note('x', object())", "noted raised TypeError"),
    "curious": ("next(bench.batches('test'))", "there is no split 'test'"),
    "unsaved": (
        "return net.replace(options={'width': object()})",
        "unsaved returned a net that cannot be saved",
    ),
}
"""What a technique does, and what is said of it."""


def test_techniques_that_misbehave_get_one_sentence_each_and_stop_nobody(open_session, heard, tmp_path):
    files = [technique_file(tmp_path, name, f"    {body}") for name, (body, _) in MISBEHAVING.items()]
    names = (*MISBEHAVING, "small-dense")
    session = open_session(tiny_suite(techniques=names))
    outcome = run(session, chains_of(names, files), heard)
    assert len(outcome.failed) == len(MISBEHAVING)
    for (_, words), said in zip(MISBEHAVING.values(), outcome.failed, strict=True):
        assert words in said
        assert "\n" not in said
    assert {a.technique for a in session.store.attempts()} == {"baseline", "small-dense"}
    board = build_board(results_of(session), results_of(session).boards[1], 40.0)
    assert {row.technique for row in board.ineligible} == set(MISBEHAVING)


def test_a_mended_technique_is_tried_again_and_its_failure_forgotten(open_session, heard, tmp_path):
    path = technique_file(tmp_path, "mended", "    raise ValueError('not yet')")
    session, _ = run_one(open_session, heard, path)
    assert len(session.store.failures()) == 1

    technique_file(tmp_path, "mended", "    return net")
    session, outcome = run_one(open_session, heard, path)
    assert outcome.failed == ()
    assert session.store.failures() == []


def test_a_study_holds_the_last_settings_and_all_techniques_run_under_them(open_session, heard):
    first = open_session(tiny_suite())
    run(first, chains_of(["small-dense"]), heard)
    run(open_session(tiny_suite()), chains_of(["int8"]), heard)
    study = first.store.study("tiny")
    assert set(study.attempts) == {"small-dense", "int8"}
    tried = {trial.technique for key in study.trials if (trial := first.store.trial(key))}
    assert tried == {"baseline", "small-dense", "int8"}  # how many settings win a board is up to the timings
    other = tiny_suite(threads=2)
    run(open_session(other), chains_of(["int8"]), heard)
    changed = first.store.study("tiny")
    assert set(changed.attempts) == {"int8"}  # another thread count: nothing of before stands beside it
    assert not set(changed.trials) & set(study.trials)


def test_the_budget_holds_after_a_restart(open_session, heard, tmp_path):
    body = (
        "    net = bench.remember('half', lambda: bench.fit(net, epochs=1), shared=True)\n"
        "    return bench.fit(net, epochs=bench.epochs)"
    )
    path = technique_file(tmp_path, "greedy", body)
    for _ in range(2):
        _, outcome = run_one(open_session, heard, path)
        assert "the budget is 2 epochs" in outcome.failed[0]


def test_a_damaged_net_is_made_again(open_session, heard):
    suite = tiny_suite()
    session = open_session(suite)
    run(session, [], heard)
    (net,) = (Path(session.store.folder) / "nets").iterdir()
    net.write_bytes(b"broken")
    for attempt in (Path(session.store.folder) / "attempts").iterdir():
        attempt.unlink()
    assert run(open_session(suite), [], heard).failed == ()
    assert session.net(net.stem) is not None


def test_a_damaged_record_is_set_aside_and_made_again(open_session, heard):
    suite = tiny_suite(techniques=("small-dense",))
    session = open_session(suite)
    run(session, chains_of(suite.techniques), heard)
    folder = Path(session.store.folder) / "trials"
    victim = sorted(folder.iterdir())[0]
    victim.write_text(victim.read_text()[:-200])
    session = open_session(suite)
    outcome = run(session, chains_of(suite.techniques), heard)
    assert outcome.made == 1
    assert [Path(one.path).name for one in session.store.damaged] == [victim.name]
    assert json.loads(victim.read_text())["key"] == victim.stem


def test_what_two_runs_left_of_one_making_is_mended_without_training_anew(open_session, heard):
    suite = tiny_suite(techniques=("small-dense",))
    session = open_session(suite)
    run(session, chains_of(suite.techniques), heard)
    made = session.store.all_made()
    longer = {one.key: msgspec.structs.replace(one.making, seconds=one.making.seconds + 1.0) for one in made}
    for one in made:
        session.store.put(msgspec.structs.replace(one, making=longer[one.key]))
    outcome = run(open_session(suite), chains_of(suite.techniques), heard)
    assert outcome.failed == ()
    assert {one.key: one.making for one in session.store.all_made()} == longer
    assert all(one.making == longer[one.made] for one in session.store.attempts())
    assert run(open_session(suite), chains_of(suite.techniques), heard).made == 0


def test_a_trial_of_another_net_is_measured_again(open_session, heard):
    suite = tiny_suite(techniques=("small-dense",))
    session = open_session(suite)
    run(session, chains_of(suite.techniques), heard)
    trial = next(one for one in session.store.trials() if one.technique == "small-dense")
    session.store.put(msgspec.structs.replace(trial, net="0" * 16))
    outcome = run(open_session(suite), chains_of(suite.techniques), heard)
    assert (outcome.made, outcome.failed) == (1, ())
    assert next(one for one in session.store.trials() if one.key == trial.key).net == trial.net


def test_a_lost_baseline_net_is_said_in_one_sentence(open_session, heard):
    suite = tiny_suite(techniques=())
    session = open_session(suite)
    run(session, [], heard)
    for net in (Path(session.store.folder) / "nets").iterdir():
        net.unlink()
    with pytest.raises(AttemptError, match=r"missing or damaged: remove attempts/[\w-]+\.json"):
        run(open_session(suite), [], heard)


def test_a_full_disk_ends_the_run_and_loses_nothing(open_session, heard, monkeypatch):
    suite = tiny_suite(techniques=("small-dense",))
    session = open_session(suite)
    real, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device") as caught:
        run(session, chains_of(suite.techniques), heard)
    assert "Everything finished before is kept" in str(caught.value)
    done = heard.titles("finished")
    assert done
    assert not list(Path(session.store.folder).rglob(".writing-*"))
    monkeypatch.setattr(os, "fsync", real)
    outcome = run(open_session(suite), chains_of(suite.techniques), heard)
    assert outcome.kept == len(done)
    assert outcome.failed == ()


def test_techniques_compose_and_impossible_orders_are_refused(open_session, heard):
    suite = tiny_suite(techniques=("conditional-deep-learning+int8",))
    session = open_session(suite)
    outcome = run(session, chains_of(suite.techniques), heard)
    assert outcome.failed == ()
    both = next(a for a in session.store.attempts() if "+" in a.technique)
    first, second = both.knobs
    assert "threshold" in first
    assert second == load_technique("int8").knobs
    net = session.net(both.net).net
    assert net.route is not None
    assert net.formats
    with pytest.raises(TechniqueError, match="optimal-brain-damage cannot come here"):
        chains_of(["int8+optimal-brain-damage"])


def test_a_full_disk_is_nobodys_technique(open_session, heard, monkeypatch):
    """Only what a technique itself stores fails: the run ends, and no failure of the technique is kept."""
    session = open_session(tiny_suite(techniques=("small-dense",)))
    run(session, [], heard)
    real = type(session.store).write

    def full(self, name: str, data: bytes) -> None:
        if name.endswith(".step"):
            raise StoreError("No space left on device")
        real(self, name, data)

    monkeypatch.setattr(type(session.store), "write", full)
    with pytest.raises(StoreError):
        run(session, chains_of(["small-dense"]), heard)
    assert session.store.failures() == []


def test_a_technique_may_stand_in_a_composition_twice(open_session, heard):
    """The second run of it begins with the net of the first, not with what the first remembered."""
    name = "energy-aware-pruning:structure=channels,energy_share=0.8+energy-aware-pruning:energy_share=0.5"
    session = open_session(tiny_suite(techniques=(name,)))
    assert run(session, chains_of([name]), heard).failed == ()
    (attempt,) = [one for one in session.store.attempts() if one.technique != "baseline"]
    channels, zeros = attempt.notes["rounds"], attempt.notes["energy-aware-pruning:energy_share=0.5.rounds"]
    assert channels[-1]["energy_share"] == pytest.approx(0.8, abs=0.1)
    assert zeros[-1]["energy_share"] == pytest.approx(0.5, abs=0.1)  # of what channels left
    assert zeros[-1]["weights_kept_by_layer"] != channels[-1]["weights_kept_by_layer"]
    (dense,) = [one for one in session.store.attempts() if one.technique == "baseline"]
    small = session.net(attempt.net).net
    assert small.masks
    assert small.parameters() < session.net(dense.net).net.parameters()


def test_techniques_that_train_share_the_budget_of_a_composition(open_session, heard):
    name = "magnitude+conditional-deep-learning+int8"
    session = open_session(tiny_suite())
    assert run(session, chains_of([name.replace("+int8", "")]), heard).failed == ()
    both = next(a for a in session.store.attempts() if "+" in a.technique)
    assert both.making.image_passes >= 2 * 300  # an epoch each


def test_masks_of_parts_are_obeyed_in_training(open_session, heard, tmp_path):
    body = """
    from joulemark.nets.segments import Exit, Route
    from joulemark.techniques.pruning.magnitude import prune
    parts = {"first": prune(net, 0.9), "second": net}
    exits = (Exit(after="first", router="exactly-one", threshold=0.5),)
    route = Route(kind="cascade", order=("first", "second"), exits=exits)
    cascade = joulemark.Net(builder="", input_shape=net.input_shape, parts=parts, route=route)
    trained = bench.fit(cascade, epochs=1)
    bench.note("left", sum(int(trained.parts["first"].state[n][~m].count_nonzero()) for n, m in
               parts["first"].masks.items()))
    return trained"""
    session, outcome = run_one(open_session, heard, technique_file(tmp_path, "cascade", body))
    assert outcome.failed == ()
    assert next(a for a in session.store.attempts() if a.technique == "cascade").notes["left"] == 0


def test_the_first_technique_with_a_knob_is_searched(open_session, heard):
    session = open_session(tiny_suite())
    assert run(session, chains_of(["small-dense:width=0.5+conditional-deep-learning"]), heard).failed == ()
    found = {a.knobs[1]["threshold"] for a in session.store.attempts() if "+" in a.technique}
    assert len(found) == 2


def test_every_run_that_measures_has_an_a_a_control_of_its_own(open_session, heard, monkeypatch):
    def control(session):
        return next(trial for trial in session.store.trials() if trial.technique == "baseline")

    session = open_session(tiny_suite())
    run(session, chains_of(["small-dense"]), heard)
    first = control(session)
    run(open_session(tiny_suite()), chains_of(["int8"]), heard)  # the machine has not been started anew
    assert control(session) == first
    monkeypatch.setattr("joulemark.benchmarking.run.boot", lambda: "another")
    monkeypatch.setattr("joulemark.benchmarking.session.boot", lambda: "another")
    assert run(open_session(tiny_suite()), chains_of(["int8"]), heard).made == 0  # nothing to measure
    run(open_session(tiny_suite()), chains_of(["optimal-brain-damage"]), heard)
    again = control(session)
    assert again.key == first.key
    assert (first.provenance.boot, again.provenance.boot) == (first.provenance.boot, "another")
    assert first.provenance.boot != "another"


def test_all_ratios_of_a_study_divide_by_the_same_backend(open_session, heard, monkeypatch):
    """Screened again, the other backend would seem the fastest."""
    answers = iter([{"eager": 1.0, "onnxruntime": 2.0}, {"eager": 2.0, "onnxruntime": 1.0}])
    monkeypatch.setattr("joulemark.benchmarking.trial.screen", lambda *_: next(answers))
    suite = tiny_suite(backends=("eager", "onnxruntime"))
    for name in ("small-dense", "int8"):
        assert run(open_session(suite), chains_of([name]), heard).failed == ()
    session = open_session(suite)
    assert {timing.reference for trial in session.store.trials() for timing in trial.timings} == {"eager"}
    assert session.store.study("tiny").screening == {"1": {"eager": 1.0, "onnxruntime": 2.0}}


def test_a_fixed_knob_is_not_searched(open_session, heard):
    session = open_session(tiny_suite())
    outcome = run(session, chains_of(["optimal-brain-damage:sparsity=0.5,rounds=1"]), heard)
    assert outcome.failed == ()
    assert heard.titles("finished")[1].startswith("optimal-brain-damage:rounds=1,sparsity=0.5")  # a row of its own
    made = [a for a in session.store.attempts() if a.technique != "baseline"]
    assert [(a.knobs[0]["sparsity"], a.knobs[0]["rounds"]) for a in made] == [(0.5, 1)]
    weights = 431_080  # of the full net; half of this narrow one's are zero
    assert made[0].proxies["nonzero_parameters"] < made[0].proxies["parameters"] < weights


def test_a_technique_that_fails_now_keeps_the_rows_that_it_had(open_session, heard, tmp_path):
    path = technique_file(tmp_path, "mine", "    return net")
    session, _ = run_one(open_session, heard, path)
    before = session.store.study("tiny")
    technique_file(tmp_path, "mine", "    raise RuntimeError('out of luck')")
    session, outcome = run_one(open_session, heard, path)
    assert len(outcome.failed) == 1
    after = session.store.study("tiny")
    assert (after.attempts, after.trials) == (before.attempts, before.trials)
    assert after.trials


def test_fresh_trains_the_baseline_and_passes_over_the_published_one(open_session, heard, monkeypatch):
    session = open_session()
    run(session, [], heard)
    (made,) = session.store.all_made()
    given = msgspec.structs.replace(made, key=f"{made.key[:-1]}x")
    session.store.remove(f"made/{made.key}.json")
    monkeypatch.setattr("joulemark.benchmarking.run.published", lambda task, seed: (given, session.net(made.net).net))
    run(open_session(), [], heard)
    assert [one.key for one in session.store.all_made()] == [given.key]  # taken as it is

    def fresh() -> Session:
        opened = open_session()
        opened.fresh = True
        return opened

    run(fresh(), [], heard)
    assert {one.key for one in session.store.all_made()} == {made.key, given.key}
    trained = session.store.made(made.key).provenance.started
    run(fresh(), [], heard)
    assert session.store.made(made.key).provenance.started == trained  # once


def test_other_data_of_a_task_that_pins_none_are_another_baseline(open_session, heard, monkeypatch):
    open_task = msgspec.structs.replace(tiny_suite().task, data_sha256="unknown")
    suite = tiny_suite(task=open_task)
    run(open_session(suite), [], heard)
    run(open_session(suite), [], heard)
    session = open_session(suite)
    assert len(session.store.all_made()) == 1
    other = tiny_splits()
    other["train"].labels[0] = 1 - other["train"].labels[0]
    monkeypatch.setattr("joulemark.benchmarking.session.load", lambda task: other)
    run(open_session(suite), [], heard)
    assert len(session.store.all_made()) == 2
