"""The free board of a tiny suite: every setting once, kept when it is there, on the page above the techniques."""

from __future__ import annotations

import msgspec
import pytest
from tiny import tiny_suite

from joulemark.backends.eager import EagerNet
from joulemark.benchmarking import free as free_module
from joulemark.benchmarking.chains import chains_of
from joulemark.benchmarking.free import Setting, settings, thread_counts
from joulemark.benchmarking.run import run, run_free
from joulemark.benchmarking.session import Session
from joulemark.judging.losses import right_rows
from joulemark.judging.statistics import loss_bound, paired_ratio
from joulemark.record import FreeTrial
from joulemark.report.free_board import build_free, free_table


@pytest.fixture
def few(monkeypatch):
    """Three settings: the baseline, one that changes predictions, one that cannot run."""
    chosen = [Setting("eager", (), 1, 1), Setting("eager", ("bf16",), 1, 8), Setting("eager", ("compile",), 1, 1)]
    monkeypatch.setattr(free_module, "settings", lambda session: chosen)
    monkeypatch.setattr("joulemark.backends.eager.compiler", lambda: None)
    return chosen


def stored(session: Session) -> list[FreeTrial]:
    study = session.store.study(session.suite.name)
    return [session.store.free_trial(key) for key in study.free]


def test_what_is_free_is_measured_once(open_session, heard, few):
    session = open_session(tiny_suite())
    first = run_free(session, heard)
    records = {(record.options, record.batch_size): record for record in stored(session)}
    assert len(records) == len(few)
    control, bf16, compiled = (records[(one.options, one.batch_size)] for one in few)
    assert control.control
    assert (control.agreement.same_class, control.agreement.largest_difference) == (1.0, 0.0)
    assert bf16.precision == "bf16"
    assert 0 < bf16.agreement.largest_relative < 0.1
    assert bf16.ratio == paired_ratio(bf16.blocks)
    assert bf16.cpu_ratio == paired_ratio(bf16.cpu_blocks)
    bits = [right_rows(score, session.store.truths())[None] for score in (bf16.baseline_score, bf16.score)]
    assert (bf16.loss_points, bf16.loss_bound) == loss_bound(*bits)  # that of the rules
    assert control.control_ratio == bf16.control_ratio == control.ratio  # of the same blocks
    assert "no C++ compiler" in compiled.reason
    assert compiled.ratio is None
    assert first.made == 1 + 3

    kept = run_free(open_session(tiny_suite()), heard)
    assert (kept.made, kept.kept) == (1, 3)  # what could not run is tried again
    view = build_free(list(records.values()))
    assert view.rows[-1].note.startswith("not measured: torch.compile")
    assert any("throughput, not latency" in row.note for row in view.rows)
    assert free_table(view).row_count == 3


def test_a_setting_that_computes_another_net_is_not_measured_and_says_so(open_session, heard, monkeypatch):
    monkeypatch.setattr(free_module, "settings", lambda session: [Setting("eager", ("channels_last",), 1, 8)])
    right = EagerNet.run
    monkeypatch.setattr(
        EagerNet, "run", lambda net, images: right(net, images) * (1.001 if net.layout is not None else 1)
    )
    session = open_session(tiny_suite())
    run_free(session, heard)
    (record,) = stored(session)
    assert record.reason.startswith("it computes another net: its outputs are ")
    assert (record.ratio, record.score, record.seconds.value) == (None, None, None)


def test_a_group_without_the_baselines_own_setting_has_a_control_all_the_same(open_session, heard, monkeypatch):
    monkeypatch.setattr(free_module, "settings", lambda session: [Setting("eager", ("channels_last",), 1, 1)])
    session = open_session(tiny_suite())
    run_free(session, heard)
    (record,) = stored(session)
    assert record.control_ratio is not None
    assert record.control_ratio != record.ratio
    assert len(set(record.order)) == 2


def test_every_runtime_thread_count_and_batch_is_tried(open_session):
    session = open_session(tiny_suite())
    session.machine = msgspec.structs.replace(session.machine, cores=2)
    found = settings(session)
    assert found[0] == Setting("eager", (), 1, 1)
    assert {Setting(name, (), threads, size) for name in ("eager", "onnxruntime") for threads in (1, 2)
            for size in (1, 8, 64)} <= set(found)  # fmt: skip
    assert Setting("eager", ("channels_last",), 1, 1) in found
    assert Setting("onnxruntime", ("spin",), 2, 1) in found
    assert len(found) == len(set(found))


@pytest.mark.parametrize(("cores", "counts"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (8, (1, 2, 4, 8))])
def test_thread_counts(cores, counts):
    assert thread_counts(cores) == counts


def test_the_free_board_alone_keeps_a_study_of_several_seeds(open_session, heard, few):
    suite = tiny_suite(seeds=(0, 1), techniques=("int8",))
    run(open_session(suite), chains_of(suite.techniques), heard)
    before = open_session(suite).store.study("tiny")
    outcome = run_free(open_session(suite), heard)
    after = open_session(suite).store.study("tiny")
    assert len(after.free) == len(few) == outcome.made
    assert msgspec.structs.replace(after, free=()) == before
    assert len(before.baselines) == 2
    assert before.trials
