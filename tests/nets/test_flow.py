"""Who reads whom, on nets small enough to see it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark.nets.flow import all_pass, foldable, loose, trace
from joulemark.nets.header import Exit, Route
from joulemark.nets.net import Net


class Wired(nn.Module):
    """Two convolutions with batch norms; ``forward`` is given."""

    def __init__(self, call) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
        self.norm, self.other = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
        self.call = call

    def forward(self, x):
        return self.call(self, x)


def wired(call) -> nn.Module:
    return Wired(call).eval()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda n, x: n.two(n.norm(n.one(x))), {"one": "norm"}),
        (lambda n, x: n.other(n.two(n.norm(n.one(x)).relu())), {"one": "norm", "two": "other"}),
        (lambda n, x: n.norm(n.one(x).relu()), {}),  # a ReLU between
        (lambda n, x: (lambda y: n.norm(y) + y)(n.one(x)), {}),  # the convolution is read twice
        (lambda n, x: n.norm(n.one(x)) + n.norm(n.two(x)), {}),  # one norm for two convolutions
        (lambda n, x: n.norm(n.one(n.other(n.one(x)))), {}),  # one convolution with two norms
        (lambda n, x: n.norm(x), {}),
    ],
)
def test_batch_norms_that_can_be_folded(call, expected):
    assert foldable(wired(call), (2, 6, 6)) == expected


def test_batch_statistics_cannot_be_folded():
    net = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2, track_running_stats=False)).eval()
    assert foldable(net, (2, 6, 6)) == {}
    net = nn.Sequential(nn.Conv1d(2, 2, 3), nn.BatchNorm1d(2, track_running_stats=False)).eval()
    assert foldable(net, (2, 6)) == {}


def test_signals_flow_like_images():
    """PyTorch pools a signal as an image of height 1: the view to and fro scales and adds nothing up."""
    net = nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Conv1d(4, 4, 3), nn.MaxPool1d(2), nn.Conv1d(4, 4, 3),
        nn.AvgPool1d(2), nn.Conv1d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3),
    ).eval()  # fmt: skip
    assert foldable(net, (2, 24)) == {"0": "1"}
    assert loose(net, (2, 24)) == {"0": False, "5": False}  # read by a batch norm, and by an average


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda n, x: n.two(n.one(x)), {"two": False}),
        (lambda n, x: n.two(n.one(x).relu()).relu(), {"two": True}),
        (lambda n, x: n.two(nn.functional.max_pool2d(n.one(x).relu(), 2)), {"two": False}),
        (lambda n, x: nn.functional.linear(n.one(x).relu().flatten(1), torch.ones(3, 72)), {}),
        (lambda n, x: n.two(nn.functional.avg_pool2d(n.one(x).relu(), 2)), {"one": True, "two": False}),
        (lambda n, x: n.two(nn.functional.avg_pool2d(n.one(x), 2)), {"one": False, "two": False}),
        (lambda n, x: (lambda y: n.two(y) + y)(n.one(x).relu()), {"one": True, "two": False}),
        (lambda n, x: n.two(n.norm(n.one(x))), {"one": False, "two": False}),
    ],
)
def test_convolutions_whose_outputs_go_elsewhere(call, expected):
    assert loose(wired(call), (2, 6, 6)) == expected


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda n, x: n.two(n.norm(n.one(x)).relu()), True),
        (lambda n, x: nn.functional.linear(n.two(n.one(x)).flatten(1), torch.ones(3, 72)), True),
        (lambda n, x: (lambda y: n.two(y) + y)(n.one(x)), False),  # an output of the net beside it
        (lambda n, x: n.one(x) + n.two(x), False),
        (lambda n, x: (lambda y: nn.functional.conv2d(y, torch.ones(1, 2, 3, 3)) + n.two(y)[:, :1, 1:-1, 1:-1])(
            n.one(x)), False),
        (lambda n, x: n.two(n.two(n.one(x))), False),  # runs twice: who reads whom is not said
        (lambda n, x: n.one(x), False),
    ],
)  # fmt: skip
def test_all_that_one_layer_makes_passes_another(call, expected):
    assert all_pass(trace(wired(call), (2, 6, 6)), {"one"}, "two", through=()) is expected


def test_what_passes_another_layer_on_the_way_passes_all_the_same():
    traced = trace(nn.Sequential(*(nn.Conv2d(2, 2, 1) for _ in range(4))).eval(), (2, 6, 6))
    assert all_pass(traced, {"0"}, "2", through={"1"})
    assert not all_pass(traced, {"0"}, "2", through=())


def test_nets_of_ours():
    assert loose(Net.new("lenet", (1, 28, 28), seed=0).module(), (1, 28, 28)) == {}
    exits = (Exit(after="stage1", router="exactly-one", threshold=0.5, features=2880, classes=10),)
    routed = Net.new("lenet", (1, 28, 28), seed=0).replace(route=Route(kind="exits", exits=exits), state={})
    assert loose(routed.module(), (1, 28, 28)) == {"stage1.conv": False}  # read by the head and by the next stage
    pairs = foldable(Net.new("resnet", (3, 32, 32), seed=0, depth=8, width=0.25).module(), (3, 32, 32))
    assert pairs == {"conv1": "bn1"} | {
        f"layer{stage}.0.conv{n}": f"layer{stage}.0.bn{n}" for stage in (1, 2, 3) for n in (1, 2)
    }
