"""A convolution as one smaller dense product: only the taps that any filter uses are gathered.

Source: W. Wen et al., "Learning structured sparsity in deep neural networks", NIPS 2016, section 3.3: a convolution is
lowered to a product of the matrix of filters, (filters, channels x taps), with that of the image's patches; columns of
weights that are zero in every filter are left out of both.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def can_be_lowered(layer: nn.Module | None) -> bool:
    """Whether a layer is a convolution in one group, padded with zeros in numbers."""
    if not isinstance(layer, nn.Conv2d) or isinstance(layer.padding, str):
        return False
    return layer.groups == 1 and layer.padding_mode == "zeros"


class LoweredConv2d(nn.Module):
    """A convolution with some columns (channel, row, column of the kernel) of its filters left out.

    Maps (rows, channels, h, w) to (rows, filters, h', w'). ``weight`` is (filters, columns kept).
    """

    needs = "columns"  # a product over the columns that are left: dense, so that any runtime has it
    kept: Tensor

    def __init__(self, convolution: nn.Conv2d, columns: Sequence[int]) -> None:
        """Take the columns, indices into channels x kernel height x kernel width, from one that can be lowered."""
        super().__init__()
        self.kernel, self.stride, self.dilation = convolution.kernel_size, convolution.stride, convolution.dilation
        self.padding = tuple(int(side) for side in convolution.padding)
        self.in_channels, self.out_channels = convolution.in_channels, convolution.out_channels
        self.register_buffer("kept", torch.tensor(list(columns), dtype=torch.int64), persistent=False)
        self.weight = nn.Parameter(convolution.weight.detach().flatten(1)[:, self.kept].clone())
        self.bias = None if convolution.bias is None else nn.Parameter(convolution.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of ``x``."""
        sides = [
            (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
            for size, pad, dilation, kernel, stride in zip(
                x.shape[-2:], self.padding, self.dilation, self.kernel, self.stride, strict=True
            )
        ]
        patches = nn.functional.unfold(x, self.kernel, self.dilation, self.padding, self.stride)
        out: Tensor = self.weight @ patches[:, self.kept]
        if self.bias is not None:
            out = out + self.bias[:, None]
        return torch.unflatten(out, 2, sides)
