"""What the nets for ImageNet have in common; each has its own counts and shapes in the file of its name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark.nets.net import Net, usual_input_shape

IMAGENET = ("alexnet-grouped", "alexnet-torchvision", "vgg16", "googlenet", "resnet50")


@pytest.mark.parametrize("builder", IMAGENET)
def test_width_and_classes(builder, meta):
    shape = usual_input_shape(builder)
    for width in (0.5, 0.001):
        net = meta(builder, width=width, classes=7)
        assert net(torch.zeros(2, *shape, device="meta")).shape == (2, 7)
    least = {"alexnet-grouped": {2}, "resnet50": {1, 4}}.get(
        builder, {1}
    )  # one a group; a bottleneck ends four times as wide
    assert {m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)} == least


@pytest.mark.parametrize("builder", IMAGENET)
def test_a_reloaded_net_is_equal(builder):
    shape = usual_input_shape(builder)
    net = Net.new(builder, shape, seed=0, width=0.02, classes=3)
    again = Net.from_bytes(net.to_bytes())
    assert again.hash == net.hash
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(again.module()(x), net.module()(x), rtol=0, atol=0)


def test_counting_and_loading_draw_no_random_weights():
    net = Net.new("lenet", (1, 28, 28), seed=3)
    before = torch.get_rng_state()
    assert net.parameters() == 431_080
    module = net.module()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, net.state[name]) for name, value in module.state_dict().items())
    fresh = Net(builder="lenet", input_shape=(1, 28, 28)).module()  # nothing to load: weights are drawn as ever
    assert not torch.equal(torch.get_rng_state(), before)
    assert all(p.isfinite().all() and p.abs().max() < 1 for p in fresh.parameters())
