"""AlexNet in the form used for CIFAR-10: five convolutions, two hidden layers.

Source: the AlexNet of BranchyNet's published code, ``networks/alex_cifar10.py`` of kunglab/branchynet (S.
Teerapittayanon et al., ICPR 2016), after A. Krizhevsky et al., "ImageNet classification with deep convolutional neural
networks", NIPS 2012. Poolings are 3 x 3 with stride 2, rounded up. Here batch norm after every convolution stands for
the two local response normalisations, and dropout is left out: in some thirty epochs with crops and mirroring a net of
this size fits too little rather than too much. At width 1:

    child        layers                               output        parameters        MACs
    stage1       conv 5 x 5, norm, ReLU, max          32 x 16 x 16       2,464   2,457,600
    stage2       conv 5 x 5, norm, ReLU, max          64 x  8 x  8      51,328  13,107,200
    stage3       conv 3 x 3, norm, ReLU               96 x  8 x  8      55,488   3,538,944
                 conv 3 x 3, norm, ReLU               96 x  8 x  8      83,136   5,308,416
                 conv 3 x 3, norm, ReLU, max          64 x  4 x  4      55,424   3,538,944
    classifier   linear, ReLU                         256              262,400     262,144
                 linear, ReLU                         128               32,896      32,768
                 linear                               10                 1,290       1,280
    total                                                              544,426  28,247,296
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from joulemark.nets.builders.stages import classifier, scaled, stage

INPUT_SHAPE = (3, 32, 32)


def alexnet(*, width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """AlexNet for (3, 32, 32) inputs; 544,426 parameters and 28,247,296 MACs at width 1.

    ``width`` scales every hidden layer (at least one channel or unit each).

    >>> sum(p.numel() for p in alexnet().parameters())
    544426
    """
    first, second, *third = scaled([32, 64, 96, 96, 64], width)
    return nn.Sequential(
        OrderedDict(
            stage1=stage(3, [first], kernel=5, pool=_pool()),
            stage2=stage(first, [second], kernel=5, pool=_pool()),
            stage3=stage(second, third, kernel=3, pool=_pool()),
            classifier=classifier(third[-1] * 4 * 4, scaled([256, 128], width), classes),
        )
    )


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)
