"""A net is watched row by row: what is NaN where, and nothing of it stays."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from joulemark.nets.answers import NetFailsError
from joulemark.nets.probe import ANSWER, Axis, Probe, in_no_layer, in_turn, tensors_of

X = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
A, B = Axis("a", "outputs", 3), Axis("b", "inputs", 3)
ALL, NONE = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)


class Two(nn.Module):
    """Two layers and a scale between them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.scale = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 2, 1), nn.Parameter(torch.ones(3, 1, 1))

    def between(self, x: Tensor) -> Tensor:
        return x.relu() * self.scale

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.between(self.a(x)))


def entry(number: int) -> Tensor:
    return torch.arange(3) == number


def test_each_row_has_its_own_poison():
    probe = Probe(Two(), X, training=False)
    assert probe.by_rows
    seen = probe.run([{A: entry(2)}, {}, {A: ALL}])
    assert seen[B].tolist() == [[False, False, True], [False] * 3, [True] * 3]
    assert not seen[Axis("0", ANSWER, 2)].any()  # products are not computed


def test_a_tensor_in_no_layer_is_poisoned_alone_and_restored():
    net = Two()
    probe = Probe(net, X, training=False)
    scale = Axis("scale", "0", 3)
    assert in_no_layer(scale) and not in_no_layer(A)
    assert probe.own_tensors() == [scale]
    seen = probe.run([{scale: entry(0)}, {scale: entry(1)}])
    assert seen[B].tolist() == [[True, False, False], [False, True, False]]
    assert all(tensor.isfinite().all() for tensor in (*tensors_of(net).values(), *tensors_of(probe.module).values()))


class Fussy(Two):
    """It does not run if the first channel is no number."""

    def between(self, x: Tensor) -> Tensor:
        if x[:, 0].isnan().any():
            raise ArithmeticError
        return x


def test_rows_on_which_a_net_fails_are_told_and_the_others_seen():
    probe = Probe(Fussy(), X, training=False)
    with pytest.raises(NetFailsError, match="ArithmeticError"):
        probe.run([{A: entry(0)}, {A: entry(1)}])
    seen, failing = probe.tried([{A: entry(0)}, {A: entry(1)}])
    assert failing == [0]
    assert seen[B].tolist() == [[False] * 3, [False, True, False]]


class Statistics(Two):
    """What is taken over the rows of a batch carries NaN from one to the others."""

    def between(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Glued(Two):
    """Two views of each image, all first views before all second ones."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.a(torch.cat([x, x.flip(3)], 0)).chunk(2)
        return self.b(first + second)


@pytest.mark.parametrize("net", [Statistics, Glued])
def test_rows_that_cannot_be_told_apart_run_one_by_one(net):
    probe = Probe(net(), X, training=False)
    assert not probe.by_rows
    assert probe.run([{A: entry(0)}, {A: entry(2)}])[B].tolist() == [[True, False, False], [False, False, True]]


class More(nn.Conv2d):
    """A convolution that puts out twice what it says."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return torch.cat([y, -y], 1)


class WithMore(Two):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = More(3, 3, 1), nn.Conv2d(6, 2, 1)


def test_a_layer_that_does_more_than_its_kind_is_the_nets_own_code():
    net = WithMore()
    net.scale = nn.Parameter(torch.ones(6, 1, 1))
    probe = Probe(net, X, training=False)
    assert [axis.layer for axis in probe.makers()] == ["b"]
    assert {axis.layer for axis in probe.own_tensors()} == {"a.weight", "a.bias", "scale"}


class InTraining(Two):
    """The net's own code is told that it trains, its layers are not."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.more = nn.BatchNorm2d(3), nn.Conv2d(3, 1, 1)

    def between(self, x: Tensor) -> Tensor:
        if self.training:
            self.more(x)
        return self.norm(x)


def test_layers_that_run_in_training_only_are_seen_if_asked_for():
    read = Axis("more", "inputs", 3)
    assert read not in Probe(InTraining(), X, training=False).run([{A: ALL}])
    probe = Probe(InTraining(), X, training=True)
    assert probe.run([{A: entry(1)}])[read].tolist() == [[False, True, False]]
    assert not probe.module.norm.training


def test_what_was_not_seen_in_some_rows_is_nothing():
    assert in_turn({}, B, [{}, {}]).tolist() == [[False] * 3] * 2
    seen = torch.stack([ALL, NONE])
    assert in_turn({B: seen}, B, [{}, {}]) is seen
