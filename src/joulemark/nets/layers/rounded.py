"""A module whose input or output passes through integers of 8 bits: a value between layers, rounded once for all.

Source: the affine scheme of :mod:`joulemark.nets.layers.integer`. Exported, each is a quantise-dequantise pair, by
which a runtime computes sums, averages and concatenations in integers. The module stays what it is, and where it is.
What its operator is in ONNX, and that it costs nothing, is said by the integer layers, without which it has no use.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from torch import Tensor, nn

from joulemark.nets.header import Format
from joulemark.nets.layers.integer import LARGEST, affine, straight_through
from joulemark.nets.layers.layer import LayerKind
from joulemark.nets.layers.quantize import quantize_dequantize

Round = Callable[[Tensor, Tensor, Tensor, int], Tensor]


def rounded(module: nn.Module, form: Format, through: Round = quantize_dequantize) -> nn.Module:
    """``module``, with its first input rounded if the format has a range for it, and its output likewise.

    Raises ``ValueError`` for other bits than 8, for weights with bits, for options, and for no range at all.
    """
    _refuse_unfit(form)
    if form.high > form.low:
        scale, zero = _kept(module, "joulemark_input", form.low, form.high)
        module.register_forward_pre_hook(
            lambda layer, inputs: (through(inputs[0], getattr(layer, scale), getattr(layer, zero), 0), *inputs[1:])
        )
    if form.output is not msgspec.UNSET:
        step, middle = _kept(module, "joulemark_output", *form.output)
        module.register_forward_hook(
            lambda layer, _, output: through(output, getattr(layer, step), getattr(layer, middle), 0)
        )
    return module


def _kept(module: nn.Module, name: str, low: float, high: float) -> tuple[str, str]:
    """Buffers with the scale and the integer of zero; their names."""
    names = (f"{name}_scale", f"{name}_zero")
    for one, value in zip(names, affine(low, high, 8)[:2], strict=True):
        module.register_buffer(one, value, persistent=False)
    return names


def _refuse_unfit(form: Format) -> None:
    if form.weight_bits is not None or form.options is not msgspec.UNSET:
        raise ValueError("what is rounded between layers has neither weights nor options")
    if form.activation_bits != 8:
        raise ValueError(f"values between layers are rounded to 8 bits, not to {form.activation_bits}")
    output = (0.0, 0.0) if form.output is msgspec.UNSET else form.output
    if form.high <= form.low and form.output is msgspec.UNSET:
        raise ValueError("it has no range, neither of what goes in nor of what comes out")
    for low, high in ((form.low, form.high), output):
        if not -LARGEST <= low <= high <= LARGEST:
            raise ValueError(f"its range of activations {low:g} to {high:g} is none, or beyond {LARGEST:g}")


def _trained(module: nn.Module, form: Format) -> nn.Module:
    return rounded(module, form, straight_through)


ROUNDED = LayerKind(trained=_trained, deployed=rounded, needs=lambda form: "int8")
