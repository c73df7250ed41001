"""Lower a convolution to a product over some columns of its filters."""

from __future__ import annotations

from torch import nn

from joulemark.nets.edits.edit import put_in_place
from joulemark.nets.layers.lowered import LoweredConv2d, can_be_lowered


def lower_columns(module: nn.Module, *, layer: str, columns: list[int]) -> None:
    """Compute a convolution as a dense product over some columns of its filters: channels x kernel rows x columns."""
    convolution = dict(module.named_modules()).get(layer)
    if not isinstance(convolution, nn.Conv2d) or not can_be_lowered(convolution):
        raise ValueError(f"lower_columns: {layer!r} is no convolution that can be lowered")
    size = convolution.weight[0].numel()
    if not columns or columns != sorted(set(columns)) or not all(type(c) is int and 0 <= c < size for c in columns):
        raise ValueError(f"lower_columns: {layer!r} has columns 0 to {size - 1}: list some of them once, in order")
    put_in_place(module, layer, LoweredConv2d(convolution, columns))
