"""Sums over what is cut together, ranks and edits by hand."""

from __future__ import annotations

import torch
from torch import nn

from joulemark.nets.groups import Group, Member, channel_sums, cutting_edits, strongest


def test_sums_over_channels_by_hand():
    group = Group(
        2,
        (
            Member("a", "outputs", (0, 1), (0, 1)),
            Member("norm", "outputs", (0, 1), (0, 1)),
            Member("b", "inputs", (0, 1, 2, 3), (0, 0, 1, 1)),  # flattened: two places a channel
            Member("c", "inputs", (5, 2), (0, 1)),  # behind a concatenation
        ),
    )
    values = {
        "a.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        "a.bias": torch.tensor([10.0, 20.0]),
        "norm.weight": torch.tensor([100.0, 200.0]),
        "b.weight": torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 1.0]]),
        "b.bias": torch.tensor([1e6, 1e6]),  # stays when an input goes
        "c.weight": torch.arange(6.0).view(1, 6, 1, 1) * 1000,
    }
    assert channel_sums(group, values).tolist() == [3 + 10 + 100 + 3 + 5000, 7 + 20 + 200 + 8 + 2000]
    assert channel_sums(group, {}).tolist() == [0.0, 0.0]


def test_the_strongest_are_a_rank_over_all_groups_with_one_of_each():
    scores = {"a": torch.tensor([5.0, 1.0, 4.0, 5.0]), "b": torch.tensor([0.3, 0.2, 0.3]), "c": torch.tensor([2.0])}
    assert strongest(scores, 5) == {"a": [0, 2, 3], "b": [0], "c": [0]}
    assert strongest(scores, 0) == {"a": [0], "b": [0], "c": [0]}
    assert strongest(scores, 5, round_to=2) == {"a": [0, 1, 2, 3], "b": [0, 2], "c": [0]}
    assert strongest(scores, 99) == {"a": [0, 1, 2, 3], "b": [0, 1, 2], "c": [0]}


def test_a_transposed_convolution_has_its_inputs_first():
    group = Group(2, (Member("a", "outputs", (0, 1), (0, 1), True), Member("b", "inputs", (0, 1), (0, 1), True)))
    values = {
        "a.weight": torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]),
        "a.bias": torch.tensor([100.0, 200.0]),
        "b.weight": torch.tensor([[1e3, 2e3], [1e4, 2e4]]),
    }
    assert channel_sums(group, values).tolist() == [6 + 100 + 3e3, 60 + 200 + 3e4]


def test_a_tensor_in_no_layer_counts_along_its_dimension():
    group = Group(3, (Member("block.gamma", "1", (0, 1, 2), (0, 1, 2)),))
    assert channel_sums(group, {"block.gamma": torch.tensor([[[1.0], [2.0], [4.0]]])}).tolist() == [1, 2, 4]
    assert channel_sums(group, {"block.gamma.weight": torch.ones(1, 3)}).tolist() == [0, 0, 0]


class Padded(nn.Module):
    """A block as of a residual net whose shortcut pads."""

    pads_channels, padding = True, (2, 1)


def test_edits_are_one_for_each_layer_of_all_groups_that_it_is_in():
    module = nn.ModuleDict(
        {
            "a": nn.Conv2d(1, 3, 1),
            "b": nn.Conv2d(3, 4, 1),
            "block": Padded(),
            "own": nn.ParameterDict({"g": torch.ones(1, 3)}),
        }
    )
    every = (0, 1, 2)
    ends = (Member("a", "outputs", every, every), Member("b", "inputs", every, every))
    first = Group(3, (*ends, Member("block", "padding", every, every), Member("own.g", "1", (2, 1, 0), every)))
    second = Group(2, (Member("b", "outputs", (0, 1, 3), (0, 0, 1)),))
    assert cutting_edits(module, [(first, [1, 2]), (second, [1])]) == (
        {"edit": "keep_channels", "layer": "a", "outputs": [1, 2], "inputs": None},
        {"edit": "keep_channels", "layer": "b", "outputs": [2, 3], "inputs": [1, 2]},
        {"edit": "pad_channels", "block": "block", "before": 1, "after": 1},
        {"edit": "keep_entries", "tensor": "own.g", "dimension": 1, "kept": [0, 1]},
    )
    assert cutting_edits(module, [(first, [0, 1, 2])]) == ()
