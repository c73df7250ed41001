"""The small CIFAR-10 net of Caffe: 32, 32 and 64 filters of 5 x 5, one linear layer.

Source: Caffe's ``examples/cifar10/cifar10_full_train_test.prototxt`` (after A. Krizhevsky's cuda-convnet), the
"ConvNet" that W. Wen et al., "Learning structured sparsity in deep neural networks", NIPS 2016, make sparse. Poolings
are 3 x 3 with stride 2, rounded up; the first takes the greatest value, the others the mean. Batch norm after every
convolution stands for Caffe's two local response normalisations: with it the net learns in tens of epochs instead of
a hundred and more. ReLU comes before the first pooling, not after it, which is the same. At width 1:

    child        layers                            output        parameters        MACs
    stage1       conv 5 x 5, norm, ReLU, max       32 x 16 x 16       2,464   2,457,600
    stage2       conv 5 x 5, norm, ReLU, mean      32 x  8 x  8      25,664   6,553,600
    stage3       conv 5 x 5, norm, ReLU, mean      64 x  4 x  4      51,328   3,276,800
    classifier   linear                            10                10,250      10,240
    total                                                            89,706  12,298,240
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from joulemark.nets.builders.stages import classifier, scaled, stage

INPUT_SHAPE = (3, 32, 32)


def convnet(*, width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """Caffe's CIFAR-10 net for (3, 32, 32) inputs; 89,706 parameters and 12,298,240 MACs at width 1.

    ``width`` scales the channels of every convolution (at least one each).

    >>> sum(p.numel() for p in convnet().parameters())
    89706
    """
    first, second, third = scaled([32, 32, 64], width)
    return nn.Sequential(
        OrderedDict(
            stage1=stage(3, [first], kernel=5, pool=nn.MaxPool2d(3, stride=2, ceil_mode=True)),
            stage2=stage(first, [second], kernel=5, pool=nn.AvgPool2d(3, stride=2, ceil_mode=True)),
            stage3=stage(second, [third], kernel=5, pool=nn.AvgPool2d(3, stride=2, ceil_mode=True)),
            classifier=classifier(third * 4 * 4, [], classes),
        )
    )
