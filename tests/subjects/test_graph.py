"""An ONNX graph is counted as the torch module it came from, and as a hand does it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper
from small_graphs import SHAPE, build, write

from joulemark.backends.onnx_exporter import export
from joulemark.energy.model import energy_model
from joulemark.subjects.graph import record_graph
from joulemark.workloads.recording import record


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((3, *SHAPE), dtype=np.float32)


def test_an_export_counts_as_its_module(images):
    module = build()
    expected = record(module, torch.from_numpy(images))
    found = record_graph(export(module, (torch.zeros(2, *SHAPE),)), images)
    products = [
        [operation for operation in workload.operations if operation.operator in ("conv", "linear")]
        for workload in (expected, found)
    ]
    assert found.macs_per_input == expected.macs_per_input == 8 * 36 * 27 + 8 * 36 * 9 + 72 * 5
    assert len(products[0]) == len(products[1]) == 3
    for theirs, ours in zip(*products, strict=True):
        same = ("operator", "weight_shape", "input_shape", "output_shape", "macs", "rows", "calls", "groups")
        assert {name: getattr(ours, name) for name in same} == {name: getattr(theirs, name) for name in same}
        for density in ("weight_density", "activation_density", "joint_density"):
            assert getattr(ours, density) == pytest.approx(getattr(theirs, density), abs=1e-5)
    assert not found.unknown
    model = energy_model("row-stationary")
    both = [model.estimate(workload).joules.value for workload in (expected, found)]
    assert both[1] == pytest.approx(both[0], rel=1e-5)


def test_uneven_padding_is_booked(tmp_path):
    weight = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[0, 0, 1, 2], kernel_shape=[3, 3], name="c")
    path = write(
        tmp_path / "m.onnx", [node], inputs={"x": [None, 1, 5, 5]}, outputs={"y": [None, 1, 4, 5]}, constants=[weight]
    )
    workload = record_graph(Path(path).read_bytes(), np.ones((1, 1, 5, 5), np.float32))
    (operation,) = workload.operations
    assert (operation.macs, operation.input_shape, operation.padding) == (4 * 5 * 9, (1, 6, 7), (0, 0))
    assert energy_model("row-stationary").estimate(workload).coverage == 1.0


def test_an_operator_without_a_rule_is_said(tmp_path):
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Det", ["a"], ["y"])]
    path = write(tmp_path / "m.onnx", nodes, inputs={"x": [None, 2, 2]}, outputs={"y": [None]})
    workload = record_graph(Path(path).read_bytes(), np.ones((1, 2, 2), np.float32))
    assert workload.unknown == {"Det": pytest.approx(1 / 5)}


def test_a_product_with_a_vector_is_counted(tmp_path):
    weight = numpy_helper.from_array(np.array([1.0, 0.0, 2.0], np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = write(tmp_path / "m.onnx", [node], inputs={"x": [None, 3]}, outputs={"y": [None]}, constants=[weight])
    (operation,) = record_graph(Path(path).read_bytes(), np.ones((2, 3), np.float32)).operations
    assert (operation.macs, operation.joint_density) == (6, pytest.approx(2 / 3))
