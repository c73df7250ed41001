"""The workbench of the checks: the benchmark's own, which counts the fits that ran and can stop after one."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from joulemark import testing
from joulemark.techniques.technique import technique
from joulemark.testing.watched import Stopped


@pytest.fixture
def net():
    return testing.baseline()


def equal(one, other) -> bool:
    return all(torch.equal(tensor, other.state[name]) for name, tensor in one.state.items())


def test_it_has_no_test_data(tmp_path):
    bench = testing.workbench(tmp_path)
    assert set(bench.splits) == {"train", "policy", "validation"}
    with pytest.raises(ValueError, match="no split 'test'"):
        next(bench.batches("test"))


def test_a_fit_is_counted_if_it_ran_and_not_if_it_was_restored(tmp_path, net):
    first = testing.workbench(tmp_path)
    assert first.fits_run == 0
    fitted = first.fit(first.fit(net, epochs=1), epochs=0.5)
    assert first.fits_run == 2
    again = testing.workbench(tmp_path)
    middle = again.fit(net, epochs=1)
    assert again.fits_run == 0
    assert equal(again.fit(middle, epochs=0.5), fitted)
    assert again.fits_run == 0
    assert again.ledger.steps_restored == 2
    again.fit(fitted, epochs=0.5)
    assert again.fits_run == 1


def test_it_stops_after_the_fit_asked_for_which_is_kept(tmp_path, net):
    bench = testing.workbench(tmp_path)
    bench.stop_after = 2
    fitted = bench.fit(net, epochs=0.5)
    with pytest.raises(Stopped):
        bench.fit(fitted, epochs=0.5)
    assert bench.fits_run == 2
    rest = testing.workbench(tmp_path)
    rest.fit(rest.fit(rest.fit(net, epochs=0.5), epochs=0.5), epochs=0.5)
    assert rest.fits_run == 1


def test_a_fit_that_was_restored_stops_nobody(tmp_path, net):
    testing.workbench(tmp_path).fit(net, epochs=0.5)
    bench = testing.workbench(tmp_path)
    bench.stop_after = 1
    fitted = bench.fit(net, epochs=0.5)
    with pytest.raises(Stopped):
        bench.fit(fitted, epochs=0.5)


def test_no_handler_of_a_technique_holds_the_stop_back(tmp_path, net):
    bench = testing.workbench(tmp_path)
    bench.stop_after = 1
    with pytest.raises(Stopped):
        try:
            bench.fit(net, epochs=0.5)
        except Exception:  # noqa: BLE001  (what a careless technique does)
            pytest.fail("a technique could swallow it")


def test_a_fit_that_is_refused_is_no_fit(tmp_path, net):
    bench = testing.workbench(tmp_path)
    with pytest.raises(RuntimeError, match="the budget is 2 epochs"):
        bench.fit(net, epochs=testing.EPOCHS + 1)
    assert bench.fits_run == 0


def plain(net, bench):
    """Nothing."""
    return net


def test_the_budget_is_that_of_the_technique(tmp_path):
    def budget(**declared) -> tuple[int, int]:
        given = {"paper": "nobody 1900", "family": "test", **declared}
        bench = testing.workbench(tmp_path, technique=technique("plain", **given)(plain))
        return bench.epochs, bench.search_epochs

    bench = testing.workbench(tmp_path)
    assert (bench.epochs, bench.search_epochs) == (testing.EPOCHS, 0)
    assert budget() == (testing.EPOCHS, 0)
    assert budget(search_epochs=3) == (testing.EPOCHS, 3)
    assert budget(family="control", search_epochs=3) == (testing.EPOCHS + 3, 0)  # it has nothing to search


def test_another_task_has_data_of_its_own_shape(tmp_path):
    task = testing.generated_task("lenet", input_shape=(3, 12, 12))
    bench = testing.workbench(tmp_path, task=task)
    images, labels = next(bench.batches("validation", batch_size=7))
    assert (tuple(images.shape), tuple(labels.shape)) == ((7, 3, 12, 12), (7,))
    assert bench.task is task


def test_two_folders_share_nothing(tmp_path, net):
    for name in ("a", "b"):
        bench = testing.workbench(tmp_path / name)
        bench.fit(net, epochs=0.5)
        assert bench.fits_run == 1


def test_it_is_a_bench_of_the_benchmark(tmp_path):
    from joulemark.benchmarking.workbench import Bench

    bench = testing.workbench(tmp_path)
    assert isinstance(bench, Bench)
    fields = {field.name for field in dataclasses.fields(bench)} - {field.name for field in dataclasses.fields(Bench)}
    assert fields == {"stop_after", "fits_run"}
