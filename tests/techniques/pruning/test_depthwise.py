"""A user's net of depthwise convolutions loses channels by every technique that cuts, and computes the same."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from joulemark import testing
from joulemark.nets import dependencies
from joulemark.nets.dependencies import channel_groups, keep
from joulemark.nets.net import Net
from joulemark.techniques.pruning.channelwise import magnitudes
from joulemark.techniques.pruning.energy_aware_pruning import energy_aware_pruning
from joulemark.techniques.pruning.group_magnitude import group_magnitude, group_norms
from joulemark.techniques.pruning.layerwise import prunable
from joulemark.techniques.pruning.optimal_brain_damage import optimal_brain_damage
from joulemark.techniques.pruning.structured_sparsity import structured_sparsity
from joulemark.techniques.pruning.zero_groups import freeze, remove
from joulemark.vocabulary import TABLES

SHAPE = (1, 28, 28)


def unit(inputs: int, outputs: int, size: int, *, stride: int = 1, groups: int = 1, bias: bool) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=bias)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class Mobile(nn.Module):
    """Pointwise and depthwise convolutions by turns; an inverted residual at the end."""

    def __init__(self, *, bias: bool = False) -> None:
        super().__init__()
        self.stem = unit(1, 8, 3, stride=2, bias=bias)
        self.depth1, self.point1 = unit(8, 8, 3, groups=8, bias=bias), unit(8, 12, 1, bias=bias)
        self.depth2, self.point2 = unit(12, 12, 3, stride=2, groups=12, bias=bias), unit(12, 10, 1, bias=bias)
        self.expand, self.depth3 = unit(10, 20, 1, bias=bias), unit(20, 20, 3, groups=20, bias=bias)
        self.project = unit(20, 10, 1, bias=bias)[:2]
        self.pool, self.flat, self.last = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (rows, 10)."""
        x = self.point2(self.depth2(self.point1(self.depth1(self.stem(x)))))
        return self.last(self.flat(self.pool(x + self.project(self.depth3(self.expand(x))))))


class Beside(nn.Module):
    """What goes into the depthwise convolution is also added to what comes out of it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depth = unit(1, 8, 3, bias=True), unit(8, 8, 3, groups=8, bias=True)
        self.pool, self.flat, self.last = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (rows, 10)."""
        x = self.stem(x)
        return self.last(self.flat(self.pool(x + self.depth(x))))


class Grouped(nn.Module):
    """Grouped, but not depthwise."""

    def __init__(self, *, outputs: int, groups: int) -> None:
        super().__init__()
        self.stem, self.grouped = nn.Conv2d(1, 8, 3), nn.Conv2d(8, outputs, 3, groups=groups)
        self.point, self.last = nn.Conv2d(outputs, 6, 1), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (rows, 10)."""
        return self.last(self.point(self.grouped(self.stem(x).relu()).relu()).relu().mean((2, 3)))


@pytest.fixture(scope="module", autouse=True)
def _known_builders():
    with pytest.MonkeyPatch.context() as patch:
        for net in (Mobile, Beside, Grouped):
            patch.setitem(TABLES["builder"], net.__name__.lower(), f"{__name__}:{net.__name__}")
        yield


def lively(net: Net) -> Net:
    """The net with batch norms that differ from channel to channel, offsets positive so that few units are dead."""
    module, random = net.module(), torch.Generator().manual_seed(2)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor, low, high in (
                (layer.weight.data, 0.5, 1.5), (layer.bias.data, 0.1, 0.5),
                (layer.running_mean, -0.2, 0.2), (layer.running_var, 0.05, 0.2),
            ):  # fmt: skip
                tensor.uniform_(low, high, generator=random)
    return net.with_state(module)


@cache
def mobile(bias: bool) -> Net:
    return lively(Net.new("mobile", SHAPE, seed=0, bias=bias))


@cache
def groups_of(bias: bool):
    return channel_groups(mobile(bias))


def images(rows: int = 4) -> Tensor:
    return torch.rand(rows, *SHAPE, generator=torch.Generator().manual_seed(1))


def same(one: Net, other: Net) -> bool:
    with torch.no_grad():
        return torch.allclose(one.module()(images()), other.module()(images()), atol=1e-4, rtol=1e-4)


def without_channels(net: Net, kept: dict[str, list[int]]) -> Net:
    """The net with zeros, by name, in the filters and batch norms of the layers that each group is made by."""
    makers = {
        "stem.0": ("stem", "depth1"), "point1.0": ("point1", "depth2"), "expand.0": ("expand", "depth3"),
        "point2.0": ("point2", "project"),
    }  # fmt: skip
    state = {name: tensor.clone() for name, tensor in net.state.items()}
    for group, channels in kept.items():
        for layer in makers[group]:
            for name in (f"{layer}.{place}.{end}" for place in (0, 1) for end in ("weight", "bias")):
                if name in state:
                    dead = [c for c in range(len(state[name])) if c not in channels]
                    state[name][dead] = 0.0
    return net.replace(state=state)


def blown_up(small: Net, net: Net) -> Net:
    """The small net's numbers in their places in ``net``, and zeros in all the others."""
    axes = {edit["layer"]: (edit["outputs"], edit["inputs"]) for edit in small.edits}
    assert len(axes) == len(small.edits)
    state = {}
    for name, tensor in net.state.items():
        places = axes.get(name.rpartition(".")[0], (None, None))
        if tensor.dim() == 0 or places == (None, None):
            state[name] = small.state[name]
            continue
        full = torch.zeros_like(tensor)
        indices = [torch.arange(size) if kept is None else torch.tensor(kept)
                   for size, kept in zip(tensor.shape, places, strict=False)]  # fmt: skip
        if name.endswith(".bias") and places[0] is None:
            indices = [torch.arange(len(tensor))]
        full[torch.meshgrid(*indices, indexing="ij")] = small.state[name]
        state[name] = full
    return net.replace(state=state)


@pytest.mark.parametrize("bias", [False, True])
def test_depthwise_layers_are_members_of_the_groups_by_hand(bias):
    found = {group.name: [(m.layer, m.axis) for m in group.members] for group in groups_of(bias)}
    expected = {
        "stem.0": {"stem.0": "outputs", "stem.1": "outputs", "depth1.0": "outputs", "depth1.1": "outputs",
                   "point1.0": "inputs"},
        "point1.0": {"point1.0": "outputs", "point1.1": "outputs", "depth2.0": "outputs", "depth2.1": "outputs",
                     "point2.0": "inputs"},
        "point2.0": {"point2.0": "outputs", "point2.1": "outputs", "project.0": "outputs", "project.1": "outputs",
                     "expand.0": "inputs", "last": "inputs"},
        "expand.0": {"expand.0": "outputs", "expand.1": "outputs", "depth3.0": "outputs", "depth3.1": "outputs",
                     "project.0": "inputs"},
    }  # fmt: skip
    assert list(found) == list(expected)
    for name, members in found.items():
        assert sorted(members) == sorted(expected[name].items())
        assert members[0] == (name, "outputs")


@settings(max_examples=25, deadline=None)
@given(st.data(), st.booleans())
def test_any_channels_that_are_zero_can_be_cut(data, bias):
    net, groups = mobile(bias), groups_of(bias)
    kept = {
        group.name: sorted(data.draw(st.sets(st.integers(0, group.channels - 1), min_size=1), label=group.name))
        for group in groups
    }
    dead = without_channels(net, kept)
    small = keep(dead, kept, groups)
    assert same(small, dead)
    again = Net.from_bytes(small.to_bytes())
    assert torch.equal(again.module()(images()), small.module()(images()))
    for layer, group in (("depth1", "stem.0"), ("depth2", "point1.0"), ("depth3", "expand.0")):
        convolution, size = again.module().get_submodule(f"{layer}.0"), len(kept[group])
        assert (convolution.groups, convolution.in_channels, convolution.out_channels) == (size, size, size)
        assert convolution.weight.shape == (size, 1, 3, 3)


def test_masks_of_filters_and_biases_are_cut_and_a_second_cut_goes_on():
    net, filters = mobile(True), torch.rand(8, 1, 3, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    biases = torch.arange(8) % 2 == 0
    masked = net.replace(masks={"depth1.0.weight": filters, "depth1.0.bias": biases})
    small = keep(keep(masked, {"stem.0": [1, 2, 5, 6]}), {"stem.0": [1, 3]})
    again = Net.from_bytes(small.to_bytes())
    for cut in (small, again):
        assert torch.equal(cut.masks["depth1.0.weight"], filters[[2, 6]])
        assert cut.masks["depth1.0.bias"].tolist() == [True, True]
        assert torch.equal(cut.state["depth1.0.weight"], (net.state["depth1.0.weight"] * filters)[[2, 6]])
    assert torch.equal(again.module()(images()), small.module()(images()))


@pytest.mark.parametrize(("outputs", "groups"), [(8, 2), (8, 4), (16, 4), (4, 4)])
def test_what_is_grouped_and_not_depthwise_stays_whole(outputs, groups):
    net = Net.new("grouped", SHAPE, seed=0, outputs=outputs, groups=groups)
    assert [group.name for group in channel_groups(net)] == ["point"]


@pytest.mark.parametrize("bias", [False, True])
def test_depthwise_weights_count_once_in_every_magnitude(bias):
    net, (stem, *_) = mobile(bias), groups_of(bias)
    w = {name: tensor.double() ** 2 for name, tensor in net.state.items()}
    made = w["stem.0.weight"].sum((1, 2, 3)) + w["depth1.0.weight"].sum((1, 2, 3))
    expected = made + w["stem.1.weight"] + w["depth1.1.weight"] + w["point1.0.weight"].sum((0, 2, 3))
    score = group_norms(net, [stem])["stem.0"].double()
    torch.testing.assert_close(score, expected / expected.mean(), rtol=1e-5, atol=1e-6)

    def behind(name: str) -> Tensor:
        variance = net.state[f"{name}.1.running_var"].double() + 1e-5
        return (w[f"{name}.0.weight"] * (w[f"{name}.1.weight"] / variance).reshape(-1, 1, 1, 1)).double()

    expected = sum(behind(name).sum((1, 2, 3)) for name in ("stem", "depth1")) + behind("point1").sum((0, 2, 3))
    torch.testing.assert_close(magnitudes(stem, prunable(net.module(), net)), expected, rtol=1e-5, atol=1e-6)


TECHNIQUES = {
    "group-magnitude": (group_magnitude, {"sparsity": 0.4}),
    "optimal-brain-damage": (optimal_brain_damage, {"structure": "channels", "sparsity": 0.4, "rounds": 1}),
    "energy-aware-pruning": (
        energy_aware_pruning,
        {"structure": "channels", "energy_share": 0.5, "rounds": 1, "round_to": 1, "images": 100},
    ),
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", TECHNIQUES)
def test_what_a_technique_cuts_computes_what_the_zeroed_net_does(name, bias, tmp_path, monkeypatch):
    monkeypatch.setattr("joulemark.techniques.pruning.energy_aware_pruning.BISECTIONS", 4)  # each asks the model anew
    technique, knobs = TECHNIQUES[name]
    bench = testing.workbench(tmp_path)
    bench.epochs = 0
    net = mobile(bias)
    small = technique(net, bench, **knobs)
    assert same(small, blown_up(small, net))
    cut = {edit["layer"] for edit in small.edits}
    assert cut & {"depth1.0", "depth2.0", "depth3.0"}
    assert small.parameters() < 0.8 * net.parameters()
    again = Net.from_bytes(small.to_bytes())
    assert torch.equal(again.module()(images()), small.module()(images()))


def with_zero_filters(net: Net, zeros: dict[str, list[int]]) -> Net:
    state = {name: tensor.clone() for name, tensor in net.state.items()}
    for layer, channels in zeros.items():
        state[f"{layer}.weight"][channels] = 0.0
    return net.replace(state=state)


@pytest.mark.parametrize("bias", [False, True])
def test_a_channel_is_dead_if_its_filter_or_its_depthwise_filter_is_zero(bias):
    dead = with_zero_filters(mobile(bias), {
        "stem.0": [0], "depth1.0": [3, 4], "depth2.0": [11], "expand.0": [1, 2], "depth3.0": [2, 7],
        "project.0": [5], "point2.0": [6],  # one summand each: these channels live
    })  # fmt: skip
    frozen = freeze(dead, "filters")
    small = remove(frozen, "filters")
    assert same(small, frozen)
    sizes = {group.name: group.channels for group in channel_groups(small)}
    assert sizes == {"stem.0": 8 - 3, "point1.0": 12 - 1, "point2.0": 10, "expand.0": 20 - 3}
    assert small.masks == {}
    again = Net.from_bytes(small.to_bytes())
    assert torch.equal(again.module()(images()), small.module()(images()))
    rounded = remove(frozen, "filters", round_to=4)
    assert same(rounded, frozen)
    assert {g.name: g.channels for g in channel_groups(rounded)} == {
        "stem.0": 8, "point1.0": 12, "point2.0": 10, "expand.0": 20
    }  # fmt: skip


def test_without_offset_and_bias_freezing_and_removing_change_nothing():
    net = mobile(True)
    state = {name: tensor.clone() for name, tensor in net.state.items()}
    for name in ("depth1.0.weight", "depth1.0.bias", "depth1.1.weight", "depth1.1.bias"):
        state[name][[2, 5]] = 0.0
    dead = net.replace(state=state)
    small = remove(freeze(dead, "filters"), "filters")
    assert same(small, dead)
    assert small.module().depth1[0].groups == 6


def test_a_channel_that_is_read_beside_its_depthwise_filter_lives_on():
    net = with_zero_filters(lively(Net.new("beside", SHAPE, seed=0)), {"stem.0": [1], "depth.0": [4, 5]})
    assert [group.name for group in channel_groups(net)] == ["stem.0"]
    frozen = freeze(net, "filters")
    small = remove(frozen, "filters")
    assert small.module().depth[0].groups == 7
    assert same(small, frozen)
    kept = [name for name, mask in frozen.masks.items() if name.startswith("stem.") and not mask[[4, 5]].all()]
    assert kept == []


@pytest.mark.parametrize("groups", ["filters", "filters+channels"])
@pytest.mark.parametrize("bias", [False, True])
def test_structured_sparsity_takes_channels_of_depthwise_layers_away(bias, groups, tmp_path):
    state = {name: tensor.clone() for name, tensor in mobile(bias).state.items()}
    for name, channels in {"depth1.1": [2, 5], "expand.1": [0], "depth3.1": [7]}.items():
        state[f"{name}.weight"][channels] = 1e-4  # short filters, as they run: the first step ends them
    net = mobile(bias).replace(state=state)
    small = structured_sparsity(net, testing.workbench(tmp_path), strength=0.05, groups=groups, update="proximal")
    assert same(small, blown_up(small, net))
    module = small.module()
    assert module.depth1[0].groups <= 6 and module.depth3[0].groups <= 18


def test_the_partial_connections_of_1989_are_in_no_group():
    assert dependencies.channel_groups(Net.new("lenet1989", SHAPE, seed=0)) == []
