"""The convolution gets a bias, the norm does nothing, and folded weights give what both gave."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark.nets.edits.absorb_batch_norm import absorb_batch_norm


@pytest.mark.parametrize("bias", [True, False])
def test_with_folded_weights_the_convolution_does_the_work_of_both(bias):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3, bias=bias), nn.BatchNorm2d(3)).eval()
    norm = net[1]
    for tensor in (norm.running_mean, norm.weight.data, norm.bias.data):
        tensor.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    x = torch.randn(2, 2, 5, 5)
    with torch.no_grad():
        expected = net(x)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        before = net[0].bias.clone() if bias else torch.zeros(3)
        absorb_batch_norm(net, layer="0", norm="1")
        net[0].weight.mul_(scale[:, None, None, None])
        net[0].bias.copy_((before - norm.running_mean) * scale + norm.bias)
        torch.testing.assert_close(net(x), expected)
    assert isinstance(net[1], nn.Identity)


@pytest.mark.parametrize(("layer", "norm"), [("1", "0"), ("0", "2"), ("2", "1"), ("x", "1")])
def test_other_layers_are_refused(layer, norm):
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
    with pytest.raises(ValueError, match="are no convolution and no batch norm of the net"):
        absorb_batch_norm(net, layer=layer, norm=norm)
    assert isinstance(net[1], nn.BatchNorm2d)
