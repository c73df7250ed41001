"""Groups of channels of nets and of plain modules, and what is cut of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark.nets import dependencies
from joulemark.nets.channels import channel_groups, keep_channels
from joulemark.nets.net import Net
from joulemark.vocabulary import listening

SHAPE = (3, 8, 8)


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.Linear(64, 5))
    return nn.Sequential(*layers)


def test_a_group_says_what_carries_and_what_reads_its_channels():
    first, second = channel_groups(plain(), input_shape=SHAPE)
    assert repr(first) == "0: 6 channels, with 1, read by 3"
    assert f"{second}" == "3: 4 channels, read by 5"


def test_a_group_of_many_layers_counts_those_that_it_does_not_name():
    text = str(channel_groups(Net.new("resnet20", (3, 32, 32), seed=0))[0])
    assert text.startswith("conv1: 16 channels, with bn1, layer1.0.conv2, layer1.0.bn2, layer1.1.conv2 and ")
    assert len(text) < 200


def test_the_groups_of_a_net_are_those_of_the_search_and_of_its_module():
    net = Net.new("lenet", (1, 28, 28), seed=0)
    groups = channel_groups(net)
    assert groups == dependencies.channel_groups(net)
    assert channel_groups(net.module(), input_shape=(1, 28, 28)) == groups


def test_a_plain_module_that_is_cut_computes_what_it_does_with_those_channels_at_zero():
    module = plain().eval()
    with torch.no_grad():
        module[1].bias.uniform_(-1, 1)
    groups = channel_groups(module, input_shape=SHAPE)
    smaller = keep_channels(module, {"0": [1, 4], "3": [0, 2, 3]}, groups)
    assert (smaller[0].out_channels, smaller[3].in_channels, smaller[3].out_channels) == (2, 2, 3)
    assert smaller[5].in_features == 3 * 16
    assert (module[0].out_channels, module[5].in_features) == (6, 64)  # the given one is as it was
    with torch.no_grad():
        for lost in (0, 2, 3, 5):
            module[1].weight[lost] = module[1].bias[lost] = 0
        module[3].weight[1] = module[3].bias[1] = 0
        x = torch.randn(5, *SHAPE)
        torch.testing.assert_close(smaller(x), module(x))


def test_a_cut_module_trains_on_where_it_trained():
    module = plain().train()
    module[1].eval()  # statistics that its owner froze
    smaller = keep_channels(module, {"0": [0, 1]}, channel_groups(module, input_shape=SHAPE))
    assert [layer.training for layer in smaller] == [True, False, True, True, True, True]
    assert module.training


def test_a_net_stays_a_net_that_can_be_saved():
    smaller = keep_channels(Net.new("lenet", (1, 28, 28), seed=0), {"stage1.conv": [0, 3]})
    again = Net.from_bytes(smaller.to_bytes())
    assert again.module().stage1.conv.weight.shape == (2, 1, 5, 5)


@pytest.mark.parametrize(
    ("net", "shape", "why"),
    [
        (plain(), None, "needs the shape of one input, as input_shape="),
        (plain(), (3, 0, 8), "is no shape of one input"),
        (plain(), 8, "is no shape of one input"),
        (plain(), (1, 8, 8), "the net does not run"),
        (Net.new("lenet", (1, 28, 28), seed=0), (3, 28, 28), "does not fit the net, which takes"),
        ("lenet", None, "not of str"),
    ],
)
def test_what_has_no_groups_is_refused(net, shape, why):
    with pytest.raises(ValueError, match=why):
        channel_groups(net, input_shape=shape)


@pytest.mark.parametrize(
    ("kept", "why"),
    [({"9": [0]}, "no group of channels is called '9'"), ({"0": []}, "keep some"), ({"0": [6]}, "0 to 5")],
)
def test_what_cannot_be_kept_is_refused(kept, why):
    module = plain()
    with pytest.raises(ValueError, match=why):
        keep_channels(module, kept, channel_groups(module, input_shape=SHAPE))


def test_a_plain_module_is_cut_by_groups_alone():
    with pytest.raises(ValueError, match="a plain torch module is cut by its groups"):
        keep_channels(plain(), {"0": [1]})


def test_who_traces_a_technique_hears_of_it():
    net = Net.new("lenet", (1, 28, 28), seed=0)
    with listening() as modules:
        keep_channels(net, {"stage1.conv": [0]}, channel_groups(net))
    assert "joulemark.nets.channels" in modules
