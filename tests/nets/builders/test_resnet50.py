"""ResNet-50 against its published counts and names, and its block written with functions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark.nets.builders.resnet50 import Bottleneck, resnet50


def test_the_table_in_its_docstring_is_right(check_table):
    check_table("resnet50", rows=6)


def test_the_published_parameters_and_macs(counted):
    parameters, macs = counted("resnet50")[""]
    assert parameters == 25_557_032  # torchvision's models
    assert macs == pytest.approx(4.09e9, rel=3e-3)


def test_the_outputs_of_its_stages(shapes):
    expected = {
        "conv1": (64, 112, 112), "maxpool": (64, 56, 56), "layer1": (256, 56, 56), "layer2": (512, 28, 28),
        "layer3": (1024, 14, 14), "layer4": (2048, 7, 7), "avgpool": (2048, 1, 1), "fc": (1000,),
    }  # fmt: skip
    found = shapes("resnet50")
    assert {name: found[name] for name in expected} == expected


def test_it_has_fifty_layers_with_weights(meta):
    layers = dict(meta("resnet50").named_modules())
    weighty = [name for name, m in layers.items() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len([name for name in weighty if "downsample" not in name]) == 50


def test_the_three_by_three_halves_the_image(meta):
    """torchvision's v1.5; in the paper's it is the 1 x 1 before it."""
    strided = {
        name for name, one in meta("resnet50").named_modules() if isinstance(one, nn.Conv2d) and one.stride != (1, 1)
    }
    stages = ("layer2.0", "layer3.0", "layer4.0")
    assert strided == {"conv1", *(f"{stage}.{end}" for stage in stages for end in ("conv2", "downsample.0"))}


def test_its_names_are_those_of_the_published_weights(meta):
    names = meta("resnet50").state_dict().keys()
    layers = ["conv1", "layer1.0.downsample.0", "layer3.5.conv3", "layer4.2.conv2", "fc"]
    assert {f"{path}.weight" for path in layers} <= names
    assert {"layer1.0.downsample.1.running_mean", "layer4.2.bn3.num_batches_tracked", "bn1.bias"} <= names
    assert len(names) == 53 * 6 + 2  # a convolution and its batch norm's five, 53 times; the classifier's two


@pytest.mark.parametrize(("inputs", "stride", "projects"), [(12, 1, False), (12, 2, True), (5, 1, True)])
def test_a_bottleneck_adds_its_shortcut(inputs, stride, projects):
    torch.manual_seed(0)
    block, x = Bottleneck(inputs, 3, stride).eval(), torch.randn(2, inputs, 7, 6)
    for norm in (m for m in block.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    conv = nn.functional.conv2d
    y = torch.relu(block.bn1(conv(x, block.conv1.weight)))
    y = torch.relu(block.bn2(conv(y, block.conv2.weight, stride=stride, padding=1)))
    y = block.bn3(conv(y, block.conv3.weight))
    assert (block.downsample is not None) == projects
    shortcut = block.downsample[1](conv(x, block.downsample[0].weight, stride=stride)) if projects else x
    torch.testing.assert_close(block(x), torch.relu(y + shortcut))


def test_weights_are_drawn_as_he_drew_them():
    """A deviation of the root of 2 / (filters x taps), so that gradients keep their size on the way back."""
    torch.manual_seed(0)
    net = resnet50(width=0.5)
    for layer in (net.conv1, net.layer2[0].conv2, net.layer3[1].conv3, net.layer4[0].downsample[0]):
        expected = (2 / (layer.out_channels * layer.kernel_size[0] ** 2)) ** 0.5
        assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.05)
