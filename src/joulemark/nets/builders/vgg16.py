"""VGG16: thirteen 3 x 3 convolutions and three large linear layers, the heaviest of the classic ImageNet nets.

Source: K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015,
configuration D, without batch norm. Layers are called as in ``torchvision.models.vgg16``, so its published weights
load. The VGG for CIFAR-10 is :mod:`joulemark.nets.builders.vgg`. At 3 x 224 x 224, width 1 (convolutions are 3 x 3 with
padding 1; a pooling of 2 x 2 stands behind features.2, 7, 14, 21 and 28):

    layer           what              output           parameters            MACs
    features.0      convolution        64 x 224 x 224       1,792      86,704,128
    features.2      convolution        64 x 224 x 224      36,928   1,849,688,064
    features.5      convolution       128 x 112 x 112      73,856     924,844,032
    features.7      convolution       128 x 112 x 112     147,584   1,849,688,064
    features.10     convolution       256 x  56 x  56     295,168     924,844,032
    features.12     convolution       256 x  56 x  56     590,080   1,849,688,064
    features.14     convolution       256 x  56 x  56     590,080   1,849,688,064
    features.17     convolution       512 x  28 x  28   1,180,160     924,844,032
    features.19     convolution       512 x  28 x  28   2,359,808   1,849,688,064
    features.21     convolution       512 x  28 x  28   2,359,808   1,849,688,064
    features.24     convolution       512 x  14 x  14   2,359,808     462,422,016
    features.26     convolution       512 x  14 x  14   2,359,808     462,422,016
    features.28     convolution       512 x  14 x  14   2,359,808     462,422,016
    classifier.0    linear            4,096           102,764,544     102,760,448
    classifier.3    linear            4,096            16,781,312      16,777,216
    classifier.6    linear            1,000             4,097,000       4,096,000
    total                                             138,357,544  15,470,264,320
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from joulemark.nets.builders.stages import scaled

INPUT_SHAPE = (3, 224, 224)
STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Filters and convolutions between two poolings (configuration D)."""


def vgg16(*, width: float = 1.0, classes: int = 1000) -> nn.Sequential:
    """VGG16 for (3, 224, 224) inputs; 138,357,544 parameters and 15,470,264,320 MACs at width 1.

    ``width`` scales every hidden layer (at least one channel or unit each).

    >>> import torch
    >>> with torch.device("meta"):  # shapes without numbers
    ...     sum(p.numel() for p in vgg16().parameters())
    138357544
    """
    layers: list[nn.Module] = []
    before = 3
    for filters, convolutions in STAGES:
        (after,) = scaled([filters], width)
        for _ in range(convolutions):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
            before = after
        layers.append(nn.MaxPool2d(2))
    sixth, seventh = scaled([4096, 4096], width)
    classifier = nn.Sequential(
        nn.Linear(before * 7 * 7, sixth),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(sixth, seventh),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(seventh, classes),
    )
    return nn.Sequential(OrderedDict(features=nn.Sequential(*layers), flatten=nn.Flatten(), classifier=classifier))
