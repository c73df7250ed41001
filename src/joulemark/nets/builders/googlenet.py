"""GoogLeNet (Inception v1): nine modules that look at the same input through four widths at once.

Source: C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, Table 1, in the shape of Caffe's
``models/bvlc_googlenet/deploy.prototxt``: poolings rounded up, local response normalisation after pool1 and conv2, no
batch norm, a bias everywhere. The two auxiliary heads, which only training uses, are left out. That makes 6,998,552
parameters, the figure given for Caffe's deployed net; torchvision's ``googlenet`` is another net (batch norm, 3 x 3 in
place of 5 x 5). At 3 x 224 x 224, width 1:

    child              output            parameters           MACs
    conv1               64 x 112 x 112        9,472    118,013,952
    conv2_reduce        64 x  56 x  56        4,160     12,845,056
    conv2              192 x  56 x  56      110,784    346,816,512
    inception3a        256 x  28 x  28      163,696    128,049,152
    inception3b        480 x  28 x  28      388,736    304,267,264
    inception4a        512 x  14 x  14      376,176     73,608,192
    inception4b        512 x  14 x  14      449,160     87,908,352
    inception4c        512 x  14 x  14      510,104     99,850,240
    inception4d        528 x  14 x  14      605,376    118,515,712
    inception4e        832 x  14 x  14      868,352    169,996,288
    inception5a        832 x   7 x   7    1,043,456     51,079,168
    inception5b      1,024 x   7 x   7    1,444,080     70,697,984
    classifier       1,000                1,025,000      1,024,000
    total                                 6,998,552  1,582,671,872
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor, nn

from joulemark.nets.builders.stages import scaled

INPUT_SHAPE = (3, 224, 224)


class Sizes(NamedTuple):
    """Filters of one inception module, as in the columns of the paper's Table 1."""

    one: int
    reduce3: int
    three: int
    reduce5: int
    five: int
    pool: int


MODULES = {
    "3a": Sizes(64, 96, 128, 16, 32, 32),
    "3b": Sizes(128, 128, 192, 32, 96, 64),
    "4a": Sizes(192, 96, 208, 16, 48, 64),
    "4b": Sizes(160, 112, 224, 24, 64, 64),
    "4c": Sizes(128, 128, 256, 24, 64, 64),
    "4d": Sizes(112, 144, 288, 32, 64, 64),
    "4e": Sizes(256, 160, 320, 32, 128, 128),
    "5a": Sizes(256, 160, 320, 32, 128, 128),
    "5b": Sizes(384, 192, 384, 48, 128, 128),
}
POOLED = ("3b", "4e")
"""A pooling stands behind these."""


class Inception(nn.Module):
    """1 x 1, 3 x 3, 5 x 5 and pooling side by side, each behind or before a 1 x 1 convolution that keeps it small.

    Maps (rows, ``inputs``, h, w) to (rows, one + three + five + pool, h, w). ``norm`` puts a batch norm behind every
    convolution, in place of its bias.
    """

    def __init__(self, inputs: int, sizes: Sizes, *, norm: bool = False) -> None:
        super().__init__()
        self.branch1 = _convolutions(inputs, norm, one=(sizes.one, 1))
        self.branch3 = _convolutions(inputs, norm, reduce=(sizes.reduce3, 1), three=(sizes.three, 3))
        self.branch5 = _convolutions(inputs, norm, reduce=(sizes.reduce5, 1), five=(sizes.five, 5))
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.project = _convolutions(inputs, norm, one=(sizes.pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        """The module's output."""
        return torch.cat([self.branch1(x), self.branch3(x), self.branch5(x), self.project(self.pool(x))], 1)


def googlenet(*, width: float = 1.0, classes: int = 1000) -> nn.Sequential:
    """GoogLeNet for (3, 224, 224) inputs; 6,998,552 parameters and 1,582,671,872 MACs at width 1.

    ``width`` scales every hidden layer (at least one channel each).

    >>> import torch
    >>> with torch.device("meta"):  # shapes without numbers
    ...     sum(p.numel() for p in googlenet().parameters())
    6998552
    """
    first, reduced, channels = scaled([64, 64, 192], width)
    children: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, first, 7, stride=2, padding=3),
        relu1=nn.ReLU(),
        pool1=_pool(),
        norm1=_norm(),
        conv2_reduce=nn.Conv2d(first, reduced, 1),
        relu2_reduce=nn.ReLU(),
        conv2=nn.Conv2d(reduced, channels, 3, padding=1),
        relu2=nn.ReLU(),
        norm2=_norm(),
        pool2=_pool(),
    )
    for name, sizes in MODULES.items():
        slim = Sizes(*scaled(sizes, width))
        children[f"inception{name}"] = Inception(channels, slim)
        channels = slim.one + slim.three + slim.five + slim.pool
        if name in POOLED:
            children[f"pool{name[0]}"] = _pool()
    children |= {
        "pool5": nn.AdaptiveAvgPool2d(1),
        "dropout": nn.Dropout(0.4),
        "flatten": nn.Flatten(),
        "classifier": nn.Linear(channels, classes),
    }
    return nn.Sequential(children)


def _convolutions(inputs: int, norm: bool, **layers: tuple[int, int]) -> nn.Sequential:
    """Convolutions of (filters, kernel) by name, one after the other, each with its ReLU."""
    children: OrderedDict[str, nn.Module] = OrderedDict()
    for name, (filters, kernel) in layers.items():
        children[name] = nn.Conv2d(inputs, filters, kernel, padding=kernel // 2, bias=not norm)
        if norm:
            children[f"norm_{name}"] = nn.BatchNorm2d(filters)
        children[f"relu_{name}"] = nn.ReLU()
        inputs = filters
    return nn.Sequential(children)


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _norm() -> nn.Module:
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
