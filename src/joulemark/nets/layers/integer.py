"""Layers in integers of 2 to 8 bits: weights symmetric, one scale a filter; inputs affine, one scale.

Source: B. Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
CVPR 2018, sections 2.1 and 3 (the affine scheme; simulated in training, gradients passed straight through), here with
symmetric weights and a scale for each filter, as ONNX Runtime's kernels want them.

    w ≈ s_w q_w,  |q_w| <= 2^(bits-1) - 1;   x ≈ s_x (q_x - z),  q_x = 0 ... 2^bits - 1
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import torch
from torch import Tensor, nn

from joulemark.nets.header import Format
from joulemark.nets.layers.layer import LayerKind, StandIn
from joulemark.nets.layers.quantize import onnx_translations, quantize_dequantize

LARGEST = 1e30
"""Activations beyond it overflow in float32 when they are scaled."""
LEAST_STEP = 1e-12
"""Scale of weights or activations that are all zero."""
LARGEST_BIAS = 2.0**30
"""In steps of a product, s_w s_x: half of an int32, so that the sum of a filter's products has room beside it."""


class IntegerLayer(StandIn):
    """A convolution or linear layer whose input and weights (and outputs, if so said) pass through integers.

    Exported, this is the quantise-dequantise pattern that runtimes fuse into integer kernels; the bias stays float.
    Bits below 8 are kept in 8: their range is narrower.
    """

    free: ClassVar[frozenset[str]] = frozenset({"quantize_dequantize"})  # fused into the neighbours where it is real
    onnx_translations: ClassVar[Any] = staticmethod(onnx_translations)

    def __init__(self, layer: nn.Module, form: Format) -> None:
        _refuse_unfit(layer, form)
        super().__init__(layer)
        self.form, self.needs = form, needs(form)
        self.ends: dict[str, tuple[float, float]] = {}  # of the values that the levels hold
        self._range("input", form.low, form.high)
        scale = self._weight_scale()
        self.register_buffer("weight_scale", scale, persistent=False)
        self.register_buffer("weight_zero", torch.zeros(len(scale), dtype=torch.int8), persistent=False)
        if form.output is not msgspec.UNSET:
            self._range("output", *form.output)

    def _range(self, side: str, low: float, high: float) -> None:
        """Buffers with the scale and the integer of zero for values in [low, high], widened to hold zero."""
        scale, zero, self.ends[side] = affine(low, high, self.form.activation_bits)
        self.register_buffer(f"{side}_scale", scale, persistent=False)
        self.register_buffer(f"{side}_zero", zero, persistent=False)

    def _weight_scale(self) -> Tensor:
        # That of a linear layer is added in float, behind the product.
        floats = self.bias is None or isinstance(self.stands_for, nn.Linear)
        bias = None if floats else self.bias.detach()
        return weight_scale(self.weight.detach(), bias, self.input_scale, self.form)

    def received(self, x: Tensor) -> Tensor:
        """What its products get of an input."""
        return self._activation(x, "input")

    def forward(self, x: Tensor) -> Tensor:
        """The layer on the quantised input and weights."""
        y = self._compute(self.received(x))
        return y if self.form.output is msgspec.UNSET else self._activation(y, "output")

    def _activation(self, x: Tensor, side: str) -> Tensor:
        if (self.form.activation_bits or 8) < 8:  # what 8 bits would hold and these do not
            x = x.clamp(*self.ends[side])
        return self._rounded(x, getattr(self, f"{side}_scale"), getattr(self, f"{side}_zero"), 0)

    def _rounded(self, x: Tensor, scale: Tensor, zero: Tensor, axis: int) -> Tensor:
        rounded: Tensor = quantize_dequantize(x, scale, zero, axis)
        return rounded

    def _compute(self, x: Tensor) -> Tensor:
        layer: Any = self.stands_for
        weight: Tensor = self.weight
        if isinstance(layer, nn.Linear):
            # Product and sum, not linear(): ONNX Runtime has no integer kernel for a Gemm with a float bias.
            product = torch.matmul(x, self._rounded(weight.t(), self.weight_scale, self.weight_zero, 1))
            return product if self.bias is None else product + self.bias
        rounded = self._rounded(weight, self.weight_scale, self.weight_zero, 0)
        convolved: Tensor = layer._conv_forward(x, rounded, self.bias)
        return convolved


class TrainedIntegerLayer(IntegerLayer):
    """The same layer as it trains: gradients pass the rounding as if it were not there (straight-through).

    The scales of the weights follow the weights; the ranges of the activations stay as they were calibrated, and what
    is outside of them has no gradient.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The layer on the quantised input and weights."""
        self.weight_scale = self._weight_scale()
        return super().forward(x)

    def _rounded(self, x: Tensor, scale: Tensor, zero: Tensor, axis: int) -> Tensor:
        return straight_through(x, scale, zero, axis)


def affine(low: float, high: float, bits: int | None) -> tuple[Tensor, Tensor, tuple[float, float]]:
    """Scale and integer of zero for values in [low, high], widened to hold zero; and the ends that the levels hold.

    The ends are nudged, so that zero is one of the levels.

    >>> affine(-1.0, 1.0, 8)
    (tensor(0.0078), tensor(128, dtype=torch.uint8), (-1.003921568627451, 0.996078431372549))
    """
    low, high = min(low, 0.0), max(high, 0.0)
    levels = _levels(bits)
    step = max((high - low) / levels, LEAST_STEP)
    zero = round(-low / step)
    ends = (-zero * step, (levels - zero) * step)
    return torch.tensor(step, dtype=torch.float32), torch.tensor(zero, dtype=torch.uint8), ends


def straight_through(x: Tensor, scale: Tensor, zero: Tensor, axis: int) -> Tensor:
    """The rounded values, with gradients as if nothing was rounded; what the levels cannot hold has none."""
    limits, shape = torch.iinfo(zero.dtype), [1] * x.dim()
    if scale.dim():
        shape[axis] = -1
    step, middle = scale.view(shape), zero.to(x.dtype).view(shape)
    inside = x.clamp((limits.min - middle) * step, (limits.max - middle) * step)
    rounded: Tensor = quantize_dequantize(x.detach(), scale, zero, axis)
    return inside + (rounded - inside.detach())


def weight_scale(weight: Tensor, bias: Tensor | None, input_scale: Tensor, form: Format) -> Tensor:
    """One scale for each filter: its largest weight over the largest integer.

    Integer kernels add the bias in int32, in steps of s_w s_x. Of a filter whose weights are (nearly) all zero, as
    folding a batch norm with gamma 0 leaves them, those steps could not hold it, so s_w is at least what does.

    >>> form = Format(weight_bits=8, activation_bits=8)
    >>> weight, bias = torch.tensor([[1.27, 0.0], [0.0, 0.0]]), torch.tensor([0.5, 0.5])
    >>> weight_scale(weight, bias, torch.tensor(0.01), form) * 0.01 * 2**30 >= bias
    tensor([True, True])
    """
    largest = weight.abs().amax(dim=tuple(range(1, weight.dim())))
    scale = (largest / float(2 ** ((form.weight_bits or 8) - 1) - 1)).clamp(min=LEAST_STEP)
    return scale if bias is None else scale.maximum(bias.abs() / (LARGEST_BIAS * input_scale))


def needs(form: Format) -> str:
    """The word of the kernel: "int8" where weights and inputs have 8 bits, "int4" for 4, "w4a8" for a mixture.

    >>> needs(Format(weight_bits=8, activation_bits=8)), needs(Format(weight_bits=4, activation_bits=8))
    ('int8', 'w4a8')
    """
    weights, inputs = form.weight_bits, form.activation_bits
    return f"int{weights}" if weights == inputs else f"w{weights}a{inputs}"


def _levels(bits: int | None) -> float:
    return float(2 ** (bits or 8) - 1)


def _refuse_unfit(layer: nn.Module, form: Format) -> None:
    if not isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
        raise ValueError(f"it is a {type(layer).__name__}; integers are for convolutions and linear layers")
    if form.options is not msgspec.UNSET:
        raise ValueError(f"integers take no options, and it has {', '.join(form.options) or 'some'}")
    for low, high in ((form.low, form.high), *([] if form.output is msgspec.UNSET else [form.output])):
        if not -LARGEST <= low <= high <= LARGEST:
            raise ValueError(f"its range of activations {low:g} to {high:g} is none, or beyond {LARGEST:g}")
    for what, bits in (("weights", form.weight_bits), ("activations", form.activation_bits)):
        if bits is None or not 2 <= bits <= 8:
            raise ValueError(f"integers have 2 to 8 bits, and its {what} have {'no format' if bits is None else bits}")


INTEGER = LayerKind(trained=TrainedIntegerLayer, deployed=IntegerLayer, needs=needs)
