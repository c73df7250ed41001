"""AlexNet in two groups against Caffe's deployed net, without numbers where none are needed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark.nets.builders.alexnet_grouped import alexnet_grouped
from joulemark.nets.net import Net, usual_input_shape
from joulemark.workloads.recording import record


def test_the_table_in_its_docstring_is_right(check_table):
    check_table("alexnet-grouped", rows=8)


def test_the_published_parameters_and_macs(counted):
    parameters, macs = counted("alexnet-grouped")[""]
    assert parameters == 60_965_224  # Caffe's deployed net
    assert macs == pytest.approx(724.4e6, rel=1e-3)


def test_the_outputs_of_its_poolings(shapes):
    found = shapes("alexnet-grouped")
    assert {name: found[name] for name in ("pool1", "pool2", "pool5", "flatten", "fc8")} == {
        "pool1": (96, 27, 27), "pool2": (256, 13, 13), "pool5": (256, 6, 6), "flatten": (9216,), "fc8": (1000,)
    }  # fmt: skip


def test_its_layers_are_called_and_stand_as_in_caffe(meta):
    stage = [("conv{0}", "relu{0}", "norm{0}", "pool{0}")] * 2 + [("conv{0}", "relu{0}")] * 2
    stage += [("conv{0}", "relu{0}", "pool{0}"), ("fc{0}", "relu{0}", "drop{0}"), ("fc{0}", "relu{0}", "drop{0}")]
    names = [name.format(number) for number, layers in enumerate(stage, start=1) for name in layers]
    names.insert(names.index("fc6"), "flatten")
    assert [name for name, _ in meta("alexnet-grouped").named_children()] == [*names, "fc8"]


def test_the_second_the_fourth_and_the_fifth_convolution_see_half_of_the_channels_each_way():
    net = alexnet_grouped(width=0.02)
    groups = {name: layer.groups for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d)}
    assert groups == {"conv1": 1, "conv2": 2, "conv3": 1, "conv4": 2, "conv5": 2}
    x = torch.randn(1, net.conv2.in_channels, 9, 9)
    first = x.clone()
    first[:, x.shape[1] // 2 :] = 0.0
    filters = net.conv2.out_channels // 2
    assert torch.equal(net.conv2(first)[:, :filters], net.conv2(x)[:, :filters])
    assert not torch.equal(net.conv2(first)[:, filters:], net.conv2(x)[:, filters:])


def test_both_groups_have_the_same_number_of_filters_at_every_width():
    for width in (0.001, 0.01, 0.3):
        net = alexnet_grouped(width=width)
        assert all(layer.out_channels % 2 == 0 for layer in net.modules() if isinstance(layer, nn.Conv2d))


def test_local_response_normalisation_is_caffes(meta):
    """y = x / (1 + 1e-4 / 5 sum over 5 channels of x^2)^0.75, written out for the middle of seven channels."""
    for norm in (meta("alexnet-grouped").norm1, meta("alexnet-grouped").norm2):
        x = 30 * torch.arange(1.0, 8.0)[None, :, None, None]
        squares = float((x[0, 1:6] ** 2).sum())
        assert float(norm(x)[0, 3]) == pytest.approx(120 / (1 + 1e-4 / 5 * squares) ** 0.75, rel=1e-6)


def test_every_operator_has_a_rule():
    net = Net.new("alexnet-grouped", usual_input_shape("alexnet-grouped"), seed=0, width=0.02)
    assert record(net.module(), torch.zeros(1, *net.input_shape)).unknown == {}
