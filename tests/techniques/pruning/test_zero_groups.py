"""Nets with zero groups against the smaller nets made of them, and hand-made zeros."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from joulemark.nets.dependencies import channel_groups
from joulemark.nets.edits.edit import replay
from joulemark.nets.layers.lowered import LoweredConv2d
from joulemark.nets.net import Net
from joulemark.techniques.pruning.magnitude import prune
from joulemark.techniques.pruning.zero_groups import alive, freeze, group_axes, remove, residual_blocks, rounded, shapes
from joulemark.training import fit, sgd
from joulemark.vocabulary import TABLES

CIFAR = (3, 32, 32)


def with_zeros(net: Net, groups: str) -> Net:
    """About half of all groups set to zero."""
    random = torch.Generator().manual_seed(0)
    state = {name: tensor.clone() for name, tensor in net.state.items()}
    for tensor in state.values():
        if tensor.dim() == 4:
            for kind in groups.split("+"):
                if kind == "channels" and tensor.shape[1] <= 3:
                    continue
                shape = [1 if axis in group_axes(tensor, kind) else size for axis, size in enumerate(tensor.shape)]
                tensor *= torch.rand(shape, generator=random) < 0.6
        elif tensor.is_floating_point():  # batch norms with an offset, which a zero filter lets through
            tensor += 0.3
    return net.replace(state=state)


@pytest.mark.parametrize("groups", ["filters", "filters+channels", "shapes"])
@pytest.mark.parametrize(
    ("builder", "shape"), [("lenet", (1, 28, 28)), ("alexnet", CIFAR), ("resnet20", CIFAR), ("squeezenet", (3, 64, 64))]
)
def test_the_smaller_net_computes_what_the_frozen_one_does(builder, shape, groups):
    net = with_zeros(Net.new(builder, shape, seed=0, width=0.5), groups)
    frozen = freeze(net, groups)
    small = remove(frozen, groups)
    rows = torch.rand(3, *shape)
    expected = frozen.module()(rows).detach()
    assert torch.allclose(small.module()(rows), expected, atol=1e-4 * float(expected.abs().max()))
    assert small.masks == {}
    assert small.parameters() < net.parameters()
    if groups == "filters+channels" and builder != "resnet20":
        for group, before in zip(channel_groups(small), channel_groups(net), strict=True):
            linear = f"{group.name}.weight" in net.state and net.state[f"{group.name}.weight"].dim() == 2
            assert group.channels < before.channels or linear
    assert torch.equal(Net.from_bytes(small.to_bytes()).module()(rows), small.module()(rows))


@pytest.mark.parametrize("groups", ["filters", "shapes", "depth"])
def test_zeros_of_a_technique_before_stay_frozen_in_the_smaller_net(groups):
    net = prune(with_zeros(Net.new("resnet20", CIFAR, seed=0, width=0.5), "filters"), 0.7)
    if groups == "depth":
        net = net.replace(state={n: t * (not n.startswith("layer2.1.conv")) for n, t in net.state.items()})
    small = remove(freeze(net, groups), groups, masks=net.masks)
    assert small.edits and set(small.masks) <= set(net.masks)
    module = small.module()
    assert all(torch.equal(module.get_parameter(name) != 0, mask) for name, mask in small.masks.items())
    left = {f"{p}.weight" for p, m in module.named_modules() if isinstance(m, nn.Conv2d | nn.Linear | LoweredConv2d)}
    assert set(small.masks) == left


def test_shapes_leave_convolutions_alone_that_cannot_be_lowered():
    net = Net.new("lenet1989", (1, 28, 28), seed=0)
    dead = with_zeros(net, "shapes")
    small = remove(freeze(dead, "shapes"), "shapes")
    rows = torch.rand(2, 1, 28, 28)
    assert torch.allclose(small.module()(rows), freeze(dead, "shapes").module()(rows), atol=1e-5)
    circular = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"))
    with pytest.raises(ValueError, match="no convolution that can be lowered"):
        replay(circular, ({"edit": "lower_columns", "layer": "0", "columns": [0]},))


def test_what_is_left_of_each_convolution_by_hand():
    net = Net.new("lenet", (1, 28, 28), seed=0)
    state = {name: tensor.clone() for name, tensor in net.state.items()}
    state["stage1.conv.weight"][5:] = 0.0
    state["stage2.conv.weight"][19:] = 0.0
    dead = net.replace(state=state)
    small = remove(freeze(dead, "filters"), "filters")
    assert shapes(net, small) == {
        "stage1.conv": {"before": [20, 1, 5, 5], "after": [5, 1, 5, 5], "macs_share": 0.25},
        "stage2.conv": {"before": [50, 20, 5, 5], "after": [19, 5, 5, 5], "macs_share": 0.095},
    }


def test_frozen_zeros_stay_zero_in_training_and_nothing_else_is_frozen():
    frozen = freeze(with_zeros(Net.new("lenet", (1, 28, 28), seed=0, width=0.2), "filters"), "filters")
    module = frozen.module(formats=False)
    dead = ~module.stage2.conv.weight.detach().flatten(1).any(1)
    fit(module, torch.rand(32, 1, 28, 28), torch.arange(32) % 10, epochs=2, batch_size=8, seed=0, optimiser=sgd(0.1),
        masks=frozen.masks)  # fmt: skip
    weight, bias = module.stage2.conv.weight.detach(), module.stage2.conv.bias.detach()
    assert dead.any() and not weight[dead].any() and not bias[dead].any()
    assert weight[~dead].all() and bias[~dead].all()


def test_dead_blocks_are_bypassed():
    net = Net.new("resnet", CIFAR, seed=0, depth=14)
    blocks = residual_blocks(net.module())
    assert blocks == [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1)]
    state = {
        name: torch.zeros_like(t) if t.dim() == 4 and name.startswith(("layer1.1.", "layer3.0.")) else t + 0.1
        for name, t in net.state.items()
        if not name.endswith("num_batches_tracked")
    }
    dead = net.replace(state={**net.state, **state})
    frozen = freeze(dead, "depth")
    small = remove(frozen, "depth")
    assert [edit["block"] for edit in small.edits] == ["layer1.1", "layer3.0"]
    rows = torch.rand(2, *CIFAR)
    assert torch.allclose(small.module()(rows), frozen.module()(rows), atol=1e-4)
    assert len(residual_blocks(small.module())) == 4


def zeroed(net: Net, **places) -> Net:
    """The net with zeros in these places of its tensors; "__" stands for the dots of a name."""
    state = {name: tensor.clone() for name, tensor in net.state.items()}
    for name, place in places.items():
        state[name.replace("__", ".")][place] = 0.0
    return net.replace(state=state)


def test_what_is_left_of_a_bypassed_block_is_nothing():
    net = Net.new("resnet", CIFAR, seed=0, depth=8)
    dead = zeroed(net, layer2__0__conv1__weight=..., layer2__0__conv2__weight=...)
    found = shapes(net, remove(freeze(dead, "depth"), "depth"))
    assert {path: one["macs_share"] for path, one in found.items()} == {
        path: float(not path.startswith("layer2.0.")) for path in found
    }
    assert found["layer2.0.conv1"]["after"] == [0]


def test_a_block_with_one_convolution_left_is_not_dead():
    net = zeroed(Net.new("resnet", CIFAR, seed=0, depth=8), layer2__0__conv1__weight=...)
    frozen = freeze(net, "depth")
    assert all(mask.all() for mask in frozen.masks.values())
    assert remove(frozen, "depth").edits == ()


def test_every_parameter_of_a_dead_block_is_held_at_zero():
    net = Net.new("resnet", CIFAR, seed=0, depth=8)
    frozen = freeze(zeroed(net, layer1__0__conv1__weight=..., layer1__0__conv2__weight=...), "depth")
    held = {name for name, mask in frozen.masks.items() if not mask.any()}
    assert held == {name for name, _ in net.module().named_parameters() if name.startswith("layer1.0.")}
    assert all(frozen.masks[name].all() for name in frozen.masks.keys() - held)


@pytest.mark.parametrize("groups", ["filters", "filters+channels", "shapes", "depth"])
def test_a_net_without_zeros_stays_as_it_is(groups):
    net = Net.new("resnet", CIFAR, seed=0, depth=8)
    frozen = freeze(net, groups)
    assert all(mask.all() for mask in frozen.masks.values())
    small = remove(frozen, groups)
    assert small.edits == ()
    assert small.hash == net.hash


def test_a_single_zero_is_no_group():
    frozen = freeze(
        zeroed(Net.new("lenet", (1, 28, 28), seed=0), stage2__conv__weight=(0, 0, 0, 0)), "filters+channels"
    )
    assert all(mask.all() for mask in frozen.masks.values())


def test_zeros_that_were_frozen_before_stay_frozen():
    net = zeroed(Net.new("lenet", (1, 28, 28), seed=0), stage2__conv__weight=[7])
    before = torch.ones(50, 20, 5, 5, dtype=torch.bool)
    before[3, 4] = False
    mask = freeze(net.replace(masks={"stage2.conv.weight": before}), "filters").masks["stage2.conv.weight"]
    expected = before.clone()
    expected[7] = False
    assert torch.equal(mask, expected)


def test_a_convolution_of_zeros_alone_is_not_lowered():
    """A product over no columns is none: the layer stays, and is all zeros."""
    net = zeroed(Net.new("lenet", (1, 28, 28), seed=0), stage1__conv__weight=..., stage2__conv__weight=(..., 0))
    small = remove(freeze(net, "shapes"), "shapes")
    assert [edit["layer"] for edit in small.edits] == ["stage2.conv"]
    rows = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(small.module()(rows), net.module()(rows), rtol=1e-4, atol=1e-5)


def test_a_net_of_zeros_keeps_a_channel():
    net = zeroed(Net.new("lenet", (1, 28, 28), seed=0), stage1__conv__weight=..., stage1__conv__bias=...)
    small = remove(freeze(net, "filters"), "filters")
    assert small.module().stage1.conv.out_channels == 1


def test_channels_are_kept_in_multiples():
    net = zeroed(Net.new("lenet", (1, 28, 28), seed=0), stage1__conv__weight=range(7, 20), stage1__conv__bias=...)
    sizes = [remove(net, "filters", round_to=size).module().stage1.conv.out_channels for size in (1, 4, 16, 64)]
    assert sizes == [7, 8, 16, 20]


def test_a_channel_lives_if_anything_makes_it_and_anything_reads_it():
    net = zeroed(
        Net.new("alexnet", CIFAR, seed=0, width=0.25),
        stage1__conv1__weight=[0, 1, 2], stage1__bn1__weight=[1, 3], stage2__conv1__weight=(slice(None), [4]),
    )  # fmt: skip
    module = net.module()
    with torch.no_grad():
        module.stage1.bn1.bias[:4] = torch.tensor([0.5, 0.5, 0.0, 0.0])
    (group,) = [one for one in channel_groups(net) if one.name == "stage1.conv1"]
    made_and_read = alive(module, group, CIFAR)
    # 0 and 1 have no filter but an offset or a scale behind it, 2 a scale alone, 3 a filter; nothing reads 4.
    assert made_and_read.tolist() == [True, True, True, True, False, True, True, True]


@pytest.mark.parametrize(("alive", "round_to", "count"), [(5, 1, 5), (5, 4, 8), (8, 4, 8), (9, 8, 10), (0, 1, 1)])
def test_kept_channels_are_rounded_up_and_never_more_than_there_are(alive, round_to, count):
    mask = torch.arange(10) >= 10 - alive
    kept = rounded(mask, round_to)
    assert len(kept) == count
    assert set(mask.nonzero()[:, 0].tolist()) <= set(kept)


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 12))
def test_no_fewer_channels_would_do(flags, round_to):
    kept = rounded(torch.tensor(flags), round_to)
    assert kept == sorted(set(kept))
    assert {place for place, lives in enumerate(flags) if lives} <= set(kept) <= set(range(len(flags)))
    assert len(kept) == len(flags) or len(kept) % round_to == 0
    assert len(kept) < round_to + max(1, sum(flags))


class Foreign(nn.Module):
    """Two convolutions with something of the net's own between them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.h = nn.Conv2d(1, 12, 3), nn.Conv2d(12, 8, 3), nn.Linear(8, 10)

    def between(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.h(self.b(self.between(self.a(x).relu())).relu().mean((2, 3)))


class Scaled(Foreign):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.linspace(0.5, 1.5, 12).view(12, 1, 1))

    def between(self, x: Tensor) -> Tensor:
        return self.gamma * x


class Offset(Foreign):
    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.linspace(0.5, 1.5, 12).view(12, 1, 1))

    def between(self, x: Tensor) -> Tensor:
        return x + self.offset


class OffsetInABuffer(Foreign):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("offset", torch.linspace(0.5, 1.5, 12).view(12, 1, 1))

    def between(self, x: Tensor) -> Tensor:
        return x + self.offset


class MadeTwice(Foreign):
    """A convolution with weights of the net's own makes the same channels, and a norm is behind both."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.n = nn.Parameter(torch.rand(12, 12, 1, 1)), nn.BatchNorm2d(12)
        self.other = nn.Parameter(torch.rand(12, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.n(self.a(x) + nn.functional.conv2d(x, self.other)).relu()
        return self.h(self.b(y).relu().mean((2, 3)))


class PReLUs(Foreign):
    def __init__(self) -> None:
        super().__init__()
        self.p = nn.PReLU(12)

    def between(self, x: Tensor) -> Tensor:
        return self.p(x - 1.0 + 1.0)


class PlainNorm(Foreign):
    """A norm without scales takes a mean off, of a filter of zeros too."""

    def __init__(self) -> None:
        super().__init__()
        self.n = nn.BatchNorm2d(12, affine=False)
        self.n.running_mean.fill_(0.7)

    def between(self, x: Tensor) -> Tensor:
        return self.n(x)


class Doubles(Foreign):
    def __init__(self) -> None:
        super().__init__()
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.double())


@pytest.mark.parametrize(
    ("kind", "left"),
    [(Foreign, 8), (Scaled, 8), (PReLUs, 8), (Doubles, 8), (Offset, 12), (OffsetInABuffer, 12), (MadeTwice, 12),
     (PlainNorm, 12)],
)  # fmt: skip
def test_what_scales_makes_nothing_of_zero_and_what_is_added_does(kind, left, monkeypatch):
    monkeypatch.setitem(TABLES["builder"], "theirs", f"{__name__}:{kind.__name__}")
    net = zeroed(Net.new("theirs", (1, 12, 12), seed=0), a__weight=range(4), a__bias=range(4))
    x = torch.randn(4, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    before = net.module()(x)
    frozen = freeze(net, "filters")
    torch.testing.assert_close(frozen.module()(x), before)
    small = remove(frozen, "filters")
    torch.testing.assert_close(small.module()(x), before, rtol=1e-4, atol=1e-6)
    assert small.module().a.out_channels == left


class ReadByItsLength(Foreign):
    def __init__(self) -> None:
        super().__init__()
        self.g = nn.Conv2d(1, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).relu()
        return self.h((self.b(y) + self.g(y.norm(dim=1, keepdim=True))).relu().mean((2, 3)))


def test_a_channel_that_is_read_as_part_of_a_whole_lives(monkeypatch):
    monkeypatch.setitem(TABLES["builder"], "theirs", f"{__name__}:ReadByItsLength")
    net = zeroed(Net.new("theirs", (1, 12, 12), seed=0), a__weight=[5], a__bias=[5], b__weight=(slice(None), range(4)))
    x = torch.randn(4, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    small = remove(net, "filters+channels")
    assert small.module().a.out_channels == 11  # without 5; nothing but the length reads 0 to 3
    torch.testing.assert_close(small.module()(x), net.module()(x), rtol=1e-4, atol=1e-6)
