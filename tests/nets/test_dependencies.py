"""Groups by hand on nets of known structure; cutting what is zero changes nothing, on every net that we build."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch_pruning import DependencyGraph

from joulemark.nets.dependencies import channel_groups, channel_ties, keep
from joulemark.nets.groups import Member
from joulemark.nets.net import Net
from joulemark.vocabulary import TABLES

CIFAR = (3, 32, 32)


def zeroed(net: Net, kept: dict[str, list[int]]) -> Net:
    """The net with the channels that are not kept at zero, in every tensor that makes or scales them."""
    state = {name: tensor.clone() for name, tensor in net.state.items()}
    for group in channel_groups(net):
        for member in group.members:
            if group.name in kept and member.axis != "inputs":
                places = [p for p, c in zip(member.places, member.channels, strict=True) if c not in kept[group.name]]
                for name, dimension in member.tensors.items():
                    if name in state:
                        state[name].movedim(dimension, 0)[places] = 0.0
    return net.replace(state=state)


def test_groups_of_lenet_by_hand():
    first, second, hidden = channel_groups(Net.new("lenet", (1, 28, 28), seed=0))
    whole = tuple(range(20))
    assert first.members == (
        Member("stage1.conv", "outputs", whole, whole), Member("stage2.conv", "inputs", whole, whole)
    )  # fmt: skip
    flattened = second.members[1]
    assert (flattened.layer, flattened.axis) == ("classifier.hidden", "inputs")
    assert flattened.places == tuple(range(800))
    assert flattened.channels == tuple(place // 16 for place in range(800))  # 4 x 4 places of each channel
    assert [(m.layer, m.axis) for m in hidden.members] == [
        ("classifier.hidden", "outputs"), ("classifier.output", "inputs")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("builder", "shape", "options", "count"),
    [
        ("lenet", (1, 28, 28), {}, 3),
        ("convnet", CIFAR, {"width": 0.5}, 3),
        ("alexnet", CIFAR, {"width": 0.5}, 7),
        ("vgg", CIFAR, {"width": 0.5}, 9),
        ("resnet20", CIFAR, {}, 12),  # 9 inside the blocks, and those of the stream that each stage begins
        ("squeezenet", (3, 64, 64), {"width": 0.25, "classes": 10}, 1 + 8 * 3),
        (
            "squeezenet",
            (3, 64, 64),
            {"width": 0.25, "classes": 10, "bypass": "complex"},
            1 + 8 + 8,
        ),  # sums tie expand filters
    ],
)
def test_what_is_zero_can_be_cut_from_every_net(builder, shape, options, count):
    net = Net.new(builder, shape, seed=0, **options)
    groups = channel_groups(net)
    random = torch.Generator().manual_seed(1)
    kept = {}
    for group in groups:
        order = torch.randperm(group.channels, generator=random)[: max(1, group.channels // 3)]
        kept[group.name] = sorted(order.tolist())
    dead = zeroed(net, kept)
    cut = keep(dead, kept, groups)
    rows = torch.rand(4, *shape, generator=random)
    assert torch.allclose(cut.module()(rows), dead.module()(rows), atol=1e-4)
    assert cut.parameters() < 0.7 * net.parameters()
    again = Net.from_bytes(cut.to_bytes())
    assert torch.equal(again.module()(rows), cut.module()(rows))
    assert len(groups) == count


def test_masks_are_cut_with_their_weights():
    net = Net.new("lenet", (1, 28, 28), seed=0)
    mask = torch.rand(50, 20, 5, 5) < 0.5
    cut = keep(net.replace(masks={"stage2.conv.weight": mask}), {"stage1.conv": [3, 5], "stage2.conv": [0, 7, 9]})
    assert torch.equal(cut.masks["stage2.conv.weight"], mask[[0, 7, 9]][:, [3, 5]])
    assert torch.equal(cut.state["stage2.conv.weight"], (net.state["stage2.conv.weight"] * mask)[[0, 7, 9]][:, [3, 5]])


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ({"stage9.conv": [0]}, "no group of channels is called 'stage9.conv'; there are stage1.conv, stage2.conv"),
        ({"stage1.conv": []}, "channels 0 to 19: keep some of them, each once"),
        ({"stage1.conv": [1, 1]}, "channels 0 to 19"),
        ({"stage1.conv": [20]}, "channels 0 to 19"),
    ],
)
def test_cuts_that_do_not_fit_are_one_sentence(kept, words):
    with pytest.raises(ValueError, match=words):
        keep(Net.new("lenet", (1, 28, 28), seed=0), kept)


class Picky(nn.Module):
    """A user's net that looks its sizes up, and has a weight in no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3), nn.Linear(6, 10)
        self.gain = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (rows, 10)."""
        x = self.first(x).relu()
        x = self.second(x * {4: 1.0}[x.shape[1]]).relu().mean((2, 3))
        return self.last(x) * self.gain.mean()


class Gated(nn.Module):
    """The halves of one convolution are parted and multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(1, 8, 3), nn.Conv2d(4, 6, 3), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (rows, 10)."""
        values, gate = self.first(x).chunk(2, 1)
        return self.last(self.second(values * gate.sigmoid()).relu().mean((2, 3)))


@pytest.mark.parametrize(("net", "groups"), [(Picky, {"second": 6}), (Gated, {"first": 4, "second": 6})])
def test_channels_that_users_nets_count_on_are_in_no_group_and_gates_go_with_what_they_gate(net, groups, monkeypatch):
    monkeypatch.setitem(TABLES["builder"], "theirs", f"{__name__}:{net.__name__}")
    theirs = Net.new("theirs", (1, 8, 8), seed=0)
    assert {group.name: group.channels for group in channel_groups(theirs)} == groups
    rows = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    assert keep(theirs, {name: [0, 3] for name in groups}).module()(rows).shape == (2, 10)


@pytest.mark.parametrize(
    ("builder", "options"),
    [("lenet", {}), ("convnet", {"width": 0.5}), ("alexnet", {"width": 0.5}), ("vgg", {"width": 0.5}),
     ("inception", {}), ("squeezenet", {"width": 0.25})],
)  # fmt: skip
def test_groups_are_those_that_another_library_finds_by_rules_for_operators(builder, options):
    shape = (1, 28, 28) if builder == "lenet" else (3, 64, 64) if builder == "squeezenet" else CIFAR
    net = Net.new(builder, shape, seed=0, **options)
    module = net.module().requires_grad_()
    paths = {layer: path for path, layer in module.named_modules()}
    graph = DependencyGraph().build_dependency(module, example_inputs=torch.zeros(1, *shape))
    for group in channel_groups(net):
        layer = module.get_submodule(group.name)
        theirs = set()
        for item in graph.get_pruning_group(
            layer, graph.get_pruner_of_module(layer).prune_out_channels, list(range(group.channels))
        ):
            axis = "inputs" if item.dep.handler.__name__ == "prune_in_channels" else "outputs"
            if item.dep.target.module in paths and hasattr(item.dep.target.module, "weight"):
                pairs = zip(item.idxs, item.root_idxs, strict=True)
                theirs |= {(paths[item.dep.target.module], axis, place, channel) for place, channel in pairs}
        ours = {
            (member.layer, member.axis, place, channel)
            for member in group.members
            for place, channel in zip(member.places, member.channels, strict=True)
        }
        assert ours == theirs


def test_masks_of_biases_are_cut_too():
    net = Net.new("lenet", (1, 28, 28), seed=0)
    mask = torch.arange(20) % 2 == 0
    cut = keep(net.replace(masks={"stage1.conv.bias": mask}), {"stage1.conv": [3, 4, 6]})
    assert cut.masks["stage1.conv.bias"].tolist() == [False, True, True]
    assert cut.module()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_a_net_of_nan_is_one_sentence():
    net = Net.new("lenet", (1, 28, 28), seed=0, width=0.2)
    state = {**net.state, "classifier.output.weight": torch.full_like(net.state["classifier.output.weight"], torch.nan)}
    with pytest.raises(ValueError, match="numbers that are not finite"):
        channel_groups(net.replace(state=state))


class Odd(nn.Module):
    """A plain net, to be made odd in one place."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.f = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 6, 3), nn.Linear(6, 10)

    def head(self, x: Tensor) -> Tensor:
        return self.f(self.b(x).relu().mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (rows, 10)."""
        return self.head(self.a(x).relu())


class WithAHeadForTraining(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.aux = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """In evaluation nothing runs through ``aux``."""
        x = self.a(x).relu()
        if self.training:
            self.aux(x)
        return self.head(x)


class Frozen(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.a.requires_grad_(False)


class Masked(Odd):
    """A map of one channel multiplies all."""

    def __init__(self) -> None:
        super().__init__()
        self.m = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        return self.head(x * self.m(x).sigmoid())


class Partial(Odd):
    """A convolution on the first half of the channels, as in FasterNet."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first, rest = self.a(x).relu().split([4, 4], 1)
        return self.head(torch.cat([self.p(first), rest], 1))


class Named(Odd):
    """Outputs in a dictionary."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return {"logits": super().forward(x)}


class Tied(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.c = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, padding=1)
        self.d = nn.Conv2d(8, 8, 3, padding=1)
        self.d.weight = self.c.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.d(self.c(self.a(x).relu()).relu()).relu())


class Neighbours(Odd):
    """A norm over neighbouring channels, as Caffe's nets have it on pixels up to 255."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        return self.head(nn.functional.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0))


class BehindAnOffset(Odd):
    """What the other channels change is small beside a constant."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        x = nn.functional.local_response_norm(x, 5, alpha=1e-2, beta=0.75, k=1.0)
        return self.head(x) + torch.linspace(-3e2, 3e2, 10)


class Transposed(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.up(self.a(x).relu()))


def ties_of(net: type[nn.Module], monkeypatch) -> tuple[Net, set[str], dict[str, str]]:
    monkeypatch.setitem(TABLES["builder"], "theirs", f"{__name__}:{net.__name__}")
    theirs = Net.new("theirs", (1, 9, 9), seed=0)
    ties = channel_ties(theirs)
    return theirs, {group.name for group in ties.groups}, ties.whole


@pytest.mark.parametrize(
    ("net", "groups", "whole"),
    [
        (Odd, {"a", "b"}, {"f": "its outputs are those of the net"}),
        (Frozen, {"a", "b"}, {"f": "its outputs are those of the net"}),
        (WithAHeadForTraining, {"b"}, {"aux": "nothing runs through it when the net answers"}),
        (Masked, {"a", "b"}, {"m": "it has a single channel"}),
        (Partial, {"p", "b"}, {"a": "the net does not run with fewer of its channels"}),
        (Named, {"a", "b"}, {}),
        (
            Tied,
            {"b"},
            {
                "c": "'c' shares its weights with another layer, or has two names",
                "d": "'d' shares its weights with another layer, or has two names",
            },
        ),
        (Neighbours, {"b"}, {"a": "all its channels are tied to each other"}),
        (BehindAnOffset, {"b"}, {"a": "all its channels are tied to each other"}),
        (Transposed, {"a", "up", "b"}, {}),
    ],
)
def test_one_odd_layer_is_left_whole_with_a_reason_and_the_rest_is_found(net, groups, whole, monkeypatch):
    theirs, found, left = ties_of(net, monkeypatch)
    assert groups <= found
    assert whole.items() <= left.items()
    layers = {path for path, layer in theirs.module().named_modules() if isinstance(layer, (nn.Conv2d, nn.Linear))}
    members = {member.layer for group in channel_groups(theirs) for member in group.members if member.axis == "outputs"}
    assert layers <= members | set(left)  # nothing is left out in silence
    small = keep(theirs, {"b": [0, 1, 4]})
    assert small.parameters() < theirs.parameters()


@pytest.mark.parametrize("scale", [1.0, 50.0, 128.0, 255.0])
@pytest.mark.parametrize("net", [Odd, Masked, Partial, Neighbours, BehindAnOffset])
def test_zero_channels_of_what_is_offered_can_go_at_any_size_of_inputs(net, scale, monkeypatch):
    theirs, groups, _ = ties_of(net, monkeypatch)
    kept = {
        name: list(range(0, group.channels, 2)) for group in channel_groups(theirs) if (name := group.name) in groups
    }
    empty = zeroed(theirs, kept)
    x = scale * torch.randn(6, 1, 9, 9, generator=torch.Generator().manual_seed(3))
    before, after = empty.module()(x), keep(empty, kept).module()(x)
    change = (before - before.mean(0)).abs().max()
    assert (before - after).abs().max() <= 1e-3 * change


class OneNumber(Odd):
    """Outputs of one number a row, and a class beside it."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        logits = super().forward(x)
        return logits.sum(1), logits.argmax(1)


def test_outputs_of_any_shape_and_kind_can_be_held_against_each_other(monkeypatch):
    _, groups, _ = ties_of(OneNumber, monkeypatch)
    assert groups == {"a", "b"}
