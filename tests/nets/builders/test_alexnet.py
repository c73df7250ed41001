"""AlexNet for CIFAR-10 against its table and the same net written with functions."""

from __future__ import annotations

import torch
from torch.nn.functional import conv2d, max_pool2d

from joulemark.nets.builders.alexnet import INPUT_SHAPE, alexnet


def test_the_table_in_its_docstring_is_right(check_table):
    check_table("alexnet", rows=4)


def test_the_outputs_of_its_stages(shapes):
    assert shapes("alexnet") == {
        "stage1": (32, 16, 16), "stage2": (64, 8, 8), "stage3": (64, 4, 4), "classifier": (10,)
    }  # fmt: skip


def test_five_convolutions_three_poolings_and_two_hidden_layers_as_functions():
    torch.manual_seed(0)
    net, x = alexnet(width=0.2).eval(), torch.randn(2, *INPUT_SHAPE)

    def layer(stage, number, y, padding):
        convolution, norm = getattr(stage, f"conv{number}"), getattr(stage, f"bn{number}")
        return torch.relu(norm(conv2d(y, convolution.weight, padding=padding)))

    y = max_pool2d(layer(net.stage1, 1, x, 2), 3, 2, ceil_mode=True)
    y = max_pool2d(layer(net.stage2, 1, y, 2), 3, 2, ceil_mode=True)
    for number in (1, 2, 3):
        y = layer(net.stage3, number, y, 1)
    y = max_pool2d(y, 3, 2, ceil_mode=True).flatten(1)
    for one in (net.classifier.hidden1, net.classifier.hidden2):
        y = torch.relu(y @ one.weight.T + one.bias)
    torch.testing.assert_close(net(x), y @ net.classifier.output.weight.T + net.classifier.output.bias)


def test_width_scales_the_hidden_layers_and_the_classes_are_the_outputs():
    net = alexnet(width=0.5, classes=7)
    sizes = [p.shape[0] for p in net.parameters() if p.dim() > 1]
    assert sizes == [16, 32, 48, 48, 32, 128, 64, 7]
