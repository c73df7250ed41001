"""The control: narrower by the knob, trained from scratch by the baseline's recipe."""

import dataclasses

import msgspec
import pytest
import torch

from joulemark import testing
from joulemark.benchmarking import workbench
from joulemark.nets.net import Net, usual_input_shape
from joulemark.techniques.compact.small_dense import small_dense
from joulemark.techniques.technique import TechniqueError
from joulemark.vocabulary import TABLES


def test_it_is_the_baseline_recipe_on_a_narrower_net_with_the_seed_of_the_run(tmp_path):
    bench = testing.workbench(tmp_path)
    baseline = testing.baseline()
    net = small_dense(baseline, bench, width=0.5)
    assert net.options == {"width": pytest.approx(0.1)}  # half of the baseline's 0.2
    same = Net.new("lenet", (1, 28, 28), seed=bench.seed, width=0.1)
    assert {n: t.shape for n, t in net.state.items()} == {n: t.shape for n, t in same.state.items()}
    recipe = testing.TASK.recipe
    again = testing.workbench(tmp_path / "other")
    by_hand = again.fit(
        same,
        epochs=testing.EPOCHS,
        optimiser=testing.sgd(recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay),
    )
    assert by_hand.hash == net.hash
    assert net.parameters() < baseline.parameters() / 3


def test_it_owes_nothing_to_the_trained_weights(tmp_path):
    other = Net.new("lenet", (1, 28, 28), seed=5, width=0.2)
    a = small_dense(testing.baseline(), testing.workbench(tmp_path / "a"))
    b = small_dense(other, testing.workbench(tmp_path / "b"))
    assert a.hash == b.hash


def test_a_builder_without_width_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(TABLES["builder"], "plain", "torch.nn:Flatten")
    with pytest.raises(TechniqueError, match="needs a builder with an option `width`"):
        small_dense(Net(builder="plain", input_shape=(1, 2, 2)), testing.workbench(tmp_path))
    assert torch.is_grad_enabled()


@dataclasses.dataclass
class Untrained:
    """A workbench that gives back what it is asked to train."""

    seed: int = 4
    epochs: int = 1
    task: object = testing.TASK

    def fit(self, net, **how):
        assert set(how) == {"epochs", "optimiser", "schedule"}
        return net


@pytest.mark.parametrize(
    "builder", sorted(name for name, place in TABLES["builder"].items() if place.startswith("joulemark."))
)
def test_every_net_of_ours_has_a_narrower_sibling(builder):
    shape = usual_input_shape(builder)
    with torch.device("meta"):  # shapes without numbers: some nets are large
        compare_shapes(builder, shape)


def compare_shapes(builder, shape):
    baseline = Net.new(builder, shape, seed=0)
    narrow = small_dense(baseline, Untrained(), width=0.5)
    assert (narrow.builder, narrow.input_shape) == (builder, shape)
    for name, t in narrow.state.items():
        for small, full in zip(t.shape, baseline.state[name].shape, strict=True):
            assert small in {full, round(full / 2)}  # what is halved are channels; kernels, inputs and classes are not
    assert narrow.parameters() < 0.55 * baseline.parameters()
    x = torch.zeros(2, *shape)
    assert narrow.module()(x).shape == baseline.module()(x).shape
    half = small_dense(narrow, Untrained(), width=0.5)
    assert half.options["width"] == pytest.approx(0.25)  # of a narrower baseline: narrower still


def test_it_trains_with_the_augmentation_and_the_precision_of_the_recipe(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(workbench, "fit", lambda module, images, labels, **how: asked.update(how))
    bench = testing.workbench(tmp_path)
    recipe = msgspec.structs.replace(bench.task.recipe, augment="crop-flip", precision="bf16")
    bench.task = msgspec.structs.replace(bench.task, recipe=recipe)
    small_dense(testing.baseline(), bench)
    assert asked["augment"] is workbench.AUGMENTS["crop-flip"]
    assert asked["precision"] == "bf16"
    assert asked["schedule"] is workbench.cosine
    assert asked["batch_size"] == recipe.batch_size
