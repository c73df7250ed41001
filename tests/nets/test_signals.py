"""Signals: which values between layers are rounded, by which module, and with whom they share a scale."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from joulemark.nets.folding import fold
from joulemark.nets.net import Net
from joulemark.nets.signals import signals


def found(net: nn.Module, shape=(2, 8, 8)) -> list[tuple[str, str]]:
    """Path and side of each, but for what the net itself puts out, which is rounded if a convolution gives it."""
    last = [path for path, part in net.named_modules() if isinstance(part, nn.Conv2d)][-1]
    return [(one.path, one.side) for one in signals(net.eval(), shape) if one.path != last]


class Added(nn.Module):
    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.first, self.act, self.second = nn.Conv2d(2, 2, 1), act, nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.second(self.act(self.first(x))))


class Joined(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU())
        self.right = nn.Sequential(nn.Conv2d(2, 1, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.left(x), self.right(x)], 1)


def test_a_chain_needs_nothing_beside_the_inputs_of_its_products():
    for act in (nn.ReLU, nn.ReLU6):
        assert found(nn.Sequential(nn.Conv2d(2, 2, 1), act(), nn.Conv2d(2, 2, 1))) == []


def test_both_sides_of_a_sum_are_rounded_and_an_activation_called_twice_is_passed_over():
    net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), Added(nn.ReLU()), Added(nn.ReLU()), nn.Conv2d(2, 2, 1))
    # What the first block gives is rounded on its way out of the block: its ReLU runs twice, with another value.
    assert found(net) == [("1", "out"), ("2.second", "out"), ("2", "out"), ("3.second", "out")]


def test_a_sum_whose_result_nobody_wants_in_integers_stays_in_floats():
    net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), Added(nn.SiLU()), nn.Conv2d(2, 2, 1))
    # Without a pair behind them no runtime computes these convolutions in integers; the sum and its SiLU have none.
    assert sorted(found(net)) == [("0", "out"), ("2.first", "out"), ("2.second", "out")]


def test_what_is_joined_shares_one_scale_with_all_who_read_it():
    net = nn.Sequential(Joined(), nn.Conv2d(4, 2, 1), nn.ReLU(), Joined(), nn.Conv2d(4, 2, 1)).eval()
    one = {signal.path: signal for signal in signals(net, (2, 8, 8))}
    assert list(one) == ["0", "0.left.1", "0.right.1", "2", "3.left.1", "3.right.1", "4"]
    assert (one["0"].side, one["0"].products) == ("in", ("0.left.0", "0.right.0"))  # read by two: rounded once
    assert one["2"].products == ("3.left.0", "3.right.0")
    assert one["0.left.1"].scale == one["0.right.1"].scale
    assert len({signal.scale for signal in one.values()}) == len(one) - 2
    assert one["0.left.1"].products == ()  # who reads what was joined has its range by itself


@pytest.mark.parametrize("between", [nn.MaxPool2d(2), nn.Sequential(nn.MaxPool2d(2), nn.Identity())])
def test_a_value_is_rounded_before_its_pooling_in_the_scale_of_the_product_behind_it(between):
    net = nn.Sequential(nn.Conv2d(2, 2, 1), between, nn.Conv2d(2, 2, 1)).eval()
    one, last = signals(net, (2, 8, 8))
    assert (one.path, one.side, one.products) == ("0", "out", ("2",))
    assert last.path == "2"


def test_an_average_is_rounded_on_both_sides_where_a_product_reads_it():
    net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)).eval()
    assert [(one.path, one.products) for one in signals(net, (2, 8, 8))] == [("1", ()), ("2", ("4",))]
    assert signals(nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1)).eval(), (2, 8, 8)) == []  # nobody wants it


@pytest.mark.parametrize(("ceil_mode", "sides"), [(False, [("1", "out")]), (True, [("0", "out")])])
def test_an_average_that_the_integer_kernel_gets_wrong_stays_in_floats(ceil_mode, sides):
    pool = nn.AvgPool2d(3, stride=2, ceil_mode=ceil_mode)
    net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), pool, nn.Conv2d(2, 2, 1))
    # With ceil_mode only what the convolution puts out is rounded; its ReLU stands between that and the average.
    assert found(net) == sides


class OneForward(nn.Module):
    """A residual net without modules but its convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(2, 2, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x).relu()
        return self.three((y + self.two(y)).relu())


def test_in_one_long_forward_only_what_convolutions_put_out_is_rounded():
    one = signals(OneForward().eval(), (2, 8, 8))
    assert {(signal.path, signal.side, signal.relu) for signal in one} == {
        ("two", "out", False), ("one", "out", True), ("three", "out", False),
    }  # fmt: skip
    assert len({signal.scale for signal in one}) == 3


class Entered(nn.Module):
    """What goes in comes from no module, and two read it."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Added(nn.ReLU())
        self.last = nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.block(x.abs()))


def test_a_value_of_no_module_is_rounded_on_its_way_into_the_one_that_reads_it():
    assert found(Entered())[0] == ("block", "in")


def test_the_residual_net_rounds_what_each_block_adds_once():
    net = fold(Net.new("resnet", (3, 32, 32), seed=0, depth=8)).module()
    paths = [one.path for one in signals(net, (3, 32, 32))]
    assert paths == [
        "relu", "layer1.0.conv2", "layer1.0.relu2", "layer2.0.conv2", "layer2.0.relu2", "layer3.0.conv2",
        "layer3.0.relu2", "pool",
    ]  # fmt: skip
    assert len(set(paths)) == len(paths)


def test_the_module_is_as_it_was_afterwards():
    net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 2, 1)).eval()
    x = torch.randn(2, 2, 8, 8)
    with torch.no_grad():
        before = net(x)
        signals(net, (2, 8, 8))
        torch.testing.assert_close(net(x), before, rtol=0, atol=0)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())
