"""A small inception net for CIFAR-10: GoogLeNet's module four times, with batch norm.

Ours. The module is that of C. Szegedy et al., "Going deeper with convolutions", CVPR 2015
(:mod:`joulemark.nets.builders.googlenet`), with a batch norm behind every convolution as in S. Ioffe, C. Szegedy,
"Batch normalization", ICML 2015.
Sizes are chosen for a few minutes of training on two cores; as in GoogLeNet's modules the 3 x 3 convolutions have most
of the MACs. At 3 x 32 x 32, width 1:

    child          output          parameters        MACs
    stem            32 x 16 x 16          928     884,736
    inception2a     96 x 16 x 16       14,400   3,620,864
    inception2b    112 x 16 x 16       25,776   6,520,832
    inception3a    168 x  8 x  8       47,448   3,008,512
    inception3b    192 x  8 x  8       69,240   4,399,104
    classifier      10                  1,930       1,920
    total                             159,722  18,435,968
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from joulemark.nets.builders.googlenet import Inception, Sizes
from joulemark.nets.builders.stages import scaled, stage

INPUT_SHAPE = (3, 32, 32)

STEM = 32
MODULES = {
    "2a": Sizes(24, 24, 40, 8, 16, 16),
    "2b": Sizes(32, 32, 48, 8, 16, 16),
    "3a": Sizes(48, 40, 72, 12, 24, 24),
    "3b": Sizes(56, 48, 88, 12, 24, 24),
}
POOLED = "2b"
"""A pooling stands behind it."""


def inception(*, width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """Four inception modules for (3, 32, 32) inputs; 159,722 parameters and 18,435,968 MACs at width 1.

    ``width`` scales every hidden layer (at least one channel each).

    >>> sum(p.numel() for p in inception().parameters())
    159722
    """
    (channels,) = scaled([STEM], width)
    children: OrderedDict[str, nn.Module] = OrderedDict(stem=stage(3, [channels], kernel=3, pool=_pool()))
    for name, sizes in MODULES.items():
        slim = Sizes(*scaled(sizes, width))
        children[f"inception{name}"] = Inception(channels, slim, norm=True)
        channels = slim.one + slim.three + slim.five + slim.pool
        if name == POOLED:
            children["pool2"] = _pool()
    children |= {
        "pool3": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "classifier": nn.Linear(channels, classes),
    }
    return nn.Sequential(children)


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)
