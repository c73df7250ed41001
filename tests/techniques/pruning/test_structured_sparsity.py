"""The penalty against autograd and its closed form; nets with zero groups against the smaller nets made of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark import testing
from joulemark.nets.dependencies import channel_groups
from joulemark.nets.edits.edit import replay
from joulemark.nets.folding import fold
from joulemark.nets.layers.lowered import LoweredConv2d
from joulemark.nets.net import Net
from joulemark.techniques.pruning.magnitude import prune
from joulemark.techniques.pruning.structured_sparsity import (
    Folded,
    Lasso,
    _penalty,
    _Rate,
    lengths,
    structured_sparsity,
)
from joulemark.techniques.pruning.zero_groups import GROUPS, freeze, remove, residual_blocks, rounded, shapes
from joulemark.techniques.technique import TechniqueError
from joulemark.training import sgd

CIFAR = (3, 32, 32)


@pytest.mark.parametrize("update", ["subgradient", "proximal"])
@pytest.mark.parametrize("groups", ["filters", "filters+channels", "shapes"])
def test_it_is_a_technique_in_all_its_ways(groups, update):
    testing.check_technique(structured_sparsity, knobs={"strength": 0.05, "groups": groups, "update": update})


def lenet() -> Net:
    return Net.new("lenet", (1, 28, 28), seed=0, width=0.2)


@pytest.mark.parametrize("kind", GROUPS)
def test_the_subgradient_is_autograds_of_the_sum_of_norms(kind):
    net = lenet()
    module = net.module(formats=False)
    lasso = Lasso(_penalty(net, kind), 0.3, proximal=False, rate=_Rate(sgd(0.1)))
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        layer.weight.data[0] = 0.0  # whole groups of zeros: their subgradient is 0
        layer.weight.grad = torch.zeros_like(layer.weight)
    lasso.after_backward(module)
    for place, layer in enumerate(layers):
        weight = layer.weight.detach().clone().requires_grad_()
        flat = {"filters": weight.flatten(1), "channels": weight.transpose(0, 1).flatten(1),
                "shapes": weight.flatten(1).T}[kind]  # fmt: skip
        rows = [row for row in flat if row.any()] if kind != "channels" or place else []
        expected = torch.zeros_like(weight)
        if rows:
            (expected,) = torch.autograd.grad(0.3 * sum(row.norm() for row in rows), weight)
        assert torch.allclose(layer.weight.grad, expected, atol=1e-6)


def test_the_proximal_step_by_hand():
    net = lenet()
    module = net.module(formats=False)
    rate = _Rate(sgd(0.1, momentum=0.0))
    rate(module)
    lasso = Lasso(_penalty(net, "filters"), 2.0, proximal=True, rate=rate)
    weight = module.stage1.conv.weight
    with torch.no_grad():
        weight[0], weight[1] = 0.01, 1.0  # norms 0.05 and 5
    lasso.after_step(module)
    assert not weight[0].any()  # 0.05 < 0.1 x 2
    assert weight[1].detach().numpy() == pytest.approx(1.0 - 0.2 / 5)


def test_with_momentum_the_proximal_step_is_as_long_as_the_gradients():
    """One weight, E = (w - 1)^2 / 2, λ 0.6: the least of E + λ |w| is at 0.4, with momentum and without."""
    for momentum in (0.0, 0.9):
        convolution = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(convolution.weight)
        rate = _Rate(sgd(0.01, momentum=momentum))
        optimiser = rate(convolution)
        terms = lambda module: iter([([Folded(module.weight)], (1, 2, 3))])  # noqa: E731
        lasso = Lasso(terms, 0.6, proximal=True, rate=rate)
        for _ in range(2000):
            optimiser.zero_grad()
            (0.5 * (convolution.weight - 1.0).square().sum()).backward()
            optimiser.step()
            lasso.after_step(convolution)
        assert float(convolution.weight.detach()) == pytest.approx(0.4, abs=0.02)


def test_small_weights_become_zero_after_a_step_with_the_subgradient():
    net = lenet()
    module = net.module(formats=False)
    weight = module.stage2.conv.weight
    with torch.no_grad():
        weight[0], weight[1] = 9e-5, -1.1e-4
    Lasso(_penalty(net, "filters"), 1.0, proximal=False, rate=_Rate(sgd(0.1))).after_step(module)
    assert not weight[0].any()
    assert weight[1].all()


def with_zeros(net: Net, groups: str) -> Net:
    """About half of all groups set to zero."""
    random = torch.Generator().manual_seed(0)
    state = {name: tensor.clone() for name, tensor in net.state.items()}
    for tensor in state.values():
        if tensor.dim() == 4:
            for kind in groups.split("+"):
                if kind == "channels" and tensor.shape[1] <= 3:
                    continue
                shape = [1 if axis in GROUPS[kind] else size for axis, size in enumerate(tensor.shape)]
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
    module = net.module(formats=False)
    weights = {id(layer.weight): layer.groups for layer in module.modules() if isinstance(layer, nn.Conv2d)}
    assert {weights[id(members[0].weight)] for members, _ in _penalty(net, "shapes")(module)} == {1}
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
    from joulemark.training import fit

    frozen = freeze(with_zeros(lenet(), "filters"), "filters")
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
    with pytest.raises(TechniqueError, match="needs residual blocks, and this net has none"):
        _penalty(lenet(), "depth")


def test_the_whole_block_is_one_group_of_depth():
    net = Net.new("resnet", CIFAR, seed=0, depth=8)
    module = net.module(formats=False)
    (members, axes), *others = list(_penalty(net, "depth")(module))
    assert (len(members), len(others)) == (2, 2)
    whole = torch.cat([one.weight.detach().flatten() for one in members]).norm()
    assert float(lengths(members, axes).detach()) == pytest.approx(
        float(whole), rel=1e-4
    )  # a new batch norm scales by 1


def test_behind_batch_norm_the_length_is_that_of_the_folded_filter():
    """Twice the weights and twice the deviation: the same net, and the same lengths."""
    net = Net.new("alexnet", CIFAR, seed=0, width=0.2)
    module = net.module(formats=False)
    random = torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data.uniform_(0.5, 2.0, generator=random)
            layer.running_var.uniform_(0.5, 2.0, generator=random)
    folded = fold(net.with_state(module)).module()
    terms = list(_penalty(net, "filters")(module))
    paths = [path for path, layer in folded.named_modules() if isinstance(layer, nn.Conv2d)]
    assert len(terms) == len(paths)
    for (members, axes), path in zip(terms, paths, strict=True):
        expected = folded.get_submodule(path).weight.detach().flatten(1).norm(dim=1)
        assert torch.allclose(lengths(members, axes).detach().flatten(), expected, rtol=1e-4)


def test_the_subgradient_reaches_the_scale_of_batch_norm():
    """For one filter d‖s W‖/dγ = ‖W‖ / deviation, as long as γ is positive."""
    net = Net.new("alexnet", CIFAR, seed=0, width=0.2)
    module = net.module(formats=False)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    Lasso(_penalty(net, "filters"), 0.5, proximal=False, rate=_Rate(sgd(0.1))).after_backward(module)
    convolution, norm = module.stage1.conv1, module.stage1.bn1
    expected = 0.5 * convolution.weight.detach().flatten(1).norm(dim=1) / (norm.running_var + norm.eps).sqrt()
    assert torch.allclose(norm.weight.grad, expected, rtol=1e-5)
    assert float(convolution.weight.grad.abs().max()) < 1e-6  # that would only change the lengths of filters


def test_behind_batch_norm_the_subgradient_is_that_of_the_net_as_it_runs():
    """With the variance following the weights, s = γ / ‖W‖ up to a constant: autograd of that has no radial part."""
    net = Net.new("resnet", CIFAR, seed=0, depth=8)
    module = net.module(formats=False)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    block = module.layer1[0]
    weight = block.conv2.weight
    with torch.no_grad():
        block.bn2.running_var.copy_(weight.flatten(1).square().sum(1))
    Lasso(_penalty(net, "filters+channels"), 0.2, proximal=False, rate=_Rate(sgd(0.1))).after_backward(module)
    own = weight.detach().clone().requires_grad_()
    running = own / own.flatten(1).norm(dim=1)[:, None, None, None] * block.bn2.weight.detach()[:, None, None, None]
    (expected,) = torch.autograd.grad(0.2 * running.transpose(0, 1).flatten(1).norm(dim=1).sum(), own)
    assert torch.allclose(weight.grad, expected, atol=1e-5)


def test_the_proximal_step_shrinks_the_filter_behind_its_batch_norm():
    """Batch norm would divide it out of the weights: the factor goes to its scale, and a dead filter's weights go."""
    net = Net.new("alexnet", CIFAR, seed=0, width=0.2)
    module = net.module(formats=False)
    rate = _Rate(sgd(0.1, momentum=0.0))
    rate(module)
    convolution, norm = module.stage1.conv1, module.stage1.bn1
    with torch.no_grad():
        norm.weight[0] = 1e-3
    before, weights = norm.weight.detach().clone(), convolution.weight.detach().clone()
    length = weights.flatten(1).norm(dim=1) * before / (norm.running_var + norm.eps).sqrt()
    Lasso(_penalty(net, "filters"), 2.0, proximal=True, rate=rate).after_step(module)
    assert torch.allclose(norm.weight.detach(), before * (1.0 - 0.2 / length).clamp_min(0.0), rtol=1e-5)
    assert not convolution.weight[0].any()
    assert torch.equal(convolution.weight[1:].detach(), weights[1:])


def test_only_what_can_be_cut_is_penalised():
    """The stream of a padded residual net cannot: only outputs of first convolutions and inputs of second ones."""
    net = Net.new("resnet", CIFAR, seed=0, depth=8)
    module = net.module(formats=False)
    terms = list(_penalty(net, "filters+channels")(module))
    weights = {id(layer.weight): path for path, layer in module.named_modules() if isinstance(layer, nn.Conv2d)}
    found = {(weights[id(members[0].weight)], axes) for members, axes in terms}
    blocks = [f"layer{stage}.0" for stage in (1, 2, 3)]
    expected = {(f"{b}.conv1", GROUPS["filters"]) for b in blocks} | {
        (f"{b}.conv2", GROUPS["channels"]) for b in blocks
    }
    assert found == expected


@pytest.mark.parametrize(("alive", "round_to", "count"), [(5, 1, 5), (5, 4, 8), (8, 4, 8), (9, 8, 10), (0, 1, 1)])
def test_kept_channels_are_rounded_up_and_never_more_than_there_are(alive, round_to, count):
    mask = torch.arange(10) >= 10 - alive
    kept = rounded(mask, round_to)
    assert len(kept) == count
    assert set(mask.nonzero()[:, 0].tolist()) <= set(kept)


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": 2, "bias": False}])
def test_a_lowered_convolution_is_the_convolution_without_those_columns(options):
    convolution = nn.Conv2d(3, 4, 3, **options)
    columns = [0, 2, 3, 11, 26]
    with torch.no_grad():
        keep = torch.zeros(27)
        keep[columns] = 1
        convolution.weight *= keep.reshape(3, 3, 3)
    x = torch.rand(2, 3, 9, 8)
    lowered = LoweredConv2d(convolution, columns)
    assert lowered.weight.shape == (4, 5)
    assert torch.allclose(lowered(x), convolution(x), atol=1e-6)


@pytest.mark.parametrize(
    "edit",
    [
        {"edit": "lower_columns", "layer": "stage1.pool", "columns": [0]},
        {"edit": "lower_columns", "layer": "stage1.conv", "columns": []},
        {"edit": "lower_columns", "layer": "stage1.conv", "columns": [25]},
        {"edit": "lower_columns", "layer": "stage1.conv", "columns": [1, 0]},
        {"edit": "bypass_block", "block": "stage1"},
    ],
)
def test_edits_that_do_not_fit_are_one_sentence(edit):
    with pytest.raises(ValueError, match=rf"^{edit['edit']}: "):
        replay(lenet().module(), (edit,))


def test_a_net_with_nothing_to_cut_is_one_sentence():
    net = Net.new("resnet20", CIFAR, seed=0)
    lowered = tuple(
        {"edit": "lower_columns", "layer": path, "columns": [0]}
        for path, layer in net.module().named_modules()
        if isinstance(layer, nn.Conv2d)
    )
    with pytest.raises(TechniqueError, match="groups=shapes, and this net has none that can be cut"):
        structured_sparsity(
            Net("resnet20", CIFAR, edits=lowered), testing.workbench("memory://nothing"), groups="shapes"
        )
