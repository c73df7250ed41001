"""Channels by trying every one, their inputs by cutting the net for real."""

import numpy as np
import pytest
import torch

from joulemark.nets.dependencies import channel_groups
from joulemark.nets.net import Net
from joulemark.techniques.pruning.channelwise import (
    Reader,
    chosen,
    input_channels,
    magnitudes,
    restored,
    taken_out,
    without,
)
from joulemark.techniques.pruning.layerwise import prunable
from joulemark.techniques.pruning.reconstruction import Sums, error, refit

LENET = Net.new("lenet", (1, 28, 28), seed=0, width=0.2)


def reader(seed, channel, *, filters=4, samples=60):
    random = torch.Generator().manual_seed(seed)
    common = torch.randn(1, samples, 1, generator=random, dtype=torch.float64)
    x = torch.randn(1, samples, len(channel), generator=random, dtype=torch.float64) + common
    weights = torch.randn(1, filters, len(channel), generator=random, dtype=torch.float64)
    sums = Sums()
    sums.add(x, x @ weights.mT + 0.3)
    return Reader(sums.moments(centred=False), weights, torch.tensor(channel))


CHANNELS = ([0, 0, 1, 1, 2, 2, 3, 3, 4, 4], [4, 3, -1, 2, 1, 0, -1])


def wrong(readers, kept):
    """Relative errors with the trained weights of the channels that are kept."""
    return sum(
        float(error(one.moments, one.weights * one.columns(kept)).sum() / one.moments.square.sum()) for one in readers
    )


@pytest.mark.parametrize("seed", range(5))
def test_channels_come_back_as_trying_every_one_finds(seed):
    readers = [reader(seed, CHANNELS[0]), reader(seed + 50, CHANNELS[1])]
    kept = torch.tensor([False, True, False, False, False])
    for count in range(5):
        expected = kept.clone()
        for _ in range(count):
            tried = {c: wrong(readers, expected | (torch.arange(5) == c)) for c in range(5) if not expected[c]}
            expected[min(tried, key=tried.get)] = True
        assert torch.equal(restored(readers, kept, count), expected)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_what_is_chosen_is_never_worse_than_the_largest(seed, count):
    readers = [reader(seed, CHANNELS[0]), reader(seed + 50, CHANNELS[1])]
    sizes = torch.rand(5, generator=torch.Generator().manual_seed(seed))
    kept = chosen(sizes, readers, count)
    assert int(kept.sum()) == count
    largest = torch.zeros(5, dtype=torch.bool)
    largest[sizes.argsort(descending=True)[:count]] = True
    errors = [
        sum(
            float(
                error(one.moments, refit(one.moments, one.weights, one.columns(which).expand(one.weights.shape))).sum()
            )
            / float(one.moments.square.sum())
            for one in readers
        )
        for which in (kept, largest)
    ]
    assert errors[0] <= errors[1] + 1e-12


def test_the_error_without_refitting_is_that_of_the_products():
    one = reader(3, CHANNELS[1])
    kept = torch.tensor([True, False, True, True, False])
    gone = torch.tensor([c in (1, 4) for c in CHANNELS[1]])
    w, gram = one.weights[0].numpy(), one.moments.gram[0].numpy()
    expected = np.einsum("fi,ij,fj", w * gone.numpy(), gram, w * gone.numpy()) / np.einsum("fi,ij,fj", w, gram, w)
    assert one.lost(kept) == pytest.approx(expected)


def test_inputs_and_magnitudes_of_the_channels_by_hand():
    layers = prunable(LENET.module(), LENET)
    conv1, conv2, hidden = channel_groups(LENET)
    assert {path: c.tolist() for path, c in input_channels(conv1, layers).items()} == {
        "stage2.conv": np.repeat(np.arange(4), 25).tolist()
    }
    assert {path: c.tolist() for path, c in input_channels(conv2, layers).items()} == {
        "classifier.hidden": np.repeat(np.arange(10), 16).tolist()
    }
    state = {name: t.double() for name, t in LENET.state.items()}
    expected = state["stage1.conv.weight"].square().sum((1, 2, 3)) + state["stage2.conv.weight"].square().sum((0, 2, 3))
    torch.testing.assert_close(magnitudes(conv1, layers), expected)
    expected = state["classifier.hidden.weight"].square().sum(1) + state["classifier.output.weight"].square().sum(0)
    torch.testing.assert_close(magnitudes(hidden, layers), expected)


NETS = {
    "lenet": LENET,
    "residual": Net.new("resnet", (3, 32, 32), seed=0, depth=8),
    "branches side by side": Net.new("googlenet", (3, 64, 64), seed=0, width=0.1),
}


@pytest.mark.parametrize("name", NETS)
def test_columns_at_zero_are_the_channels_that_are_taken_out(name):
    net = NETS[name]
    module, images = net.module(), torch.rand(3, *net.input_shape)
    layers, groups = prunable(module, net), channel_groups(net)
    random = torch.Generator().manual_seed(1)
    kept = {g.name: torch.rand(g.channels, generator=random) < 0.6 for g in groups}
    for mask in kept.values():
        mask[0] = True
    with torch.no_grad():
        for group in groups:
            for path, channel in input_channels(group, layers).items():
                weight = layers[path].layer.weight
                columns = (channel < 0) | kept[group.name][channel]
                weight.mul_(columns.view(weight.shape[1:]))
        small = taken_out(net.with_state(module), groups, kept)
        expected = module(images)
        torch.testing.assert_close(small.module()(images), expected, rtol=1e-3, atol=1e-5)
    assert [g.channels for g in channel_groups(small)] == [int(m.sum()) for m in kept.values() if int(m.sum()) > 1]


def test_taking_out_for_a_trial_leaves_the_module_as_it_is_and_keeps_the_means():
    module, images = LENET.module(), torch.rand(40, 1, 28, 28)
    layers, groups = prunable(module, LENET), channel_groups(LENET)[2:]
    inputs = []
    layers["classifier.output"].layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    with torch.no_grad():
        outputs = module(images)
        sums = {"classifier.output": Sums()}
        sums["classifier.output"].add(inputs[0][None], outputs[None])
        kept = {groups[0].name: torch.arange(groups[0].channels) % 3 > 0}
        small = without(LENET, module, layers, sums, groups, kept)
        torch.testing.assert_close(module(images), outputs)
        torch.testing.assert_close(small.module()(images).mean(0), outputs.mean(0), rtol=1e-4, atol=1e-5)
    assert small.parameters() < LENET.parameters()
