"""SqueezeNet: AlexNet's accuracy on ImageNet with fifty times fewer parameters, from fire modules.

Source: F. N. Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
arXiv 1602.07360, in the shape of the authors' ``SqueezeNet_v1.0/train_val.prototxt`` and ``SqueezeNet_v1.1``: poolings
are 3 x 3 with stride 2, rounded up as in Caffe. In v1.0 the last convolution is padded by 1 there, which other ports
leave out; it changes no parameter, but the average that follows runs over 15 x 15 places instead of 13 x 13. At 3 x 227
x 227:

    version   parameters        MACs   conv1         poolings behind
    1.0        1,248,424   861 million   96 of 7 x 7   conv1, fire4, fire8
    1.1        1,235,496   388 million   64 of 3 x 3   conv1, fire3, fire5; the last convolution not padded
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor, nn

from joulemark.nets.stages import scaled
from joulemark.record import unknown_name

INPUT_SHAPE = (3, 227, 227)
SQUEEZES = (16, 16, 32, 32, 48, 48, 64, 64)
"""Filters of the squeeze layers of fire2 to fire9; each expand layer has four times as many."""


class Version(NamedTuple):
    """What the published versions differ in."""

    filters: int  # of conv1
    kernel: int
    pooled: frozenset[str]  # a pooling stands behind these


VERSIONS = {
    "1.0": Version(96, 7, frozenset({"conv1", "fire4", "fire8"})),
    "1.1": Version(64, 3, frozenset({"conv1", "fire3", "fire5"})),
}


class Fire(nn.Module):
    """Few 1 x 1 filters, then many of 1 x 1 and of 3 x 3 side by side.

    Maps (rows, ``inputs``, h, w) to (rows, 2 ``expand``, h, w).
    """

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.squeeze_relu = nn.ReLU()
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand1x1_relu = nn.ReLU()
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.expand3x3_relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """The module's output."""
        x = self.squeeze_relu(self.squeeze(x))
        return torch.cat([self.expand1x1_relu(self.expand1x1(x)), self.expand3x3_relu(self.expand3x3(x))], 1)


def squeezenet(
    *, version: str = "1.0", width: float = 1.0, classes: int = 1000, conv10_padding: int = 1
) -> nn.Sequential:
    """SqueezeNet ``version`` "1.0" or "1.1"; ``width`` scales every layer but the last.

    Raises ``ValueError`` for another version.

    >>> sum(p.numel() for p in squeezenet().parameters())
    1248424
    """
    if version not in VERSIONS:
        raise ValueError(unknown_name("version of SqueezeNet", version, VERSIONS))
    filters, kernel, pooled = VERSIONS[version]
    (channels, *squeezes) = scaled([filters, *SQUEEZES], width)
    children: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(3, channels, kernel, stride=2), relu1=nn.ReLU())
    children["pool1"] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    for number, squeeze in enumerate(squeezes, start=2):
        children[f"fire{number}"] = Fire(channels, squeeze, 4 * squeeze)
        channels = 8 * squeeze
        if f"fire{number}" in pooled:
            children[f"pool{number}"] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    children |= {
        "dropout": nn.Dropout(),
        "conv10": nn.Conv2d(channels, classes, 1, padding=conv10_padding),
        "relu10": nn.ReLU(),
        "pool10": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
    }
    return nn.Sequential(children)
