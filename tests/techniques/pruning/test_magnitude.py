"""Masks against counting by hand and a second implementation, learning rates against the recipe's schedule."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from joulemark import testing
from joulemark.benchmarking.workbench import FINE_TUNING_SHARE
from joulemark.nets.net import Net
from joulemark.techniques.pruning.magnitude import largest, magnitude, prune, rewound
from joulemark.techniques.pruning.random_pruning import random_pruning
from joulemark.techniques.technique import TechniqueError
from joulemark.training import cosine, fit, sgd
from joulemark.vocabulary import TABLES


def kept(net):
    return {name: int(mask.sum()) for name, mask in net.masks.items()}


@functools.cache
def lenet():
    return Net.new("lenet", (1, 28, 28), seed=0, width=0.1)


@pytest.mark.parametrize("retraining", ["fine-tune", "rewind"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_magnitude_is_a_technique_in_all_its_ways(retraining, scope):
    testing.check_technique(magnitude, knobs={"retraining": retraining, "scope": scope, "sparsity": 0.8})


class Counting:
    """A bench whose fits only record how many epochs they were asked for and how many weights were left."""

    def __init__(self, epochs):
        self.epochs, self.seed, self.asked, self.task = epochs, 0, [], testing.TASK

    def fit(self, net, *, epochs, **_):
        self.asked.append((epochs, sum(kept(net).values())))
        return net

    def note(self, name, value):
        pass


@pytest.mark.parametrize("technique", [magnitude, random_pruning], ids=["magnitude", "random"])
def test_rounds_keep_a_geometric_share_within_the_same_epochs(technique):
    bench = Counting(5)
    pruned = technique(lenet(), bench, sparsity=0.91, rounds=2)
    total = sum(mask.numel() for mask in pruned.masks.values())
    assert [epochs for epochs, _ in bench.asked] == [2, 3]
    assert [left / total for _, left in bench.asked] == pytest.approx([0.3, 0.09], abs=2e-3)
    few = Counting(1)
    technique(lenet(), few, sparsity=0.91, rounds=3)
    assert [epochs for epochs, _ in few.asked] == [1]


def test_the_largest_by_hand():
    sizes = {"a": torch.tensor([[0.5, 0.1], [0.4, 0.2]]), "b": torch.tensor([0.9, 0.3])}
    assert {n: m.tolist() for n, m in largest(sizes, 0.5).items()} == {
        "a": [[True, False], [True, False]],
        "b": [True, False],
    }
    assert {n: m.tolist() for n, m in largest(sizes, 1 / 3).items()} == {
        "a": [[True, False], [False, False]],
        "b": [True, False],
    }
    assert [int(m.sum()) for m in largest(sizes, 0.0).values()] == [0, 1]  # one is always kept


def test_a_layer_each_keeps_the_same_share_of_every_layer():
    net = lenet()
    pruned = prune(net, 0.75, scope="layer")
    shapes = {name: t for name, t in net.state.items() if name.endswith("weight")}
    assert kept(pruned) == {name: round(0.25 * t.numel()) for name, t in shapes.items()}
    for name, mask in pruned.masks.items():
        weights = net.state[name].abs()
        assert float(weights[~mask].max()) <= float(weights[mask].min())


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9, 0.99])
def test_the_global_threshold_is_that_of_a_partition(sparsity):
    net = lenet()
    pruned = prune(net, sparsity)
    flat = np.concatenate([net.state[name].abs().numpy().ravel() for name in pruned.masks])
    count = round((1 - sparsity) * len(flat))
    threshold = np.partition(flat, len(flat) - count)[len(flat) - count]
    for name, mask in pruned.masks.items():
        assert np.array_equal(mask.numpy(), net.state[name].abs().numpy() >= threshold)  # no ties in random weights
    assert sum(kept(pruned).values()) == count


class Mixed(nn.Module):
    def __init__(self, width=1.0):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.gate = nn.PReLU()
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(2 * 26 * 26, 3))

    def forward(self, x):
        return self.head(self.gate(self.norm(self.conv(x))))


def test_biases_norms_and_slopes_are_left_alone(monkeypatch):
    monkeypatch.setitem(TABLES["builder"], "mixed", f"{__name__}:Mixed")
    assert set(prune(Net.new("mixed", (1, 28, 28), seed=0), 0.5).masks) == {"conv.weight", "head.1.weight"}


@settings(deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=9), min_size=1, max_size=4),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
def test_a_greater_share_keeps_all_of_a_smaller_one_ties_or_not(rows, one, other):
    sizes = {str(i): torch.tensor(row) for i, row in enumerate(rows)}
    total = sum(len(row) for row in rows)
    few, many = (largest(sizes, share) for share in sorted((one, other)))
    assert sum(int(m.sum()) for m in few.values()) == max(1, round(min(one, other) * total))
    gone, here = [], []
    for name in sizes:
        assert not (few[name] & ~many[name]).any()
        gone += sizes[name][~few[name]].tolist()
        here += sizes[name][few[name]].tolist()
    assert not gone or max(gone) <= min(here)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.1, 0.99), st.floats(0.1, 0.99))
def test_more_sparsity_keeps_a_subset(one, other):
    net, (low, high) = lenet(), sorted((one, other))
    gentle, harsh = prune(net, low), prune(net, high)
    assert not any((harsh.masks[name] & ~mask).any() for name, mask in gentle.masks.items())


def test_equal_weights_are_not_all_pruned_at_one_threshold():
    net = lenet()
    flat = net.replace(state={name: torch.ones_like(t) for name, t in net.state.items()})
    total = sum(t.numel() for name, t in net.state.items() if name.endswith("weight"))
    assert sum(kept(prune(flat, 0.7)).values()) == round(0.3 * total)


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_what_is_masked_stays_masked_and_masks_of_others_are_kept(scope):
    first = prune(lenet(), 0.7, scope=scope)
    alive = {name: torch.zeros_like(t) for name, t in first.state.items()}
    bias = {"classifier.hidden.bias": torch.zeros(50, dtype=torch.bool)}
    both = first.replace(masks={**first.masks, **bias}, state=alive)  # the living are zero too: no order among them
    again, more = prune(both, 0.5, scope=scope), prune(both, 0.9, scope=scope)
    for name, mask in first.masks.items():
        assert torch.equal(again.masks[name], mask)
        assert not (more.masks[name] & ~mask).any()
    assert sum(kept(more).values()) == pytest.approx(sum(kept(prune(lenet(), 0.9, scope=scope)).values()))
    assert torch.equal(more.masks["classifier.hidden.bias"], bias["classifier.hidden.bias"])


@dataclasses.dataclass
class Recording:
    """A workbench that runs the real loop and keeps the learning rate of every step."""

    epochs: int = 2
    seed: int = 3
    task: object = testing.TASK
    rates: list = dataclasses.field(default_factory=list)
    notes: dict = dataclasses.field(default_factory=dict)

    def note(self, name, value):
        self.notes[name] = value

    def fit(self, net, *, epochs, optimiser=None, schedule=None):
        assert (optimiser is None) == (schedule is None)
        module, recipe = net.module(), self.task.recipe
        made = []

        def make(module):
            made.append((optimiser or sgd(recipe.learning_rate * FINE_TUNING_SHARE))(module))
            return made[0]

        fit(
            module,
            torch.zeros(64, 1, 28, 28),
            torch.arange(64) % 10,
            epochs=epochs,
            batch_size=8,
            seed=self.seed,
            optimiser=make,
            schedule=schedule or cosine,
            masks=net.masks,
            after_step=lambda _: self.rates.append(made[0].param_groups[0]["lr"]),
        )
        self.optimiser = made[0]
        return net.with_state(module)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9, 1.0])
def test_rewinding_repeats_the_rates_of_the_recipe_at_the_same_point(share):
    bench = Recording()
    recipe = testing.TASK.recipe
    magnitude(lenet(), bench, retraining="rewind", rewind=share)
    steps = np.arange(16) / 16  # 2 epochs of 8 steps
    whole = 1 - share + share * steps  # where in the original training
    warm, peak = 0.1, recipe.learning_rate
    fall = 0.5 * (1 + np.cos(np.pi * (whole - warm) / (1 - warm)))
    np.testing.assert_allclose(bench.rates, peak * np.where(whole < warm, whole / warm, fall), atol=1e-12)
    group = bench.optimiser.param_groups[0]
    assert (group["momentum"], group["weight_decay"]) == (recipe.momentum, recipe.weight_decay)


def test_uncompressed_it_is_the_last_epochs_of_the_original_training():
    """4 epochs of 10 steps, of which 2 are repeated: the very same factors."""
    original = [cosine(step / 40) for step in range(40)]
    assert [rewound(2 / 4)(step / 20) for step in range(20)] == pytest.approx(original[20:], abs=1e-12)


def test_fine_tuning_is_the_workbench_s_own():
    bench = Recording()
    magnitude(lenet(), bench)
    assert max(bench.rates) == pytest.approx(0.1 * testing.TASK.recipe.learning_rate, rel=0.01)


@pytest.mark.parametrize("retraining", ["fine-tune", "rewind"])
def test_zero_stays_zero_the_rest_is_trained_and_the_seed_decides(retraining, tmp_path):
    net = testing.baseline()
    bench = testing.workbench(tmp_path / "first")
    made = magnitude(net, bench, sparsity=0.9, retraining=retraining)
    masks = prune(net, 0.9).masks
    for name, mask in masks.items():
        assert torch.equal(made.masks[name], mask)
        assert not made.state[name][~mask].any()
        assert not torch.equal(made.state[name][mask], net.state[name][mask])
    assert bench.notes["weights_kept_by_layer"] == {name: int(mask.sum()) for name, mask in masks.items()}
    again = magnitude(net, testing.workbench(tmp_path / "second"), sparsity=0.9, retraining=retraining)
    assert again.hash == made.hash
    other = testing.workbench(tmp_path / "third")
    other.seed = 1
    assert magnitude(net, other, sparsity=0.9, retraining=retraining).hash != made.hash


def test_its_zeros_are_simulated_on_every_backend_and_said_to_be():
    net = prune(testing.baseline(), 0.5)
    for backend in (testing.OnnxRuntime(), testing.Eager()):
        assert "no sparse kernel" in backend.simulated(net)


def test_words_and_numbers_out_of_range_are_refused():
    with pytest.raises(TechniqueError, match="magnitude: unknown retraining 'rewinding': did you mean 'rewind'"):
        magnitude.fixed({"retraining": "rewinding"})
    with pytest.raises(TechniqueError, match="sparsity = 1 is out of range"):
        magnitude.settings({"sparsity": 1.0})
    assert magnitude.fixed({"retraining": "rewind"}).knob == "sparsity"  # both ways are searched alike
