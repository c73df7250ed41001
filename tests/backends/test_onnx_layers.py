"""Where the layers of an exported net begin, against hooks in PyTorch."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from small_nets import NETS

from joulemark.backends.fidelity import received
from joulemark.backends.onnx import OnnxRuntime
from joulemark.backends.onnx_exporter import export
from joulemark.backends.onnx_layers import entries
from joulemark.nets.net import Net

RESNET = Net.new("resnet20", (3, 32, 32), seed=0)


@pytest.mark.parametrize(
    "net", [NETS["static"], NETS["quantised"], RESNET], ids=["lenet", "lenet in integers", "resnet"]
)
def test_a_graph_cut_off_at_a_layer_gives_what_the_layer_receives(net):
    x = np.random.default_rng(1).standard_normal((3, *net.input_shape), dtype=np.float32)
    expected = received(net.module(), x)
    products = [path for path, value in expected.items() if "bn" not in path]
    found = OnnxRuntime().received(net, products, x)
    assert set(found) <= set(products)
    assert len(found) >= 4
    for path, value in found.items():
        step = 0.05 if net.formats else 1e-4  # an operand between two integers may round the other way
        np.testing.assert_allclose(value, expected[path], atol=step * np.abs(expected[path]).max(), err_msg=path)


def test_every_layer_of_a_plain_net_is_found_once():
    graph = onnx.load_from_string(export(NETS["static"].module(), (torch.zeros(2, 1, 28, 28),))).graph
    found = entries(graph)
    assert set(received(NETS["static"].module(), np.zeros((1, 1, 28, 28), np.float32))) <= set(found)
    assert found["stage1.conv"] == graph.input[0].name
