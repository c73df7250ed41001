"""The VGG for CIFAR-10 against its table and the rules of the paper's nets."""

from __future__ import annotations

import torch
from torch import nn

from joulemark.nets.builders.vgg import INPUT_SHAPE, vgg


def test_the_table_in_its_docstring_is_right(check_table):
    check_table("vgg", rows=5)


def test_the_outputs_of_its_stages(shapes):
    assert shapes("vgg") == {
        "stage1": (32, 16, 16), "stage2": (64, 8, 8), "stage3": (128, 4, 4), "stage4": (256, 2, 2), "classifier": (10,)
    }  # fmt: skip


def test_its_convolutions_are_the_first_eight_of_configuration_b_at_half_the_channels():
    published = [64, 64, 128, 128, 256, 256, 512, 512]  # Simonyan and Zisserman 2015, Table 1, column B
    convolutions = [layer for layer in vgg().modules() if isinstance(layer, nn.Conv2d)]
    assert [2 * layer.out_channels for layer in convolutions] == published
    assert {(layer.kernel_size, layer.stride, layer.padding) for layer in convolutions} == {((3, 3), (1, 1), (1, 1))}


def test_a_stage_ends_with_the_greatest_of_two_by_two():
    torch.manual_seed(0)
    stage, x = vgg(width=0.1).eval().stage1, torch.randn(2, *INPUT_SHAPE)
    before = stage[:-1](x)
    torch.testing.assert_close(stage(x), before.unflatten(3, (16, 2)).unflatten(2, (16, 2)).amax((3, 5)))


def test_one_hidden_layer_stands_before_the_classes():
    net = vgg(width=0.5, classes=7)
    assert [(one.in_features, one.out_features) for one in net.modules() if isinstance(one, nn.Linear)] == [
        (128 * 2 * 2, 128),
        (128, 7),
    ]
