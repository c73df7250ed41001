"""A folded net computes the same with fewer numbers, saved and read as well."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark.nets.folding import fold
from joulemark.nets.header import Exit, Route
from joulemark.nets.net import Net
from joulemark.vocabulary import TABLES


def settled(builder: str, shape: tuple[int, ...], seed: int = 0, **options) -> Net:
    """A net whose batch norms have statistics and scales that are not the initial ones."""
    net = Net.new(builder, shape, seed=seed, **options)
    module, random = net.module(), torch.Generator().manual_seed(seed)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(generator=random)
            norm.running_var.uniform_(0.3, 2.0, generator=random)
            norm.weight.data.uniform_(-1.5, 1.5, generator=random)
            norm.bias.data.normal_(generator=random)
    return net.with_state(module)


def logits(net: Net, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return net.module()(x)


@pytest.mark.parametrize(
    ("builder", "options"),
    [("resnet", {"depth": 8, "width": 0.5}), ("convnet", {}), ("alexnet", {"width": 0.5}), ("vgg", {"width": 0.25})],
)
def test_a_folded_net_computes_the_same(builder, options):
    net, x = settled(builder, (3, 32, 32), **options), torch.randn(4, 3, 32, 32)
    folded = fold(net)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.module().modules())
    channels = sum(m.num_features for m in net.module().modules() if isinstance(m, nn.BatchNorm2d))
    assert net.parameters() - folded.parameters() == channels
    torch.testing.assert_close(logits(folded, x), logits(net, x), rtol=1e-3, atol=1e-4)
    again = Net.from_bytes(folded.to_bytes())
    assert again.hash == folded.hash
    assert torch.equal(logits(again, x), logits(folded, x))
    assert fold(folded).hash == folded.hash


def signal() -> nn.Module:
    """A net of windows of six channels, its batch norms with statistics that are not the initial ones."""
    net = nn.Sequential(
        nn.Conv1d(6, 8, 5, padding=2, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(8, 8, 3, groups=8), nn.BatchNorm1d(8), nn.ReLU(), nn.Flatten(), nn.Linear(384, 3),
    )  # fmt: skip
    for norm in (net[1], net[5]):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.3, 2.0)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return net


def test_a_folded_net_of_signals_computes_the_same(monkeypatch):
    monkeypatch.setitem(TABLES["builder"], "signal", f"{__name__}:signal")
    net, x = Net.new("signal", (6, 100), seed=0), torch.randn(4, 6, 100)
    folded = fold(net)
    assert not any(isinstance(m, nn.BatchNorm1d) for m in folded.module().modules())
    right = net.module().double()(x.double()).detach()
    torch.testing.assert_close(folded.module().double()(x.double()).detach(), right, rtol=1e-5, atol=1e-6)
    assert Net.from_bytes(folded.to_bytes()).hash == folded.hash


def test_masks_stay_and_zeros_stay_zero():
    net = settled("convnet", (3, 32, 32), width=0.25)
    mask = torch.rand(net.state["stage2.conv1.weight"].shape, generator=torch.Generator().manual_seed(0)) < 0.5
    net = net.replace(masks={"stage2.conv1.weight": mask, "stage2.bn1.bias": torch.zeros(8, dtype=torch.bool)})
    folded, x = fold(net), torch.randn(2, 3, 32, 32)
    assert set(folded.masks) == {"stage2.conv1.weight"}
    assert not folded.module().get_parameter("stage2.conv1.weight")[~mask].any()
    torch.testing.assert_close(logits(folded, x), logits(net, x), rtol=1e-3, atol=1e-4)


def test_exits_and_parts():
    small, large = (settled("convnet", (3, 32, 32), seed=n, width=w) for n, w in ((1, 0.25), (2, 0.5)))
    exits = (Exit(after="stage1", router="exactly-one", threshold=0.3, features=2048, classes=10),)
    head = {"exits.stage1.1.weight": torch.randn(10, 2048) / 50, "exits.stage1.1.bias": torch.zeros(10)}
    routed = small.replace(route=Route(kind="exits", exits=exits), state={**small.state, **head})
    route = Route(
        kind="cascade", order=("a", "b"), exits=(Exit(after="a", router="exactly-one", threshold=0.3),)
    )  # fmt: skip
    cascade = Net(builder="convnet", input_shape=(3, 32, 32), route=route, parts={"a": small, "b": large})
    x = torch.randn(8, 3, 32, 32)
    for net in (routed, cascade):
        folded = fold(net)
        assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.module().modules())
        for one, other in zip(folded.module().forward_all(x), net.module().forward_all(x), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_net_without_batch_norm_comes_back_as_it_is():
    net = Net.new("lenet", (1, 28, 28), seed=0, width=0.1)
    assert fold(net) is net


class TiedBias(nn.Module):
    """Two convolutions share a bias; a batch norm stands behind the first."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.d, self.n = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.d.bias = self.c.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.d(self.n(self.c(x)).relu()).mean((2, 3))


class TiedNorm(TiedBias):
    """A batch norm runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.d = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.n(self.d(self.n(self.c(x)).relu())).mean((2, 3))


class BiasReadElsewhere(TiedBias):
    """A bias is read by the net itself, too."""

    def __init__(self) -> None:
        super().__init__()
        self.d = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.d(self.n(self.c(x)).relu()).mean((2, 3)) + self.c.bias


@pytest.mark.parametrize("made", [TiedBias, TiedNorm, BiasReadElsewhere])
def test_what_layers_share_is_not_folded_away(made, monkeypatch):
    monkeypatch.setitem(TABLES["builder"], "theirs", f"{__name__}:{made.__name__}")
    net = Net.new("theirs", (3, 8, 8), seed=0)
    state = {name: tensor.clone() for name, tensor in net.state.items()}
    state |= {"n.running_mean": torch.full((3,), 0.5), "n.running_var": torch.full((3,), 2.0), "n.bias": torch.ones(3)}
    net = net.replace(state=state)
    x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(logits(fold(net), x), logits(net, x), rtol=1e-4, atol=1e-5)
    assert fold(net).parameters() == net.parameters()


class TwoNames(nn.Module):
    """A convolution and its batch norm stand in the net a second time, in a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.n = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)
        self.net = nn.Sequential(self.c, self.n)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x).mean((2, 3))


def test_a_layer_under_two_names_is_not_folded_under_one_of_them(monkeypatch):
    monkeypatch.setitem(TABLES["builder"], "theirs", f"{__name__}:TwoNames")
    net = Net.new("theirs", (3, 8, 8), seed=0)
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(logits(fold(net), x), logits(net, x))
