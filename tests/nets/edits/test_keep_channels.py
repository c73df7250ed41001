"""What is kept of a layer is what slices of its weights give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark.nets.edits.keep_channels import keep_channels


def test_a_convolution_keeps_the_listed_outputs_and_inputs():
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    weight, bias, x = net[0].weight.detach().clone(), net[0].bias.detach().clone(), torch.randn(2, 2, 5, 5)
    keep_channels(net, layer="0", outputs=[3, 1], inputs=[0, 2])
    assert (net[0].out_channels, net[0].in_channels) == (2, 2)
    expected = nn.functional.conv2d(x, weight[[3, 1]][:, [0, 2]], bias[[3, 1]])
    torch.testing.assert_close(net(x), expected)


def test_a_batch_norm_keeps_its_statistics():
    net = nn.Sequential(nn.BatchNorm2d(3)).eval()
    net[0].running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    keep_channels(net, layer="0", outputs=[2, 0])
    assert net[0].running_mean.tolist() == [3.0, 1.0]
    assert net[0].num_features == 2
    with pytest.raises(ValueError, match="is a batch norm, which has outputs only"):
        keep_channels(net, layer="0", inputs=[0])


def test_a_depthwise_convolution_is_cut_in_all_three_numbers():
    net = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4))
    keep_channels(net, layer="0", outputs=[0, 3])
    assert (net[0].groups, net[0].in_channels, net[0].out_channels) == (2, 2, 2)
    assert net(torch.zeros(1, 2, 5, 5)).shape == (1, 2, 3, 3)


@pytest.mark.parametrize(
    ("layer", "wanted", "why"),
    [
        (nn.Linear(2, 3), {"outputs": [0, 0]}, "are not different whole numbers"),
        (nn.Linear(2, 3), {"outputs": [3]}, "do not fit weight of shape"),
        (nn.Linear(2, 3), {"inputs": []}, "do not fit weight of shape"),
        (nn.Conv2d(4, 8, 3, groups=2), {"outputs": [0]}, "is a grouped convolution, which this edit cannot cut"),
        (nn.ReLU(), {"outputs": [0]}, "no convolution, linear or batch-norm layer is called '0'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(layer, wanted, why):
    with pytest.raises(ValueError, match=why):
        keep_channels(nn.Sequential(layer), layer="0", **wanted)
