"""Caffe's small net for CIFAR-10 against its table, its prototxt and the same net written with functions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d

from joulemark.nets.builders.convnet import INPUT_SHAPE, convnet


def test_the_table_in_its_docstring_is_right(check_table):
    check_table("convnet", rows=4)


def test_the_outputs_of_its_stages(shapes):
    assert shapes("convnet") == {
        "stage1": (32, 16, 16), "stage2": (32, 8, 8), "stage3": (64, 4, 4), "classifier": (10,)
    }  # fmt: skip


def test_its_weights_are_those_of_caffes_prototxt():
    """32, 32 and 64 filters of 5 x 5 and one linear layer: 79,200 weights of convolutions, 10,240 behind them."""
    weights = {name: p.numel() for name, p in convnet().named_parameters() if p.dim() > 1}
    assert list(weights.values()) == [3 * 25 * 32, 32 * 25 * 32, 32 * 25 * 64, 64 * 16 * 10]


def test_the_first_pooling_takes_the_greatest_value_and_the_others_the_mean():
    torch.manual_seed(0)
    net, x = convnet(width=0.2).eval(), torch.randn(2, *INPUT_SHAPE)
    y = x
    for stage, pool in ((net.stage1, max_pool2d), (net.stage2, avg_pool2d), (net.stage3, avg_pool2d)):
        nn.init.uniform_(stage.bn1.running_mean)
        y = torch.relu(stage.bn1(conv2d(y, stage.conv1.weight, padding=2)))
        y = pool(y, 3, 2, ceil_mode=True)
    torch.testing.assert_close(net(x), y.flatten(1) @ net.classifier.output.weight.T + net.classifier.output.bias)
