"""Order, target and frozen zeros on a real workbench; the rebuilt weights against least squares done by hand."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from joulemark import testing
from joulemark.energy.model import energy_model
from joulemark.nets.dependencies import channel_groups
from joulemark.record import LayerEnergy
from joulemark.techniques.pruning import energy_aware_pruning as eap
from joulemark.techniques.pruning import magnitude
from joulemark.techniques.pruning.channelwise import magnitudes, taken_out
from joulemark.techniques.pruning.layerwise import Layer, prunable
from joulemark.techniques.pruning.reconstruction import largest
from joulemark.techniques.technique import TechniqueError

IMAGES = 200


@functools.cache
def bench():
    return testing.workbench("memory://energy-aware-pruning")


@functools.cache
def dense_joules():
    return bench().energy(testing.baseline()).joules.value


@functools.cache
def pruned(share=0.5):
    return eap.prune(testing.baseline(), bench(), share * dense_joules(), IMAGES)


def joules(net):
    return bench().energy(net).joules.value


def test_it_is_a_technique():
    testing.check_technique(eap.energy_aware_pruning, knobs={"rounds": 2, "images": 64})


def test_the_order_is_that_of_the_energies():
    parts = {"small": [1.0], "twice": [2.0, 2.5], "large": [4.0], "odd": [9.0]}
    layers = tuple(
        LayerEnergy(layer=name, operator="conv", joules={"DRAM": one / 2, "MAC": one / 2}, macs=1.0)
        for name, ones in parts.items()
        for one in ones
    )
    report = SimpleNamespace(layers=layers, joules=SimpleNamespace(value=17.5))
    assert eap.by_layer(report) == {"small": 1.0, "twice": 4.5, "large": 4.0, "odd": 9.0}
    assert eap.ordered(report, dict.fromkeys(["small", "unknown", "large", "twice"])) == [
        "twice", "large", "small", "unknown",
    ]  # fmt: skip


def test_every_round_asks_for_the_order_anew(monkeypatch):
    """The layers are rebuilt in the order of the energies that the net of that round has."""
    rebuilt, expected, energies = [], [], []
    real, ordered = Layer.rebuild, eap.ordered

    def rebuild(self, sums, count):
        rebuilt.append(self.layer.weight.shape)
        return real(self, sums, count)

    def spied(report, layers):
        order = ordered(report, layers)
        joules = eap.by_layer(report)
        energies.append(report.joules.value)
        assert [joules[path] for path in order] == sorted(joules.values(), reverse=True)
        expected.extend(layers[path].layer.weight.shape for path in order)
        return order

    monkeypatch.setattr(Layer, "rebuild", rebuild)
    monkeypatch.setattr(eap, "ordered", spied)
    eap.energy_aware_pruning(testing.baseline(), testing.workbench("memory://order"), rounds=2, images=64)
    assert rebuilt == expected
    assert energies[0] == pytest.approx(dense_joules())
    assert energies[1] < 0.8 * energies[0]


@pytest.mark.parametrize("share", [0.7, 0.5, 0.3])
def test_the_target_is_met(share):
    assert joules(pruned(share)) / dense_joules() == pytest.approx(share, abs=0.06)


def test_below_what_zeros_can_reach_no_layer_is_emptied():
    least, less = pruned(0.001), pruned(0.0001)
    assert {name: int(mask.sum()) for name, mask in least.masks.items()} == {
        name: int(mask.sum()) for name, mask in less.masks.items()
    }
    assert all(int(mask.sum()) >= len(mask) for mask in least.masks.values())  # one weight a filter, on average


def test_an_energy_model_that_sees_no_gain_in_zeros_is_refused():
    other = testing.workbench("memory://data sheet")
    other.model = energy_model("datasheet")
    with pytest.raises(TechniqueError, match=r"the model datasheet.* sees no gain in weights that are zero"):
        eap.prune(testing.baseline(), other, 1e-9, IMAGES)


def inputs_of(module, path):
    found = []
    handle = module.get_submodule(path).register_forward_pre_hook(lambda _, args: found.append(args[0]))
    with torch.no_grad():
        for batch in eap._first(bench(), IMAGES):
            module(batch)
    handle.remove()
    return torch.cat(found).double()


def test_a_layer_is_fitted_to_the_outputs_it_had_with_the_inputs_it_now_gets(monkeypatch):
    """Least squares by hand, through the bias, on inputs of the pruned net and outputs of the net before."""
    monkeypatch.setattr(eap, "ordered", lambda report, layers: list(layers))  # from the first layer to the last
    dense = testing.baseline()
    net = eap.prune(dense, bench(), 0.5 * dense_joules(), IMAGES)
    path = "classifier.output"
    mask = net.masks[f"{path}.weight"]
    assert 10 < int(mask.sum()) < mask.numel()
    before, after = dense.module(), net.module()
    then, now = inputs_of(before, path), inputs_of(after, path)
    assert not torch.allclose(then, now, atol=1e-3)
    old = before.get_submodule(path)
    wanted = then @ old.weight.detach().double().T + old.bias.detach().double()
    x, y = now - now.mean(0), wanted - wanted.mean(0)
    rho = x.square().sum() / len(x) / len(x)
    for row, kept in enumerate(mask):
        pull = (len(x) * rho).sqrt() * torch.eye(int(kept.sum()), dtype=torch.float64)
        rows = torch.cat([x[:, kept], pull])
        trained = old.weight.detach().double()[row, kept]
        expected = torch.linalg.lstsq(rows, torch.cat([y[:, row], pull @ trained])[:, None]).solution[:, 0]
        weight = after.get_submodule(path).weight.detach()[row]
        np.testing.assert_allclose(weight[kept], expected, rtol=1e-3, atol=1e-4)
        assert not weight[~kept].any()
        bias = wanted[:, row].mean() - now.mean(0)[kept] @ expected
        assert float(after.get_submodule(path).bias.detach()[row]) == pytest.approx(float(bias), abs=1e-3)


class Twice(nn.Module):
    """A convolution that runs twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 1, 1), nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.conv(self.conv(x)).flatten(1))


def test_of_a_layer_that_runs_twice_the_first_run_counts():
    module = Twice()
    layers = {path: Layer(one, None, torch.ones_like(one.weight) > 0) for path, one in module.named_children()}
    images = torch.randn(8, 1, 4, 4)
    own = SimpleNamespace(seed=0, batches=lambda split, batch_size: iter([(images[:5], None), (images[5:], None)]))
    sums, wanted = eap.observed(module, layers, own, 8)
    now = eap.seen_now(module, layers, wanted, own, 8)
    for path in layers:
        for before, after in zip(sums[path].moments(centred=False), now[path].moments(centred=False), strict=True):
            torch.testing.assert_close(torch.as_tensor(before), torch.as_tensor(after))


def test_zeros_stay_zero_in_training_and_pruned_weights_stay_pruned_in_the_next_round():
    own = testing.workbench("memory://zeros")
    net = eap.energy_aware_pruning(testing.baseline(), own, rounds=2, images=64)
    first = own.notes["rounds"][0]["weights_kept_by_layer"]
    for name, mask in net.masks.items():
        assert not net.state[name][~mask].any()
        assert torch.equal(net.state[name] != 0, mask)
        assert int(mask.sum()) <= first[name.removesuffix(".weight")]
    again = eap.prune(net, own, 0.8 * joules(net), 64)
    for name, mask in again.masks.items():
        assert not (mask & ~net.masks[name]).any()
        assert not again.state[name][~mask].any()


def test_before_retraining_it_is_nearer_to_the_dense_net_than_magnitude_pruning_of_the_same_energy():
    mine = pruned(0.4)
    low, high = 0.0, 0.995
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if joules(magnitude.prune(testing.baseline(), middle)) > joules(mine) else (low, middle)
        )
    other = magnitude.prune(testing.baseline(), high)
    images = torch.from_numpy(testing.generated()["validation"].images)
    with torch.no_grad():
        dense, one, two = (net.module()(images) for net in (testing.baseline(), mine, other))
    assert float((one - dense).square().mean()) < 0.5 * float((two - dense).square().mean())


def test_all_layers_but_no_masks_of_biases_or_norms_are_made():
    layers = prunable(testing.baseline().module(), testing.baseline())
    assert set(pruned(0.5).masks) <= {f"{path}.weight" for path in layers}


def test_channels_too_are_a_technique():
    testing.check_technique(
        eap.energy_aware_pruning, knobs={"structure": "channels", "round_to": 2, "rounds": 2, "images": 64}
    )


@functools.cache
def narrowed(share=0.5, round_to=1):
    return eap.prune_channels(testing.baseline(), bench(), share * dense_joules(), IMAGES, round_to)


@pytest.mark.parametrize("round_to", [1, 3])
def test_channels_are_cut_for_real_to_the_target_in_round_numbers(round_to):
    net = narrowed(round_to=round_to)
    assert net.masks == {}
    assert net.parameters() < 0.7 * testing.baseline().parameters()
    assert joules(net) / dense_joules() == pytest.approx(0.5, abs=0.06 if round_to == 1 else 0.15)
    before = {group.name: group.channels for group in channel_groups(testing.baseline())}
    for group in channel_groups(net):
        assert group.channels % round_to == 0 or group.channels == before[group.name]


def test_without_retraining_it_is_nearer_to_the_dense_net_than_the_same_widths_cut_by_magnitude():
    dense, mine = testing.baseline(), narrowed()
    layers = prunable(dense.module(), dense)
    widths = {group.name: group.channels for group in channel_groups(mine)}
    groups = channel_groups(dense)
    kept = {group.name: largest(magnitudes(group, layers), widths[group.name]) for group in groups}
    other = taken_out(dense, groups, kept)
    assert other.parameters() == mine.parameters()
    images = torch.from_numpy(testing.generated()["validation"].images)
    with torch.no_grad():
        whole, one, two = (net.module()(images) for net in (dense, mine, other))
    assert float((one - whole).square().mean()) < 0.5 * float((two - whole).square().mean())


def test_a_net_without_channels_to_cut_is_refused(monkeypatch):
    monkeypatch.setattr(eap, "channel_groups", lambda net: [])
    with pytest.raises(TechniqueError, match="no channels of this net can be cut"):
        narrowed.__wrapped__()


@pytest.mark.parametrize(("model", "structure"), [("systolic", "weights"), ("datasheet", "channels")])
def test_any_energy_model_guides(model, structure):
    """Also one that sees nothing in zeros, if channels are cut for real."""
    other = testing.workbench(f"memory://{model}")
    other.model = energy_model(model)
    before = other.energy(testing.baseline()).joules.value
    if structure == "weights":
        net = eap.prune(testing.baseline(), other, 0.7 * before, IMAGES)
    else:
        net = eap.prune_channels(testing.baseline(), other, 0.7 * before, IMAGES, 1)
    assert other.energy(net).joules.value / before == pytest.approx(0.7, abs=0.1)
