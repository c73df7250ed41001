"""What the steps of a run share: nets stored once, nets compiled once, and where a net is measured."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_suite

from joulemark.benchmarking import session as session_module
from joulemark.benchmarking.chains import chains_of
from joulemark.benchmarking.ledger import Ledger
from joulemark.benchmarking.run import run
from joulemark.benchmarking.session import StoredNet
from joulemark.benchmarking.workbench import Bench
from joulemark.machine.atomic_files import StoreError
from joulemark.nets.net import Net
from joulemark.techniques.pruning.magnitude import prune


def lenet(seed: int = 0) -> Net:
    return Net.new("lenet", (1, 28, 28), seed=seed, width=0.1)


def test_a_net_is_stored_once_under_its_hash(open_session):
    session, net = open_session(), lenet()
    key = session.save_net(net)
    (path,) = (Path(session.store.folder) / "nets").iterdir()
    written = path.stat().st_mtime_ns
    assert session.save_net(lenet()) == key == net.hash == path.stem
    assert path.stat().st_mtime_ns == written
    assert open_session().net(key).hash == key


@pytest.mark.parametrize("data", [b"", b"broken", lenet(1).to_bytes()])
def test_a_stored_net_that_is_damaged_or_another_is_none_and_is_stored_again(open_session, data):
    session, net = open_session(), lenet()
    session.save_net(net)
    session.store.write(f"nets/{net.hash}.safetensors", data)
    assert session.net(net.hash) is None
    session.save_net(net)
    assert session.net(net.hash).net.hash == net.hash
    assert session.net("0123456789abcdef") is None
    assert session.net(None) is None


def test_a_net_is_compiled_once_and_the_one_not_used_longest_is_dropped(open_session, monkeypatch):
    monkeypatch.setattr(session_module, "COMPILED_KEPT", 2)
    session = open_session()
    (eager,) = session.backends
    stored = [StoredNet(net, net.hash) for net in (lenet(0), lenet(1), lenet(2))]
    compiled = [session.compiled(one, eager) for one in stored[:2]]
    assert session.compiled(stored[0], eager) is compiled[0]
    session.compiled(stored[2], eager)  # 1 was used longest ago
    assert session.compiled(stored[0], eager) is compiled[0]
    assert session.compiled(stored[1], eager) is not compiled[1]


def test_a_net_is_at_home_on_the_first_backend_with_kernels_for_it(open_session):
    session = open_session(tiny_suite(backends=("onnxruntime", "sparse"), batch_sizes=(1, 64), home_only=(64,)))
    net, zeros = lenet(), prune(lenet(), 0.5)
    assert [session.home(one).name for one in (net, zeros)] == ["onnxruntime", "sparse"]
    dense = {(one.name, size) for one, size in session.scenarios(net)}
    assert dense == {("onnxruntime", 1), ("onnxruntime", 64), ("sparse", 1)}
    masked = {(one.name, size) for one, size in session.scenarios(zeros)}
    assert masked == {("onnxruntime", 1), ("onnxruntime", 64), ("sparse", 1), ("sparse", 64)}


def test_a_backend_that_cannot_run_here_is_named_with_its_reason(open_session, monkeypatch):
    monkeypatch.setattr("joulemark.backends.eager.compiler", lambda: None)
    with pytest.raises(ValueError, match=r"^backend eager:compile cannot run here: .*install g\+\+ or clang\+\+"):
        open_session(tiny_suite(backends=("eager:compile",))).backends  # noqa: B018


def test_splits_are_read_once(open_session, monkeypatch):
    session, calls = open_session(), []
    real = session_module.load
    monkeypatch.setattr(session_module, "load", lambda task: calls.append(task) or real(task))
    assert session.splits is session.splits
    assert calls == [session.suite.task]
    assert np.bincount(session.splits["test"].labels).tolist() == [20] * 10


def test_a_record_says_where_and_how_it_was_made(open_session):
    made = open_session().provenance()
    assert made.command == "test"
    assert made.machine == open_session().machine
    assert {"torch", "numpy", "joulemark"} <= made.versions.keys()


def test_a_run_in_results_that_another_is_writing_is_refused(open_session, heard):
    first, second = open_session(), open_session()
    with first.store.held(), pytest.raises(StoreError, match=f"is being written by process {os.getpid()} on "):
        run(second, chains_of(["int8"]), heard)
    assert heard.events == []


def test_a_run_takes_the_hash_of_a_stored_net_from_its_record(open_session, heard, monkeypatch):
    session = open_session()
    monkeypatch.setattr(Net, "hash", property(lambda net: pytest.fail("it was computed again")))
    assert run(session, chains_of(["int8"]), heard).failed == ()
    assert {one.net for one in session.store.attempts()} == {Path(name).stem for name in session.store.names("nets")}


def test_what_is_compiled_into_another_net_is_refused_wherever_it_would_be_timed_or_judged(open_session, monkeypatch):
    session, net = open_session(), lenet()
    (eager,) = session.backends
    right = eager.compile
    other = net.replace(state={name: tensor * 0.9 for name, tensor in net.state.items()})
    monkeypatch.setattr(eager, "compile", lambda asked, threads: right(other, threads=threads))
    bench = Bench(
        task=session.suite.task, seed=0, limit_points=1.0, epochs=1, splits=session.splits, backend=eager, threads=1,
        training_threads=1, model=session.models[0], ledger=Ledger(session.store, "steps"),
    )  # fmt: skip
    for compiled in (
        lambda: session.compiled(StoredNet(net, net.hash), eager),
        lambda: session.compiled_anew(net, eager),
        lambda: bench.logits(net),
        lambda: bench.exit_logits(net),
    ):
        with pytest.raises(ValueError, match="PyTorch eager computes another net than the one that was made"):
            compiled()
