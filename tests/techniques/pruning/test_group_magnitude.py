"""Group norms by hand and against torch-pruning's; what is cut is gone."""

import pytest
import torch
from torch_pruning import DependencyGraph
from torch_pruning.pruner.importance import GroupMagnitudeImportance

from joulemark import testing
from joulemark.nets.dependencies import channel_groups
from joulemark.nets.net import Net
from joulemark.techniques.pruning.group_magnitude import group_magnitude, group_norms
from joulemark.techniques.technique import TechniqueError

CIFAR = (3, 32, 32)


@pytest.mark.parametrize("knobs", [{}, {"sparsity": 0.3, "round_to": 4}])
def test_group_magnitude_is_a_technique(knobs):
    testing.check_technique(group_magnitude, knobs=knobs)


def norms(net):
    return group_norms(net, channel_groups(net))


def test_norms_of_lenet_by_hand():
    net = testing.baseline()
    w = {name: t.double() ** 2 for name, t in net.state.items()}
    second = w["stage2.conv.weight"].sum((1, 2, 3)) + w["classifier.hidden.weight"].view(100, 10, 16).sum((0, 2))
    expected = {
        "stage1.conv": w["stage1.conv.weight"].sum((1, 2, 3)) + w["stage2.conv.weight"].sum((0, 2, 3)),
        "stage2.conv": second,
        "classifier.hidden": w["classifier.hidden.weight"].sum(1) + w["classifier.output.weight"].sum(0),
    }
    got = norms(net)
    assert list(got) == list(expected)
    for name, score in got.items():
        torch.testing.assert_close(score.double(), expected[name] / expected[name].mean(), rtol=1e-5, atol=1e-6)
        assert float(score.mean()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("builder", ["convnet", "vgg", "resnet20"])
def test_the_library_of_the_paper_gives_the_same_scores(builder):
    net = Net.new(builder, CIFAR, seed=0, width=0.25)
    module = net.module()
    for name, parameter in module.named_parameters():
        if parameter.dim() == 1 and name.endswith("weight"):
            parameter.data.uniform_(0.5, 1.5)  # batch norms that differ
    net = net.with_state(module)
    graph = DependencyGraph().build_dependency(module, example_inputs=torch.zeros(1, *CIFAR))
    padded = {"conv1", "layer2.0.conv2", "layer3.0.conv2"} if builder == "resnet20" else set()
    for name, score in norms(net).items():
        if name in padded:  # shortcuts that pad channels are not understood there
            continue
        layer = module.get_submodule(name)
        cut = graph.get_pruner_of_module(layer).prune_out_channels
        group = graph.get_pruning_group(layer, cut, list(range(len(score))))
        torch.testing.assert_close(score, GroupMagnitudeImportance()(group), rtol=1e-4, atol=1e-5)


def test_the_weakest_channels_are_gone_from_every_layer(tmp_path):
    net, bench = testing.baseline(), testing.workbench(tmp_path)
    bench.epochs = 0  # no retraining: what stays is as it was
    small = group_magnitude(net, bench, sparsity=0.5)
    scores = norms(net)
    threshold = torch.cat(list(scores.values())).sort(descending=True).values[round(0.5 * 114) - 1]
    kept = {name: (score >= threshold).nonzero()[:, 0] for name, score in scores.items()}
    first, second = kept["stage1.conv"], kept["stage2.conv"]
    assert len(first) and len(second)
    assert torch.equal(small.state["stage2.conv.weight"], net.state["stage2.conv.weight"][second][:, first])
    assert sum(group.channels for group in channel_groups(small)) == 57
    assert bench.notes["channels_kept"]["stage1.conv"] == f"{len(first)} of 4"
    assert bench.notes["parameters"] == {"before": net.parameters(), "after": small.parameters()}
    assert small.masks == {} and small.parameters() < net.parameters() / 2


def test_weak_channels_put_into_a_net_are_the_ones_cut(tmp_path):
    net = testing.baseline()
    state = {name: tensor.clone() for name, tensor in net.state.items()}
    weak = [3, 50, 99]
    state["classifier.hidden.weight"][weak] *= 1e-3
    state["classifier.output.weight"][:, weak] *= 1e-3
    bench = testing.workbench(tmp_path)
    bench.epochs = 0
    small = group_magnitude(net.replace(state=state), bench, sparsity=0.05)
    left = [c for c in range(100) if c not in weak]
    hidden = small.state["classifier.hidden.bias"]
    assert set(hidden.tolist()) <= set(state["classifier.hidden.bias"][left].tolist())


@pytest.mark.parametrize(("builder", "shape"), [("resnet20", CIFAR), ("vgg", CIFAR), ("lenet", (1, 28, 28))])
def test_round_to_gives_multiples_or_all(builder, shape, tmp_path):
    net, bench = Net.new(builder, shape, seed=0, width=0.5), testing.workbench(tmp_path)
    bench.epochs = 0
    before = {group.name: group.channels for group in channel_groups(net)}
    small = group_magnitude(net, bench, sparsity=0.7, round_to=8)
    after = {group.name: group.channels for group in channel_groups(small)}
    assert all(number % 8 == 0 or number == before[name] for name, number in after.items())
    assert sum(after.values()) < sum(before.values())
    assert small.module()(torch.zeros(2, *shape)).shape == (2, 10)


def test_a_net_without_channels_to_cut_is_refused(tmp_path):
    with pytest.raises(TechniqueError, match="group-magnitude: this net has no channels that can be cut"):
        group_magnitude(Net.new("lenet1989", (1, 28, 28), seed=0), testing.workbench(tmp_path))
