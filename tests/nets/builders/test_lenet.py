"""LeNet against the numbers of the literature."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark.nets.builders.lenet import INPUT_SHAPE, lenet
from joulemark.nets.net import usual_input_shape


def test_parameters_of_each_layer():
    # Wen et al. 2016, Table 1: conv1 20 filters of 25, conv2 50 filters of 500, hidden 800 x 500, output 500 x 10.
    sizes = {name: p.numel() for name, p in lenet().named_parameters() if name.endswith("weight")}
    assert sizes == {
        "stage1.conv.weight": 500,
        "stage2.conv.weight": 25_000,
        "classifier.hidden.weight": 400_000,
        "classifier.output.weight": 5_000,
    }
    assert sum(p.numel() for p in lenet().parameters()) == 431_080


@pytest.mark.parametrize(("width", "channels"), [(0.5, (10, 25, 250)), (0.25, (5, 12, 125)), (0.001, (1, 1, 1))])
def test_width_scales_hidden_layers_only(width, channels):
    net = lenet(width=width, classes=7)
    assert (net.stage1.conv.out_channels, net.stage2.conv.out_channels, net.classifier.hidden.out_features) == channels
    assert net(torch.zeros(2, *INPUT_SHAPE)).shape == (2, 7)


def test_stages_are_children_that_run_in_order():
    net, x = lenet(), torch.randn(3, *INPUT_SHAPE)
    assert [name for name, _ in net.named_children()] == ["stage1", "stage2", "classifier"]
    functional = nn.functional.max_pool2d(nn.functional.conv2d(x, net.stage1.conv.weight, net.stage1.conv.bias), 2)
    torch.testing.assert_close(net.stage1(x), functional)
    assert net.stage2(functional).shape == (3, 50, 4, 4)
    torch.testing.assert_close(net(x), net.classifier(net.stage2(functional)))


def test_usual_input_shape():
    assert usual_input_shape("lenet") == (1, 28, 28)
