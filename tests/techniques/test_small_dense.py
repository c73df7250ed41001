"""The control: narrower by the knob, trained from scratch by the baseline's recipe."""

import pytest
import torch

from joulemark import testing
from joulemark.nets.net import Net
from joulemark.techniques.small_dense import small_dense
from joulemark.techniques.technique import TechniqueError


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
    monkeypatch.setitem(__import__("joulemark.nets.net", fromlist=["BUILDERS"]).BUILDERS, "plain", "torch.nn:Flatten")
    with pytest.raises(TechniqueError, match="needs a builder with an option `width`"):
        small_dense(Net(builder="plain", input_shape=(1, 2, 2)), testing.workbench(tmp_path))
    assert torch.is_grad_enabled()
