"""The workbench: budgets in image passes, what may be trained on, kills, exits, and what a search may spend."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from joulemark import testing
from joulemark.benchmarking.workbench import Bench, BudgetError
from joulemark.data.splits import Split
from joulemark.nets.folding import fold
from joulemark.nets.layers.integer import TrainedIntegerLayer
from joulemark.nets.net import Net
from joulemark.nets.segments import Exit, Route
from joulemark.techniques.precision.int8 import int8
from joulemark.testing.watched import Stopped, workbench
from joulemark.training import cross_entropy


@pytest.fixture
def bench(tmp_path) -> Bench:
    return workbench(tmp_path)


def narrow(images: int, bench: Bench) -> None:
    """Leave so many images in the train split."""
    train = bench.splits["train"]
    bench.splits = {**bench.splits, "train": Split(train.images[:images], train.labels[:images])}


@pytest.mark.parametrize("images", [300, 299, 200, 100])
@pytest.mark.parametrize(("nets", "epochs"), [(3, 1), (3, 2), (7, 2)])
def test_a_budget_is_divided_over_several_nets_and_never_passed(bench, images, nets, epochs):
    narrow(images, bench)
    bench.epochs = epochs
    seen = []
    watch = lambda module, x, y: seen.append(len(x)) or cross_entropy(module, x, y)  # noqa: E731
    for _ in range(nets):
        bench.fit(testing.baseline(), epochs=bench.epochs / nets, loss=watch)
    spent = bench.ledger.cost.fitted_passes
    assert spent == sum(seen) == bench.ledger.cost.image_passes
    assert epochs * images - 2 * nets <= spent <= epochs * images
    with pytest.raises(BudgetError):
        bench.fit(testing.baseline(), epochs=bench.epochs / nets)


def test_who_asks_for_too_much_is_told_what_is_left(bench):
    bench.fit(testing.baseline(), epochs=1.5)
    with pytest.raises(BudgetError) as caught:
        bench.fit(testing.baseline(), epochs=1)
    assert str(caught.value) == (
        "the budget is 2 epochs of training an attempt, 600 image passes, of which 150 are left: 300 are too many"
    )
    bench.fit(testing.baseline(), epochs=0.5)  # what is left may still be spent


def test_the_policy_split_can_be_trained_on_and_costs_its_images(bench):
    labels = []
    watch = lambda module, x, y: labels.extend(y.tolist()) or cross_entropy(module, x, y)  # noqa: E731
    trained = bench.fit(testing.baseline(), split="policy", epochs=2, loss=watch)
    assert sorted(labels) == sorted(bench.splits["policy"].labels.tolist() * 2)
    assert bench.ledger.cost.fitted_passes == 200
    assert trained.hash != bench.fit(testing.baseline(), epochs=2 / 3).hash  # as many images of the train split


@pytest.mark.parametrize(
    ("split", "why"), [("validation", "it chooses between attempts"), ("test", "a workbench has no other to train on")]
)
def test_other_splits_are_refused_in_one_sentence(bench, split, why):
    with pytest.raises(ValueError, match=f"^a fit trains on 'train' or 'policy', not on '{split}': {why}$"):
        bench.fit(testing.baseline(), split=split, epochs=1)
    assert bench.ledger.cost.image_passes == 0


@pytest.mark.parametrize(("recipe", "asked", "used"), [("fp32", None, False), ("bf16", None, True),
                                                       ("fp32", "bf16", True), ("bf16", "fp32", False)])  # fmt: skip
def test_the_precision_is_the_recipe_s_unless_another_is_asked_for(bench, recipe, asked, used):
    from msgspec.structs import replace

    bench.task = replace(bench.task, recipe=replace(bench.task.recipe, precision=recipe))
    seen = set()

    def loss(module, x, y):
        seen.add(torch.is_autocast_enabled("cpu"))
        return cross_entropy(module, x, y)

    bench.fit(testing.baseline(), epochs=0.2, precision=asked, loss=loss)
    assert seen == {used}


def test_a_fit_trains_through_the_formats_of_a_net(bench):
    """Through straight-through gradients of rounded weights: another net than training in float makes."""
    coarse = {
        path: msgspec.structs.replace(form, weight_bits=3, activation_bits=4)
        for path, form in int8(testing.baseline(), bench).formats.items()
    }
    net = fold(testing.baseline()).replace(formats=coarse)
    module = net.module(training=True)
    assert isinstance(module.stage1.conv, TrainedIntegerLayer)
    assert type(testing.baseline().module(training=True).stage1.conv) is nn.Conv2d
    through = bench.fit(net, epochs=0.5)
    without = bench.fit(net.replace(formats={}), epochs=0.5)
    assert through.formats == net.formats
    assert not torch.equal(through.state["stage1.conv.weight"], without.state["stage1.conv.weight"])
    assert not torch.equal(through.state["stage1.conv.weight"], net.state["stage1.conv.weight"])


class Tally:
    """A loss with a state: labels are smoothed by how many batches were seen."""

    def __init__(self) -> None:
        self.batches = 0

    def __call__(self, module, images, labels):
        self.batches += 1
        smoothing = min(0.5, 0.01 * self.batches)
        return nn.functional.cross_entropy(module(images), labels, label_smoothing=smoothing)

    def state_dict(self):
        return {"batches": self.batches}

    def load_state_dict(self, state):
        self.batches = state["batches"]


def three_fits(bench: Bench) -> Net:
    """One loss through three fits: what the first two made of it, the third goes on with."""
    loss, net = Tally(), testing.baseline()
    for share in (0.5, 1.0, 0.3):
        net = bench.fit(net, epochs=share, loss=loss)
    bench.note("batches", loss.batches)
    return net


@pytest.mark.parametrize("kill", [1, 2, 3])
def test_stopped_after_any_fit_it_ends_alike_and_costs_as_much(tmp_path, kill):
    whole = workbench(tmp_path / "whole")
    expected = three_fits(whole)
    stopped = workbench(tmp_path / "stopped")
    stopped.stop_after = kill
    with pytest.raises(Stopped):
        three_fits(stopped)
    again = workbench(tmp_path / "stopped")
    assert three_fits(again).hash == expected.hash
    assert again.fits_run == 3 - kill
    assert again.notes == whole.notes == {"batches": 5 + 10 + 3}
    assert again.ledger.cost.image_passes == whole.ledger.cost.image_passes == 540
    assert again.ledger.cost.fitted_passes == 540


def test_killed_within_a_fit_it_goes_on_from_the_last_epoch(tmp_path, monkeypatch):
    from joulemark.training import fit

    monkeypatch.setitem(fit.__kwdefaults__, "checkpoint_seconds", 0.0)
    whole, killed, again = workbench(tmp_path / "whole"), workbench(tmp_path / "killed"), workbench(tmp_path / "killed")
    expected = whole.fit(testing.baseline(), epochs=1.7, loss=Tally())
    calls = []

    def stop(step):
        calls.append(step.step)
        if step.step == 12:
            raise Stopped

    with pytest.raises(Stopped):
        killed.fit(testing.baseline(), epochs=1.7, loss=Tally(), after_step=stop)
    calls.clear()
    assert again.fit(testing.baseline(), epochs=1.7, loss=Tally(), after_step=lambda s: calls.append(s.step)).hash == (
        expected.hash
    )
    assert calls == list(range(10, 17))  # the first epoch, ten steps, is not repeated
    assert again.ledger.cost.image_passes == whole.ledger.cost.image_passes == 510


def test_a_search_is_booked_apart(tmp_path):
    bench = workbench(tmp_path)
    bench.search_epochs = 2
    with bench.search():
        bench.fit(testing.baseline(), epochs=1)
        assert sum(len(y) for _, y in bench.batches("policy")) == 100
        bench.logits(testing.baseline())
    assert bench.searched == 500
    list(bench.batches("policy"))  # outside it is no search
    bench.fit(testing.baseline(), epochs=2)  # the training's own budget is whole
    assert (bench.searched, bench.ledger.cost.fitted_passes, bench.ledger.cost.image_passes) == (500, 600, 1200)
    with bench.search(), pytest.raises(BudgetError) as caught:
        bench.fit(testing.baseline(), epochs=0.5)
    assert str(caught.value) == (
        "the budget is 2 epochs of search an attempt, 600 image passes, of which 100 are left: 150 are too many"
    )
    with bench.search(), pytest.raises(BudgetError):
        list(bench.batches("train"))
    assert not bench.searching


def test_a_search_counts_what_it_spent_before_a_kill(tmp_path):
    for _ in range(2):
        bench = workbench(tmp_path)
        bench.search_epochs = 1
        with bench.search():
            bench.fit(testing.baseline(), epochs=0.9)
            with pytest.raises(BudgetError, match="of which 30 are left"):
                bench.fit(testing.baseline(), epochs=0.2)
        assert bench.searched == 270


def test_a_search_that_was_not_declared_is_refused(bench):
    with pytest.raises(BudgetError, match=r"^no search was declared: write @technique\(\.\.\., search_epochs=\.\.\.\)"):
        bench.search().__enter__()


def routed() -> Net:
    """LeNet with an exit after each stage; heads and thresholds let some rows leave."""
    random = torch.Generator().manual_seed(0)
    sizes = {"stage1": 4 * 12 * 12, "stage2": 10 * 4 * 4}
    exits = tuple(
        Exit(after=name, router="exactly-one", threshold=0.6, features=size, classes=10) for name, size in sizes.items()
    )
    heads = {f"exits.{name}.1.weight": 0.1 * torch.randn(10, size, generator=random) for name, size in sizes.items()}
    biases = {f"exits.{name}.1.bias": torch.zeros(10) for name in sizes}
    net = testing.baseline()
    return net.replace(route=Route(kind="exits", exits=exits), state={**net.state, **heads, **biases})


@pytest.mark.parametrize("backend", ["onnxruntime", "eager"])
def test_logits_of_every_exit_are_those_of_the_module_and_no_row_leaves(bench, backend):
    from joulemark.backends.backend import backend as backend_named

    bench.backend = backend_named(backend)
    net = routed()
    exits = bench.exit_logits(net)
    with torch.no_grad():
        expected = net.module().forward_all(torch.from_numpy(bench.splits["validation"].images))
    assert [one.shape for one in exits] == [(100, 10)] * 3
    for got, wanted in zip(exits, expected, strict=True):
        np.testing.assert_allclose(got, wanted.numpy(), atol=1e-4)
    assert bench.ledger.cost.image_passes == 100
    taken = bench.logits(net)
    left = np.abs(taken - exits[-1]).max(1) > 1e-3
    assert left.sum() > 0  # rows do leave when the net runs
    chosen = np.stack(exits)[:, left]
    assert (np.abs(chosen[:2] - taken[left]).max(2) < 1e-4).any(0).all()  # each with the logits of an earlier exit


def test_a_net_without_a_route_has_one_exit(bench):
    (only,) = bench.exit_logits(testing.baseline())
    assert np.array_equal(only, bench.logits(testing.baseline()))


def test_a_backend_that_cannot_say_every_exit_is_refused_in_one_sentence(bench):
    @dataclasses.dataclass
    class Deaf:
        name = title = precision = "fp32"

        def compile(self, net, *, threads):
            return self

        def run(self, images):
            return testing.baseline().module()(torch.from_numpy(images)).detach().numpy()

    bench.backend = Deaf()
    with pytest.raises(ValueError, match=r"^Deaf gives the logits of the exit that a row takes, not of every exit$"):
        bench.exit_logits(routed())
    assert len(bench.exit_logits(testing.baseline())) == 1  # a net without exits needs no more than `run`


def test_batches_are_shuffled_by_the_seed_and_booked(bench):
    def rows(split: str, seed: int) -> list:
        bench.seed = seed
        return [y.tolist() for _, y in bench.batches(split, batch_size=32)]

    assert rows("policy", 0) == rows("policy", 0) != rows("policy", 1)
    assert bench.ledger.cost.image_passes == 300
    assert bench.ledger.cost.fitted_passes == 0
    assert sum(map(len, rows("calibration", 0))) == 300  # at most 512


def test_a_note_must_be_json_and_is_kept_as_it_will_be_read(bench):
    bench.note("pair", (1, 2))
    assert bench.notes == {"pair": [1, 2]}
    with pytest.raises(TypeError):
        bench.note("thing", object())


def test_progress_is_a_share_of_the_budget(bench):
    heard = []
    bench.going = heard.append
    bench.fit(testing.baseline(), epochs=1.5)
    bench.fit(testing.baseline(), epochs=0.5)
    assert heard == pytest.approx([0.5, 0.75, 1.0])
