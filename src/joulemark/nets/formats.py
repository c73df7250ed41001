"""Number formats: which kind and how many bits the weights, activations and gradients of a layer have.

A format holds everything that lowering needs, so that a reloaded net is quantised to the same integers on every
backend.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import torch
from torch import Tensor, nn

from joulemark.nets.layers.quantize import quantize_dequantize
from joulemark.record import Record


class Format(Record, frozen=True, kw_only=True):
    """Number format of one layer. ``None`` bits mean float32; ``ValueError`` for bits that are not 1 to 32.

    Integers: weights symmetric with one scale per output channel (scale = max |w| / (2^(bits-1) - 1)); activations
    affine with one scale over [``low``, ``high``], the range seen in calibration widened to hold zero. ``output`` is
    the range of what the layer puts out, for one whose outputs must be integers too; a range from 0 is a ReLU as well.
    Unset it is not written, so that nets saved before it was thought of keep their hash. ``gradient_bits`` is reserved
    for training in low precision: no backend reads it, and running a net does not depend on it.
    """

    kind: str = "int"  # "int" so far
    weight_bits: int | None = None
    activation_bits: int | None = None
    gradient_bits: int | None = None
    low: float = 0.0
    high: float = 0.0
    output: tuple[float, float] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        for name in ("weight_bits", "activation_bits", "gradient_bits"):
            bits = getattr(self, name)
            if bits is not None and not (type(bits) is int and 1 <= bits <= 32):
                raise ValueError(f"{name} are 1 to 32 or None, not {bits!r}")


class QuantisedLayer(nn.Module):
    """A convolution or linear layer whose input and weights (and outputs, if so said) pass through 8-bit integers.

    Exported, this is the quantise-dequantise pattern that runtimes fuse into integer kernels; the bias stays float.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear, form: Format) -> None:
        super().__init__()
        self.layer, self.form = layer, form
        weight = layer.weight.detach()
        scale = (weight.abs().amax(dim=tuple(range(1, weight.dim()))) / 127.0).clamp(min=1e-12)
        self.register_buffer("weight_scale", scale)
        self.register_buffer("weight_zero", torch.zeros(len(scale), dtype=torch.int8))
        self._range("input", form.low, form.high)
        if form.output is not msgspec.UNSET:
            self._range("output", *form.output)

    def _range(self, side: str, low: float, high: float) -> None:
        """Buffers with the scale and the integer of zero for values in [low, high], widened to hold zero."""
        low, high = min(low, 0.0), max(high, 0.0)
        step = max((high - low) / 255.0, 1e-12)
        self.register_buffer(f"{side}_scale", torch.tensor(step, dtype=torch.float32))
        self.register_buffer(f"{side}_zero", torch.tensor(round(-low / step), dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        """The layer on the quantised input and weights."""
        y = self._compute(quantize_dequantize(x, self.input_scale, self.input_zero, 0))
        if self.form.output is msgspec.UNSET:
            return y
        out: Tensor = quantize_dequantize(y, self.output_scale, self.output_zero, 0)
        return out

    def _compute(self, x: Tensor) -> Tensor:
        if isinstance(self.layer, nn.Linear):
            # Product and sum, not linear(): ONNX Runtime has no integer kernel for a Gemm with a float bias.
            columns = quantize_dequantize(self.layer.weight.t(), self.weight_scale, self.weight_zero, 1)
            product = torch.matmul(x, columns)
            return product if self.layer.bias is None else product + self.layer.bias
        weight = quantize_dequantize(self.layer.weight, self.weight_scale, self.weight_zero, 0)
        convolved: Tensor = self.layer._conv_forward(x, weight, self.layer.bias)
        return convolved


def apply_formats(module: nn.Module, formats: Mapping[str, Format]) -> None:
    """Replace each named layer by its quantised form, in place. ``ValueError`` where a format has no lowering."""
    for path, form in formats.items():
        layer = dict(module.named_modules()).get(path)
        if layer is None:
            raise ValueError(f"a format is for layer {path!r}, which the net does not have")
        if (form.kind, form.weight_bits, form.activation_bits) != ("int", 8, 8):
            raise ValueError(f"layer {path!r}: no lowering for {form.kind} W{form.weight_bits}A{form.activation_bits}")
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            raise ValueError(f"layer {path!r} is a {type(layer).__name__}; formats are for convolutions and linears")
        parent, _, child = path.rpartition(".")
        setattr(module.get_submodule(parent), child, QuantisedLayer(layer, form))
