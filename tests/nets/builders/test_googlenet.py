"""GoogLeNet against Caffe's deployed net, and its module counted by hand and written with functions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark.nets.builders.googlenet import MODULES, Inception, googlenet
from joulemark.nets.net import Net, usual_input_shape
from joulemark.workloads.recording import record


def test_the_table_in_its_docstring_is_right(check_table):
    check_table("googlenet", rows=13)


def test_the_published_parameters_and_macs(counted):
    parameters, macs = counted("googlenet")[""]
    assert parameters == 6_998_552  # Caffe's deployed net
    assert macs == pytest.approx(1.58e9, rel=3e-3)


def test_the_outputs_of_its_children(shapes):
    expected = {
        "pool1": (64, 56, 56), "pool2": (192, 28, 28), "inception3b": (480, 28, 28), "pool3": (480, 14, 14),
        "inception4e": (832, 14, 14), "pool4": (832, 7, 7), "inception5b": (1024, 7, 7), "pool5": (1024, 1, 1),
        "classifier": (1000,),
    }  # fmt: skip
    found = shapes("googlenet")
    assert {name: found[name] for name in expected} == expected


def test_local_response_normalisation_stands_behind_the_first_pooling_and_before_the_second(meta):
    """As in Caffe's prototxt: pool1, norm1, conv2_reduce, conv2, norm2, pool2, with Caffe's constants."""
    names = [name for name, _ in meta("googlenet").named_children()]
    assert names[:10] == ["conv1", "relu1", "pool1", "norm1", "conv2_reduce", "relu2_reduce", "conv2", "relu2",
                          "norm2", "pool2"]  # fmt: skip
    for norm in (meta("googlenet").norm1, meta("googlenet").norm2):
        x = 30 * torch.arange(1.0, 8.0)[None, :, None, None]
        squares = float((x[0, 1:6] ** 2).sum())
        assert float(norm(x)[0, 3]) == pytest.approx(120 / (1 + 1e-4 / 5 * squares) ** 0.75, rel=1e-6)


def test_a_module_counted_by_hand():
    for sizes in MODULES.values():
        one, reduce3, three, reduce5, five, pool = sizes
        inputs = 7
        weights = inputs * (one + reduce3 + reduce5 + pool) + 9 * reduce3 * three + 25 * reduce5 * five
        with torch.device("meta"):
            module = Inception(inputs, sizes)
            y = module(torch.zeros(2, inputs, 5, 6))
        assert sum(p.numel() for p in module.parameters()) == weights + sum(sizes)
        assert y.shape == (2, one + three + five + pool, 5, 6)


def test_a_module_looks_at_its_input_four_ways():
    torch.manual_seed(0)
    module, x = googlenet(width=0.05).inception3a, torch.randn(2, 10, 6, 5)
    relu, conv = torch.relu, nn.functional.conv2d

    def layer(x, one, padding=0):
        return relu(conv(x, one.weight, one.bias, padding=padding))

    expected = [
        layer(x, module.branch1.one),
        layer(layer(x, module.branch3.reduce), module.branch3.three, 1),
        layer(layer(x, module.branch5.reduce), module.branch5.five, 2),
        layer(nn.functional.max_pool2d(x, 3, 1, 1), module.project.one),
    ]
    torch.testing.assert_close(module(x), torch.cat(expected, 1))


def test_every_operator_has_a_rule():
    net = Net.new("googlenet", usual_input_shape("googlenet"), seed=0, width=0.02)
    assert record(net.module(), torch.zeros(1, *net.input_shape)).unknown == {}
