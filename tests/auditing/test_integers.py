"""Integers by the runtime's quantiser: real integer operators, outputs near those of floats."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from small_graphs import SHAPE, build

from joulemark.auditing.integers import quantised
from joulemark.backends.onnx import OnnxRuntime
from joulemark.backends.onnx_exporter import export
from joulemark.subjects.graph import record_graph


def test_integers_run_near_floats():
    graph = export(build(), (torch.zeros(2, *SHAPE),))
    images = np.random.default_rng(0).standard_normal((16, *SHAPE), dtype=np.float32)
    made = quantised(graph, images)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in onnx.load_from_string(made).graph.node}
    floats, integers = (OnnxRuntime().ready(one, 1).run(images) for one in (graph, made))
    assert 0 < np.abs(floats - integers).max() < 0.1 * np.abs(floats).max()
    products = [one for one in record_graph(made, images[:1]).operations if one.macs]
    assert {(one.weight_bits, one.activation_bits) for one in products} == {(8, 8)}


def test_what_cannot_be_quantised_is_one_sentence():
    with pytest.raises(ValueError, match="ONNX Runtime cannot quantise it"):
        quantised(export(build(), (torch.zeros(2, *SHAPE),)), np.zeros((4, 1, 1, 1), np.float32))
