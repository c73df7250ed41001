"""LeNet-5 in the form of Caffe's MNIST example: 20 and 50 filters of 5 x 5, 500 hidden units.

Source: Y. LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 1998, in the shape of
Caffe's ``examples/mnist/lenet_train_test.prototxt``, which the pruning literature uses (Wen et al. 2016, Table 1).
Stages are children of the net, so that exits can stand after each.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

INPUT_SHAPE = (1, 28, 28)


def lenet(*, width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """LeNet-5 for (1, 28, 28) inputs; 431,080 parameters and 2,293,000 MACs at width 1.

    ``width`` scales the channels of every hidden layer (at least one each).

    >>> sum(p.numel() for p in lenet().parameters())
    431080
    """
    first, second, hidden = (max(1, round(channels * width)) for channels in (20, 50, 500))
    return nn.Sequential(
        OrderedDict(
            stage1=nn.Sequential(OrderedDict(conv=nn.Conv2d(1, first, 5), pool=nn.MaxPool2d(2))),
            stage2=nn.Sequential(OrderedDict(conv=nn.Conv2d(first, second, 5), pool=nn.MaxPool2d(2))),
            classifier=nn.Sequential(
                OrderedDict(
                    flatten=nn.Flatten(),
                    hidden=nn.Linear(second * 4 * 4, hidden),
                    relu=nn.ReLU(),
                    output=nn.Linear(hidden, classes),
                )
            ),
        )
    )
