"""Put a fire module where a convolution stood."""

from __future__ import annotations

from torch import nn

from joulemark.nets.edits.edit import put_in_place
from joulemark.nets.layers.fire import Fire, FireSizes


def fire(module: nn.Module, *, layer: str, squeeze: int, expand1x1: int, expand3x3: int) -> None:
    """Put a fire module in the place of a convolution that it has the inputs, outputs and sizes of."""
    convolution = dict(module.named_modules()).get(layer)
    plain = isinstance(convolution, nn.Conv2d) and convolution.groups == 1 and convolution.dilation == (1, 1)
    if (
        not isinstance(convolution, nn.Conv2d)
        or not plain
        or any(
            len(set(sides)) > 1 or not isinstance(sides, tuple)
            for sides in (convolution.kernel_size, convolution.stride, convolution.padding)
        )
    ):
        raise ValueError(f"fire: {layer!r} is no convolution that is square and plain")
    if expand1x1 + expand3x3 != convolution.out_channels or min(squeeze, expand1x1, expand3x3) < 1:
        raise ValueError(
            f"fire: {squeeze}, {expand1x1} and {expand3x3} filters cannot stand for the {convolution.out_channels} of "
            f"{layer!r}"
        )
    made = Fire(
        convolution.in_channels,
        FireSizes(squeeze, expand1x1, expand3x3),
        kernel=convolution.kernel_size[0],
        stride=convolution.stride[0],
        padding=int(convolution.padding[0]),
    )
    put_in_place(module, layer, made)
