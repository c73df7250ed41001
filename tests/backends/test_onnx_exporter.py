"""A module as an ONNX graph: its batch axis, what it lacks, and what cannot be exported."""

from __future__ import annotations

import onnx
import pytest
import torch
from torch import Tensor, nn

from joulemark.backends import onnx_exporter
from joulemark.backends.onnx_exporter import OPSET, export


@pytest.mark.parametrize("free", [True, False])
def test_the_batch_axis_is_free_or_that_of_the_example(free):
    model = onnx.load_from_string(export(nn.Linear(3, 2), (torch.zeros(5, 3),), free_rows=free))
    rows = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert (rows.dim_param != "") is free
    assert rows.dim_value == (0 if free else 5)
    assert {one.version for one in model.opset_import if one.domain == ""} == {OPSET}


def test_what_takes_all_inputs_by_one_star_is_exported_so():
    class Sum(nn.Module):
        def forward(self, *values: Tensor) -> Tensor:
            return values[0] + values[1]

    model = onnx.load_from_string(export(Sum(), (torch.zeros(2, 3), torch.zeros(2, 3)), variadic=True))
    assert len(model.graph.input) == 2


def test_a_net_that_cannot_be_exported_is_a_value_error():
    class Decomposition(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.svd(x)[1]

    with pytest.raises(ValueError, match=r"^the net cannot be exported to ONNX: ") as caught:
        export(Decomposition(), (torch.zeros(2, 3, 3),))
    assert "\n" not in str(caught.value)


def test_what_the_exporter_lacks_is_named(monkeypatch):
    assert onnx_exporter.lacking() is None
    monkeypatch.setattr(onnx_exporter, "find_spec", lambda name: None)
    assert onnx_exporter.lacking() == "install onnx and onnxscript: the exporter needs them"
