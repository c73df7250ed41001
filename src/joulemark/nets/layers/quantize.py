"""Uniform quantisation as one operator: ``joulemark::quantize_dequantize``.

In eager PyTorch it rounds and scales back (simulated integers in floats). Exported to ONNX it becomes a
QuantizeLinear-DequantizeLinear pair, which ONNX Runtime fuses with the neighbouring operators into real integer
kernels. Importing this module registers the operator.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op("joulemark::quantize_dequantize", mutates_args=())
def quantize_dequantize(x: Tensor, scale: Tensor, zero_point: Tensor, axis: int) -> Tensor:
    """Round ``x`` to the integers of ``zero_point``'s type and scale back.

    ``scale`` (float32) and ``zero_point`` (uint8: activations; int8: weights) have shape () for one scale, or
    (x.shape[axis],) for one scale per slice along ``axis``. q = clamp(round(x / scale) + zero_point), result
    (q - zero_point) * scale, rounding half to even: the QuantizeLinear of ONNX.

    >>> import torch
    >>> x = torch.tensor([0.04, 0.26, 9.0])
    >>> quantize_dequantize(x, torch.tensor(0.1), torch.tensor(0, dtype=torch.uint8), 0)
    tensor([0.0000, 0.3000, 9.0000])
    """
    return in_plain_operators(x, scale, zero_point, axis)


def in_plain_operators(x: Tensor, scale: Tensor, zero_point: Tensor, axis: int) -> Tensor:
    """The same in operators that PyTorch has by itself: what the operator runs, and what a file of it holds."""
    shape = [1] * x.dim()
    if scale.dim():
        shape[axis] = -1
    limits = torch.iinfo(zero_point.dtype)
    step, zero = scale.view(shape), zero_point.to(x.dtype).view(shape)
    return (torch.clamp(torch.round(x / step) + zero, limits.min, limits.max) - zero) * step


@quantize_dequantize.register_fake
def _(x: Tensor, scale: Tensor, zero_point: Tensor, axis: int) -> Tensor:
    return torch.empty_like(x)


def onnx_translations() -> dict[Any, Any]:
    """The operator as ONNX, for ``torch.onnx.export(custom_translation_table=...)``."""
    from onnxscript import opset18 as op

    def translate(x: Any, scale: Any, zero_point: Any, axis: int) -> Any:
        return op.DequantizeLinear(op.QuantizeLinear(x, scale, zero_point, axis=axis), scale, zero_point, axis=axis)

    return {torch.ops.joulemark.quantize_dequantize.default: translate}
