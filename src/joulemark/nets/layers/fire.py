"""The fire module of SqueezeNet: few filters of 1 x 1, then many of 1 x 1 and of k x k side by side.

Source: F. N. Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
arXiv 1602.07360, section 3.2 (recalled), there with k = 3. Other kernels, strides and paddings, for nets that have
them, are ours.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class FireSizes(NamedTuple):
    """Filters of one fire module; ``expand3x3`` are the wide ones, whatever their kernel."""

    squeeze: int
    expand1x1: int
    expand3x3: int


class Fire(nn.Module):
    """Maps (rows, ``inputs``, h, w) to (rows, ``sizes.expand1x1`` + ``sizes.expand3x3``, h', w').

    h' and w' are those of a convolution of ``kernel`` (odd) with this stride and padding: where the wide filters lose
    the rim, so do the narrow ones.

    >>> Fire(8, FireSizes(2, 3, 5), kernel=5, padding=0)(torch.zeros(1, 8, 12, 12)).shape
    torch.Size([1, 8, 8, 8])
    """

    def __init__(
        self, inputs: int, sizes: FireSizes, *, kernel: int = 3, stride: int = 1, padding: int | None = None
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"a fire module needs an odd kernel, not {kernel}")
        padding = kernel // 2 if padding is None else padding
        rim = kernel // 2 - padding
        self.squeeze = nn.Conv2d(inputs, sizes.squeeze, 1)
        self.squeeze_relu = nn.ReLU()
        self.crop = nn.ZeroPad2d(-rim) if rim else nn.Identity()
        self.expand1x1 = nn.Conv2d(sizes.squeeze, sizes.expand1x1, 1, stride=stride)
        self.expand1x1_relu = nn.ReLU()
        self.expand3x3 = nn.Conv2d(sizes.squeeze, sizes.expand3x3, kernel, stride=stride, padding=padding)
        self.expand3x3_relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """The module's output."""
        x = self.squeeze_relu(self.squeeze(x))
        narrow = self.expand1x1_relu(self.expand1x1(self.crop(x)))
        return torch.cat([narrow, self.expand3x3_relu(self.expand3x3(x))], 1)
