"""The convolution that a layer is: what every model of an accelerator reads from a recorded operation."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any

import msgspec

from joulemark.record import Record
from joulemark.workloads.workload import Operation

Count = Annotated[int, msgspec.Meta(ge=1)]


class Shape(Record, frozen=True, kw_only=True):
    """A convolution of one image; ``height`` and ``width`` are of the padded input, channels and filters per group."""

    groups: Count = 1
    channels: Count
    filters: Count
    height: Count
    width: Count
    kernel_height: Count = 1
    kernel_width: Count = 1
    stride_height: Count = 1
    stride_width: Count = 1
    dilation_height: Count = 1
    dilation_width: Count = 1

    @property
    def out_height(self) -> int:
        """Output rows, E = (H - R + U) / U rounded down (R spread by the dilation)."""
        return (self.height - self.dilation_height * (self.kernel_height - 1) - 1) // self.stride_height + 1

    @property
    def out_width(self) -> int:
        """Output columns, F = (W - S + U) / U rounded down (S spread by the dilation)."""
        return (self.width - self.dilation_width * (self.kernel_width - 1) - 1) // self.stride_width + 1

    @property
    def weights(self) -> int:
        """Weights of all groups, G M C R S."""
        return self.groups * self.filters * self.channels * self.kernel_height * self.kernel_width

    @property
    def inputs(self) -> int:
        """Padded input elements of one image, G C H W."""
        return self.groups * self.channels * self.height * self.width

    @property
    def outputs(self) -> int:
        """Output elements of one image, G M E F."""
        return self.groups * self.filters * self.out_height * self.out_width

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image, padding included."""
        return self.outputs * self.channels * self.kernel_height * self.kernel_width

    def strip(self, columns: Any) -> Any:
        """Input columns under ``columns`` output columns, w = U f + S - U (an int or an array of them)."""
        return self.stride_width * (columns - 1) + self.dilation_width * (self.kernel_width - 1) + 1


def layer_shape(operation: Operation) -> Shape | None:
    """Return the convolution that an operation is, or ``None`` if it is none that the model describes.

    A linear layer is a convolution of its whole input (E = F = 1, one input a channel); applied along an axis it is a
    1 x 1 convolution of as many columns. A 1-D convolution of k taps on (C, W) is the 2-D one of
    a kernel of 1 x k on an image of height 1: it has the same weights, inputs, outputs and products, so arrays that
    know images only run it as that.

    Raises ``ValueError`` if the output shape is not the one that input, taps, stride and padding give.
    """
    weight = operation.weight_shape
    if weight is None or operation.operator not in ("conv", "linear"):
        return None
    if operation.operator == "linear":
        return Shape(channels=weight[1], filters=weight[0], height=1, width=prod(operation.input_shape) // weight[1])
    dimensions = len(weight) - 2
    if dimensions not in (1, 2):
        return None
    flat = (1,) * (2 - dimensions)
    stride = (*flat, *(operation.stride or (1,) * dimensions))
    dilation = (*flat, *(operation.dilation or (1,) * dimensions))
    padding = operation.padding or (0,) * dimensions
    padded = (*flat, *(size + 2 * pad for size, pad in zip(operation.input_shape[1:], padding, strict=True)))
    taps = (*flat, *weight[2:])
    shape = Shape(
        groups=operation.groups,
        channels=weight[1],
        filters=weight[0] // operation.groups,
        height=padded[0],
        width=padded[1],
        kernel_height=taps[0],
        kernel_width=taps[1],
        stride_height=stride[0],
        stride_width=stride[1],
        dilation_height=dilation[0],
        dilation_width=dilation[1],
    )
    expected = (weight[0], *(shape.out_height, shape.out_width)[2 - dimensions :])
    if operation.output_shape != expected:
        raise ValueError(f"{operation.layer!r}: shapes give an output of {expected}, recorded {operation.output_shape}")
    return shape
