"""A VGG for CIFAR-10: pairs of 3 x 3 convolutions, each pair at half the size and twice the channels of the last.

Source: K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015: the
first four stages of their configuration B (13 layers) at half its channels, with one hidden layer of 256 units instead
of two of 4,096, for an image of 32 x 32 is 2 x 2 after four poolings. Batch norm after every convolution (not in the
paper, which trained a shallower net first) lets it learn from scratch. At width 1:

    child        layers                                   output         parameters        MACs
    stage1       conv 3 x 3, norm, ReLU                    32 x 32 x 32         928     884,736
                 conv 3 x 3, norm, ReLU, max 2 x 2         32 x 16 x 16       9,280   9,437,184
    stage2       conv 3 x 3, norm, ReLU                    64 x 16 x 16      18,560   4,718,592
                 conv 3 x 3, norm, ReLU, max 2 x 2         64 x  8 x  8      36,992   9,437,184
    stage3       conv 3 x 3, norm, ReLU                   128 x  8 x  8      73,984   4,718,592
                 conv 3 x 3, norm, ReLU, max 2 x 2        128 x  4 x  4     147,712   9,437,184
    stage4       conv 3 x 3, norm, ReLU                   256 x  4 x  4     295,424   4,718,592
                 conv 3 x 3, norm, ReLU, max 2 x 2        256 x  2 x  2     590,336   9,437,184
    classifier   linear, ReLU                             256               262,400     262,144
                 linear                                   10                  2,570       2,560
    total                                                                 1,438,186  53,053,952
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from joulemark.nets.builders.stages import classifier, scaled, stage

INPUT_SHAPE = (3, 32, 32)


def vgg(*, width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """VGG for (3, 32, 32) inputs; 1,438,186 parameters and 53,053,952 MACs at width 1.

    ``width`` scales every hidden layer (at least one channel or unit each).

    >>> sum(p.numel() for p in vgg().parameters())
    1438186
    """
    channels = scaled([32, 64, 128, 256], width)
    stages = {
        f"stage{number}": stage(before, [after, after], kernel=3, pool=nn.MaxPool2d(2))
        for number, (before, after) in enumerate(zip([3, *channels], channels, strict=False), start=1)
    }
    end = classifier(channels[-1] * 2 * 2, scaled([256], width), classes)
    return nn.Sequential(OrderedDict(**stages, classifier=end))
