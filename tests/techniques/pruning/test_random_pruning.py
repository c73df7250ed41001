"""The control by lot: magnitude's budget of every layer, chosen by the seed and by nothing else."""

import pytest
import torch

from joulemark import testing
from joulemark.nets.net import Net
from joulemark.techniques.pruning.magnitude import magnitude, prune
from joulemark.techniques.pruning.random_pruning import draw, random_pruning


@pytest.mark.parametrize("retraining", ["fine-tune", "rewind"])
def test_random_pruning_is_a_technique(retraining):
    testing.check_technique(random_pruning, knobs={"retraining": retraining, "sparsity": 0.8})


def made(folder, *, net=None, seed=0, **knobs):
    bench = testing.workbench(folder)
    bench.seed = seed
    return random_pruning(net or testing.baseline(), bench, **knobs), bench


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_every_layer_keeps_as_many_as_magnitude_leaves_it_but_others(tmp_path, scope):
    drawn, bench = made(tmp_path, sparsity=0.9, scope=scope)
    budget = prune(testing.baseline(), 0.9, scope=scope).masks
    counts = {name: int(mask.sum()) for name, mask in budget.items()}
    assert {name: int(mask.sum()) for name, mask in drawn.masks.items()} == counts
    assert bench.notes["weights_kept_by_layer"] == counts
    assert not torch.equal(drawn.masks["classifier.hidden.weight"], budget["classifier.hidden.weight"])
    for name, mask in drawn.masks.items():
        assert not drawn.state[name][~mask].any()


def test_the_choice_is_the_seeds_and_not_the_weights(tmp_path):
    first, _ = made(tmp_path / "a", scope="layer")
    again, _ = made(tmp_path / "b", scope="layer", net=Net.new("lenet", (1, 28, 28), seed=9, width=0.2))
    other, _ = made(tmp_path / "c", scope="layer", seed=1)
    name = "classifier.hidden.weight"
    assert torch.equal(first.masks[name], again.masks[name])
    assert not torch.equal(first.masks[name], other.masks[name])


def test_every_place_is_as_likely_as_any_other():
    """1,000 draws of 3 in 12: each place is expected 250 times; 5 deviations of a binomial are 68."""
    alive = {"a": torch.ones(3, 4, dtype=torch.bool)}
    hits = sum(draw(alive, {"a": 3}, seed=seed)["a"].int() for seed in range(1000))
    assert int(hits.sum()) == 3000
    assert int(hits.min()) >= 182 and int(hits.max()) <= 318


def test_what_is_masked_stays_masked_and_an_empty_layer_is_allowed():
    alive = {"a": torch.rand(6, 7, generator=torch.Generator().manual_seed(0)) < 0.4, "b": torch.ones(3).bool()}
    count = int(alive["a"].sum()) - 2
    masks = draw(alive, {"a": count, "b": 0}, seed=3)
    assert int(masks["a"].sum()) == count
    assert not (masks["a"] & ~alive["a"]).any()
    assert not masks["b"].any()


def test_masks_of_others_are_kept_and_the_retraining_is_magnitudes(tmp_path):
    net = testing.baseline()
    bias = {"classifier.hidden.bias": torch.arange(100) % 2 == 0}
    first = prune(net, 0.5)
    drawn, bench = made(tmp_path / "a", net=first.replace(masks={**first.masks, **bias}), sparsity=0.8)
    assert torch.equal(drawn.masks["classifier.hidden.bias"], bias["classifier.hidden.bias"])
    for name, mask in first.masks.items():
        assert not (drawn.masks[name] & ~mask).any()
    reference = testing.workbench(tmp_path / "b")
    magnitude(net, reference, sparsity=0.8)
    assert bench.ledger.cost.fitted_passes == reference.ledger.cost.fitted_passes
