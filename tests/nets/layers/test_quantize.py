"""The quantisation operator: PyTorch's own checks, a NumPy QuantizeLinear, and ONNX's reference evaluator."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.reference
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from joulemark.backends.onnx_exporter import export
from joulemark.nets.layers.quantize import onnx_translations, quantize_dequantize


def reference(x: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int) -> np.ndarray:
    """QuantizeLinear then DequantizeLinear, straight from the text of the ONNX operators."""
    shape = [1] * x.ndim
    if scale.ndim:
        shape[axis] = -1
    limits = np.iinfo(zero.dtype)
    steps = np.rint(x / scale.reshape(shape)) + zero.reshape(shape)  # rint rounds half to even
    whole = np.clip(steps, limits.min, limits.max).astype(zero.dtype)
    return (whole.astype(np.int32) - zero.reshape(shape).astype(np.int32)).astype(np.float32) * scale.reshape(shape)


CASES = [
    ((4, 3, 2), torch.tensor(0.05), torch.tensor(128, dtype=torch.uint8), 0),
    ((4, 3, 2), torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.zeros(4, dtype=torch.int8), 0),
    ((4, 3, 2), torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1, -2, 3], dtype=torch.int8), 1),
    ((4, 3, 2), torch.tensor([0.1, 0.2]), torch.tensor([0, 255], dtype=torch.uint8), -1),
]


@pytest.mark.parametrize("case", CASES)
def test_operator_is_registered_as_pytorch_wants(case):
    shape, scale, zero, axis = case
    torch.library.opcheck(quantize_dequantize, (torch.randn(shape), scale, zero, axis))


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float32, (3, 4), elements=st.floats(-1e6, 1e6, width=32)),
    st.floats(2**-10, 8, width=32),
    st.sampled_from([np.uint8, np.int8]),
    st.data(),
)
def test_equals_a_plain_numpy_quantize_linear(x, scale, kind, data):
    limits = np.iinfo(kind)
    per_slice = data.draw(st.booleans())
    zero = np.array(
        data.draw(st.lists(st.integers(limits.min, limits.max), min_size=4, max_size=4)) if per_slice
        else data.draw(st.integers(limits.min, limits.max)), kind,
    )  # fmt: skip
    scales = np.full(4, scale, np.float32) * np.arange(1, 5, dtype=np.float32) if per_slice else np.float32(scale)
    found = quantize_dequantize(*map(torch.tensor, (x, scales, zero)), 1)
    np.testing.assert_array_equal(found.numpy(), reference(x, np.asarray(scales), zero, 1))


def test_halves_round_to_even_and_values_saturate():
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, 1000.0, -1000.0])
    found = quantize_dequantize(x, torch.tensor(1.0), torch.tensor(0, dtype=torch.int8), 0)
    assert found.tolist() == [0, 2, 2, 0, -2, 127, -128]


def test_at_most_256_values():
    x = torch.randn(100_000)
    found = quantize_dequantize(x, torch.tensor(0.01), torch.tensor(100, dtype=torch.uint8), 0)
    assert 200 < len(found.unique()) <= 256


@pytest.mark.parametrize("case", CASES[1:3])
def test_round_trip_through_onnx(case):
    shape, scale, zero, axis = case

    class Rounded(torch.nn.Module):
        onnx_translations = staticmethod(onnx_translations)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return quantize_dequantize(x, scale, zero, axis)

    model = onnx.load_from_string(export(Rounded(), (torch.zeros(shape),)))
    assert [node.op_type for node in model.graph.node] == ["QuantizeLinear", "DequantizeLinear"]
    rows = 4 if axis == 0 else 9  # the free axis
    x = torch.randn(rows, *shape[1:])
    model.opset_import[0].version = 19  # the evaluator lacks these two at 18; they mean the same there
    evaluator = onnx.reference.ReferenceEvaluator(model)
    (found,) = evaluator.run(None, {model.graph.input[0].name: x.numpy()})
    np.testing.assert_allclose(found, quantize_dequantize(x, scale, zero, axis).numpy(), rtol=1e-6)
