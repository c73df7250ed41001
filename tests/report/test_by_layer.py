"""What is left of convolutions: real workloads of nets whose layers have other paths than the baseline's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest
import torch
from synthetic import make_results
from torch import nn

from joulemark.energy.model import energy_model
from joulemark.nets.net import Net
from joulemark.nets.segments import Exit, Route
from joulemark.report.by_layer import components, convolutions_left, mean_layers, shares_left
from joulemark.report.sizes import shares_told, sizes_rows
from joulemark.workloads.recording import record

SHAPE = (1, 28, 28)


def trial_of(module: nn.Module, results=None):
    """A made-up trial with the energy report of what a module really executes for four rows."""
    workload = record(module, torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0)))
    report = energy_model("row-stationary").estimate(workload)
    return msgspec.structs.replace(make_results().trials[-1], models=(report,))


def lenet(width: float = 1.0, seed: int = 0) -> Net:
    return Net.new("lenet", SHAPE, seed=seed, width=width)


def odd(*widths: int) -> nn.Module:
    """LeNet's convolutions, valid and 5 by 5 with pooling behind, under names that no baseline has."""
    channels = (1, *widths)
    stages = [
        layer
        for before, after in pairwise(channels)
        for layer in (nn.Conv2d(before, after, 5), nn.ReLU(), nn.MaxPool2d(2))
    ]
    return nn.Sequential(*stages, nn.Flatten(), nn.LazyLinear(10)).eval()


def left(module: nn.Module):
    return convolutions_left([(trial_of(lenet().module()), trial_of(module))])


def widths_of(net: Net) -> list[int]:
    return [child.out_channels for child in net.module().modules() if isinstance(child, nn.Conv2d)]


def test_the_same_paths_are_the_same_layers():
    whole, half = widths_of(lenet()), widths_of(lenet(0.5))
    expected = [half[0] / whole[0], half[0] * half[1] / (whole[0] * whole[1])]
    assert list(left(lenet(0.5).module()).values()) == pytest.approx(expected)


def test_an_oddly_named_net_of_as_many_convolutions_is_matched_in_order():
    whole = widths_of(lenet())
    module = odd(whole[0] // 2, whole[1])
    module(torch.zeros(1, *SHAPE))  # the lazy layer learns its width
    assert list(left(module).values()) == pytest.approx([0.5, 0.5])


def test_an_oddly_named_net_of_other_convolutions_is_unknown_and_not_zero():
    module = odd(8)
    module(torch.zeros(1, *SHAPE))
    assert list(left(module).values()) == [None, None]


def test_a_cascade_is_unknown_and_not_zero():
    route = Route(kind="cascade", order=("s", "b"), exits=(Exit(after="s", router="exactly-one", threshold=0.05),))
    net = Net(builder="lenet", input_shape=SHAPE, route=route, parts={"s": lenet(0.2, 1), "b": lenet(1.0, 2)})
    trial = trial_of(net.module())
    assert {layer.layer for layer in trial.models[0].layers if layer.operator == "conv"} >= {"s.stage1.conv"}
    assert convolutions_left([(trial_of(lenet().module()), trial)]) == {"stage1.conv": None, "stage2.conv": None}


def test_a_convolution_that_is_gone_from_a_net_that_is_known_is_zero():
    before = {("a", "conv"): 10.0, ("b", "conv"): 10.0, ("c", "linear"): 5.0}
    assert shares_left(before, {("a", "conv"): 5.0, ("c", "linear"): 5.0}) == {"a": 0.5, "b": 0.0}
    assert shares_left(before, {("c", "linear"): 5.0}) == {"a": 0.0, "b": 0.0}
    assert shares_left(before, {("x", "linear"): 5.0}) == {"a": None, "b": None}  # lowered, or none at all?
    assert shares_left(before, {}) == {}


def test_an_operator_of_a_users_own_on_another_path_may_be_a_convolution():
    before = {("c1", "conv"): 8.0, ("c2", "conv"): 4.0, ("fc", "linear"): 1.0}
    assert shares_left(before, {("stem.a", "xnor"): 8.0, ("fc", "linear"): 1.0}) == {"c1": None, "c2": None}


def test_parts_of_a_cascade_are_not_the_convolutions_in_order():
    before = {("c1", "conv"): 8.0, ("c2", "conv"): 4.0, ("fc", "linear"): 1.0}
    assert shares_left(before, {("s.c1", "conv"): 2.0, ("t.c1", "conv"): 8.0}) == {"c1": None, "c2": None}
    assert shares_left(before, {("net.c1", "conv"): 2.0, ("net.c2", "conv"): 4.0}) == {"c1": 0.25, "c2": 1.0}


def test_what_a_convolution_became_is_found_below_its_path_whatever_the_operator():
    before = {("a", "conv"): 10.0, ("ab", "conv"): 10.0}
    after = {("a.columns", "linear"): 4.0, ("a.more", "conv"): 1.0, ("ab", "lowered"): 2.0}
    assert shares_left(before, after) == {"a": 0.5, "ab": 0.2}


def test_a_convolution_that_shares_its_path_with_another_operator_is_counted_alone():
    before = {("", "conv"): 10.0, ("", "linear"): 90.0}  # a net that calls functions and has no layers
    assert shares_left(before, {("", "conv"): 5.0, ("", "linear"): 90.0}) == {"": 0.5}


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ([None, None], "unknown"),
        ([0.5, None], "50, unknown %"),
        ([1.0, None], "100, unknown %"),
        ([1.0, 1.0], "all"),
        ([0.0, 0.5], "0, 50 %"),
        ([0.1, None, *[0.5] * 8], "10 to 50 %, 1 unknown"),
        ([], ""),
    ],
)
def test_what_is_unknown_is_said(shares: Sequence[float | None], words: str):
    row = msgspec.structs.replace(
        sizes_rows(make_results())[0], convolutions=dict(zip(map(str, range(99)), shares, strict=False))
    )
    assert shares_told(row) == words


def test_layers_are_means_over_seeds_and_components_in_order():
    trials = [trial for trial in make_results().trials if trial.technique == "unstructured-pruning"]
    means = mean_layers(trials, "row-stationary")
    assert means["conv2"]["DRAM"] == pytest.approx(0.5 * (5 / 2 + 5 / 4) * 0.5e-6)
    assert components(trials, "row-stationary") == ("DRAM", "buffer", "MAC")
    assert mean_layers(trials, "another") == {}
    assert components(trials, "another") == ()
