"""The small inception net against its table, a flop counter, and GoogLeNet's module without batch norm."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from joulemark.nets.builders.googlenet import Inception, Sizes
from joulemark.nets.builders.inception import INPUT_SHAPE, inception
from joulemark.nets.dependencies import channel_groups
from joulemark.nets.net import Net

TABLE = {
    "stem": ((32, 16, 16), 928, 884_736),
    "inception2a": ((96, 16, 16), 14_400, 3_620_864),
    "inception2b": ((112, 16, 16), 25_776, 6_520_832),
    "inception3a": ((168, 8, 8), 47_448, 3_008_512),
    "inception3b": ((192, 8, 8), 69_240, 4_399_104),
    "classifier": ((10,), 1_930, 1_920),
}


def test_shapes_parameters_and_macs_are_those_of_the_table():
    net = inception().eval()
    x, found = torch.zeros(1, *INPUT_SHAPE), {}
    for name, child in net.named_children():
        with FlopCounterMode(display=False) as counter:
            x = child(x)
        if parameters := sum(p.numel() for p in child.parameters()):
            found[name] = (tuple(x.shape[1:]), parameters, counter.get_total_flops() // 2)
    assert found == TABLE


@pytest.mark.parametrize("width", [0.05, 0.5])
def test_width_scales_hidden_layers_and_no_logits(width):
    net = Net.new("inception", INPUT_SHAPE, seed=0, width=width)
    assert net.module()(torch.zeros(2, *INPUT_SHAPE)).shape == (2, 10)
    assert net.parameters() < 159_722


def test_a_module_with_batch_norm_is_the_one_without_where_batch_norm_does_nothing():
    sizes = Sizes(2, 3, 4, 1, 2, 3)
    plain, normed = Inception(5, sizes), Inception(5, sizes, norm=True).eval()
    convolutions = [[layer for layer in module.modules() if isinstance(layer, nn.Conv2d)] for module in (plain, normed)]
    for one, other in zip(*convolutions, strict=True):
        assert other.bias is None
        one.bias.data.zero_()
        other.weight.data.copy_(one.weight.data)
    x = torch.randn(2, 5, 6, 7)
    assert torch.allclose(plain(x), normed(x), atol=1e-4)  # a fresh batch norm divides by the root of 1.00001


def test_every_convolution_is_a_group_that_can_be_cut():
    net = Net.new("inception", INPUT_SHAPE, seed=0, width=0.2)
    convolutions = [path for path, layer in net.module().named_modules() if isinstance(layer, nn.Conv2d)]
    assert [group.name for group in channel_groups(net)] == convolutions
