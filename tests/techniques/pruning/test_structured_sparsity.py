"""The penalty and its proximal step against autograd, their closed forms and hand-counted filters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark import testing
from joulemark.nets.edits.edit import replay
from joulemark.nets.folding import fold
from joulemark.nets.net import Net
from joulemark.techniques.pruning.structured_sparsity import (
    Folded,
    Lasso,
    _penalty,
    lengths,
    structured_sparsity,
)
from joulemark.techniques.technique import TechniqueError
from joulemark.training import Step, sgd

CIFAR = (3, 32, 32)


@pytest.mark.parametrize("update", ["subgradient", "proximal"])
@pytest.mark.parametrize("groups", ["filters", "filters+channels", "shapes"])
def test_it_is_a_technique_in_all_its_ways(groups, update):
    testing.check_technique(structured_sparsity, knobs={"strength": 0.05, "groups": groups, "update": update})


def lenet() -> Net:
    return Net.new("lenet", (1, 28, 28), seed=0, width=0.2)


def shown(module: nn.Module) -> Step:
    """What a fit at a learning rate of 0.1, without momentum, shows to a callback."""
    return Step(module, sgd(0.1, momentum=0.0)(module), progress=0.0, epoch=0, step=0)


@pytest.mark.parametrize("kind", ["filters", "channels", "shapes"])
def test_the_subgradient_is_autograds_of_the_sum_of_norms(kind):
    net = lenet()
    module = net.module(formats=False)
    lasso = Lasso(_penalty(net, kind), 0.3, proximal=False)
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        layer.weight.data[0] = 0.0  # whole groups of zeros: their subgradient is 0
        layer.weight.grad = torch.zeros_like(layer.weight)
    lasso.after_backward(shown(module))
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
    lasso = Lasso(_penalty(net, "filters"), 2.0, proximal=True)
    weight = module.stage1.conv.weight
    with torch.no_grad():
        weight[0], weight[1] = 0.01, 1.0  # norms 0.05 and 5
    lasso.after_step(shown(module))
    assert not weight[0].any()  # 0.05 < 0.1 x 2
    assert weight[1].detach().numpy() == pytest.approx(1.0 - 0.2 / 5)


def test_with_momentum_the_proximal_step_is_as_long_as_the_gradients():
    """One weight, E = (w - 1)^2 / 2, λ 0.6: the least of E + λ |w| is at 0.4, with momentum and without."""
    for momentum in (0.0, 0.9):
        convolution = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(convolution.weight)
        optimiser = sgd(0.01, momentum=momentum)(convolution)
        terms = lambda module: iter([([Folded(module.weight)], (1, 2, 3))])  # noqa: E731
        lasso = Lasso(terms, 0.6, proximal=True)
        for _ in range(2000):
            optimiser.zero_grad()
            (0.5 * (convolution.weight - 1.0).square().sum()).backward()
            optimiser.step()
            lasso.after_step(Step(convolution, optimiser, 0.0, 0, 0))
        assert float(convolution.weight.detach()) == pytest.approx(0.4, abs=0.02)


def test_small_weights_become_zero_after_a_step_with_the_subgradient():
    net = lenet()
    module = net.module(formats=False)
    weight = module.stage2.conv.weight
    with torch.no_grad():
        weight[0], weight[1] = 9e-5, -1.1e-4
    Lasso(_penalty(net, "filters"), 1.0, proximal=False).after_step(shown(module))
    assert not weight[0].any()
    assert weight[1].all()


def test_only_convolutions_that_can_be_lowered_are_penalised_by_their_shapes():
    net = Net.new("lenet1989", (1, 28, 28), seed=0)
    module = net.module(formats=False)
    weights = {id(layer.weight): layer.groups for layer in module.modules() if isinstance(layer, nn.Conv2d)}
    assert {weights[id(members[0].weight)] for members, _ in _penalty(net, "shapes")(module)} == {1}


def test_a_net_without_residual_blocks_has_no_depth_to_lose():
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
    Lasso(_penalty(net, "filters"), 0.5, proximal=False).after_backward(shown(module))
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
    Lasso(_penalty(net, "filters+channels"), 0.2, proximal=False).after_backward(shown(module))
    own = weight.detach().clone().requires_grad_()
    running = own / own.flatten(1).norm(dim=1)[:, None, None, None] * block.bn2.weight.detach()[:, None, None, None]
    (expected,) = torch.autograd.grad(0.2 * running.transpose(0, 1).flatten(1).norm(dim=1).sum(), own)
    assert torch.allclose(weight.grad, expected, atol=1e-5)


def test_the_proximal_step_shrinks_the_filter_behind_its_batch_norm():
    """Batch norm would divide it out of the weights: the factor goes to its scale, and a dead filter's weights go."""
    net = Net.new("alexnet", CIFAR, seed=0, width=0.2)
    module = net.module(formats=False)
    convolution, norm = module.stage1.conv1, module.stage1.bn1
    with torch.no_grad():
        norm.weight[0] = 1e-3
    before, weights = norm.weight.detach().clone(), convolution.weight.detach().clone()
    length = weights.flatten(1).norm(dim=1) * before / (norm.running_var + norm.eps).sqrt()
    Lasso(_penalty(net, "filters"), 2.0, proximal=True).after_step(shown(module))
    assert torch.allclose(norm.weight.detach(), before * (1.0 - 0.2 / length).clamp_min(0.0), rtol=1e-5)
    assert not convolution.weight[0].any()
    assert torch.equal(convolution.weight[1:].detach(), weights[1:])


def test_only_what_can_be_cut_is_penalised():
    """Channels of the stream die in no layer alone: only outputs of first convolutions and inputs of second ones."""
    net = Net.new("resnet", CIFAR, seed=0, depth=8)
    module = net.module(formats=False)
    terms = list(_penalty(net, "filters+channels")(module))
    weights = {id(layer.weight): path for path, layer in module.named_modules() if isinstance(layer, nn.Conv2d)}
    found = {(weights[id(members[0].weight)], axes) for members, axes in terms}
    blocks = [f"layer{stage}.0" for stage in (1, 2, 3)]
    expected = {(f"{b}.conv1", (1, 2, 3)) for b in blocks} | {(f"{b}.conv2", (0, 2, 3)) for b in blocks}
    assert found == expected


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
