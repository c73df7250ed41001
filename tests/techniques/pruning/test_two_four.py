"""The pattern by counting; layers that do not fit stay dense."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from joulemark import testing
from joulemark.nets.net import Net
from joulemark.techniques.pruning.magnitude import prune
from joulemark.techniques.pruning.two_four import two_four, two_of_four
from joulemark.techniques.technique import TechniqueError
from joulemark.vocabulary import TABLES


@pytest.mark.parametrize("retraining", ["fine-tune", "repeat"])
def test_two_four_is_a_technique(retraining):
    testing.check_technique(two_four, knobs={"retraining": retraining})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(-3, 3), min_size=8, max_size=8), min_size=1, max_size=4))
def test_of_every_four_the_best_two_ties_or_not(rows):
    weight = torch.tensor(rows, dtype=torch.float32)
    kept = two_of_four(weight)
    for row, mask in zip(weight, kept, strict=True):
        for four in range(0, 8, 4):
            values, chosen = row[four : four + 4].abs().tolist(), mask[four : four + 4].tolist()
            assert sum(chosen) == 2
            best = max(a + b for a, b in itertools.combinations(values, 2))
            assert sum(v for v, c in zip(values, chosen, strict=True) if c) == best


def test_of_a_convolution_four_inputs_at_one_place_of_the_kernel():
    weight = torch.randn(3, 8, 2, 5, generator=torch.Generator().manual_seed(0))
    kept = two_of_four(weight)
    for n, four, row, column in itertools.product(range(3), (0, 4), range(2), range(5)):
        values = weight[n, four : four + 4, row, column].abs()
        assert set(kept[n, four : four + 4, row, column].nonzero()[:, 0].tolist()) == set(
            values.topk(2).indices.tolist()
        )


def test_zeros_stay_in_retraining_and_layers_that_do_not_fit_are_dense(tmp_path):
    net, bench = testing.baseline(), testing.workbench(tmp_path)
    pruned = two_four(net, bench)
    assert bench.notes["dense"] == ["stage1.conv.weight"]  # one input
    assert set(pruned.masks) == {"stage2.conv.weight", "classifier.hidden.weight", "classifier.output.weight"}
    for name, mask in pruned.masks.items():
        assert int(mask.sum()) * 2 == mask.numel()
        assert torch.equal(pruned.state[name] != 0, mask)
        assert not torch.equal(pruned.state[name], net.state[name] * mask)
    assert pruned.state["stage1.conv.weight"].all()
    assert "no sparse kernel" in testing.OnnxRuntime().simulated(pruned)


def test_after_other_masks_at_most_two_are_left(tmp_path):
    first = prune(testing.baseline(), 0.7)
    pruned = two_four(first, testing.workbench(tmp_path))
    for name, mask in first.masks.items():
        assert not (pruned.masks[name] & ~mask).any()
    fours = pruned.masks["classifier.hidden.weight"].view(-1, 4).sum(1)
    assert int(fours.max()) == 2
    assert int(pruned.masks["stage1.conv.weight"].sum()) == int(first.masks["stage1.conv.weight"].sum())


def test_repeat_has_the_learning_rate_of_the_recipe(tmp_path):
    gentle = two_four(testing.baseline(), testing.workbench(tmp_path / "a"))
    again = two_four(testing.baseline(), testing.workbench(tmp_path / "b"), retraining="repeat")
    moved = [float((n.state["stage1.conv.weight"] - testing.baseline().state["stage1.conv.weight"]).norm())
             for n in (gentle, again)]  # fmt: skip
    assert moved[1] > 2 * moved[0]


def odd() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))


def test_a_net_in_which_no_layer_fits_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(TABLES["builder"], "odd", f"{__name__}:odd")
    with pytest.raises(TechniqueError, match="no layer of this net has a multiple of four inputs"):
        two_four(Net.new("odd", (1, 28, 28), seed=0), testing.workbench(tmp_path))
