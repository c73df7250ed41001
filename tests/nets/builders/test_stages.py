"""Stages and classifiers written with functions, and what all nets made of them have in common."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark.nets.builders.stages import classifier, scaled, stage
from joulemark.nets.net import Net, usual_input_shape

OURS = ("convnet", "alexnet", "vgg", "resnet20")
ALL = ("lenet", *OURS)


def test_a_stage_is_convolution_norm_and_relu_repeated_then_a_pooling():
    torch.manual_seed(0)
    net, x = stage(3, [4, 6], kernel=5, pool=nn.MaxPool2d(2)).eval(), torch.randn(2, 3, 8, 8)
    y = torch.relu(net.bn1(nn.functional.conv2d(x, net.conv1.weight, padding=2)))
    y = torch.relu(net.bn2(nn.functional.conv2d(y, net.conv2.weight, padding=2)))
    torch.testing.assert_close(net(x), nn.functional.max_pool2d(y, 2))
    assert all(layer.bias is None for layer in (net.conv1, net.conv2))


def test_a_classifier_has_relu_between_its_layers_and_none_at_the_end():
    torch.manual_seed(0)
    net, x = classifier(6, [5, 4], 3), torch.randn(7, 2, 3, 1)
    y = torch.relu(net.hidden2(torch.relu(net.hidden1(x.flatten(1)))))
    torch.testing.assert_close(net(x), y @ net.output.weight.T + net.output.bias)
    assert [name for name, _ in classifier(6, [], 3).named_children()] == ["flatten", "output"]


def test_scaled_sizes_are_never_zero():
    assert scaled([32, 64, 3], 0.01) == [1, 1, 1]
    assert scaled([32, 64, 3], 1.5) == [48, 96, 4]


@pytest.mark.parametrize("builder", ALL)
def test_width_and_classes_of_every_builder(builder):
    shape = usual_input_shape(builder)
    full, half, least = (Net.new(builder, shape, seed=0, width=w, classes=7) for w in (1.0, 0.5, 0.001))
    for net in (half, least):
        assert net.module()(torch.zeros(2, *shape)).shape == (2, 7)
    assert 0.2 < half.parameters() / full.parameters() < 0.35  # a quarter, but for the first and last layer
    assert {m.out_channels for m in least.module().modules() if isinstance(m, nn.Conv2d)} == {1}


@pytest.mark.parametrize("builder", OURS)
def test_a_step_of_training_lowers_the_loss_in_both_precisions(builder):
    torch.manual_seed(0)
    net = Net.new(builder, (3, 32, 32), seed=0, width=0.25)
    x, y = torch.randn(16, 3, 32, 32).contiguous(memory_format=torch.channels_last), torch.arange(16) % 10
    for bf16 in (False, True):
        module = net.module().to(memory_format=torch.channels_last).train()
        optimiser = torch.optim.SGD(module.parameters(), 0.02)
        losses = []
        for _ in range(4):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = nn.functional.cross_entropy(module(x).float(), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < losses[0]
