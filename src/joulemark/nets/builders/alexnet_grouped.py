"""AlexNet as it was published, in two groups: the form of Caffe, which energy models are checked against.

Source: A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet classification with deep convolutional neural networks",
NIPS 2012, in the shape of Caffe's ``models/bvlc_alexnet/train_val.prototxt``: conv2, conv4 and conv5 see half of the
channels each way (the paper's two GPUs), local response normalisation stands before the first two poolings. Layers are
called as there. The other form is :mod:`joulemark.nets.builders.alexnet_torchvision`. At 3 x 227 x 227, width 1:

    layer    what                                  output         parameters         MACs
    conv1    11 x 11, stride 4                     96 x 55 x 55       34,944   105,415,200
    conv2    5 x 5, padding 2, 2 groups           256 x 27 x 27      307,456   223,948,800
    conv3    3 x 3, padding 1                     384 x 13 x 13      885,120   149,520,384
    conv4    3 x 3, padding 1, 2 groups           384 x 13 x 13      663,936   112,140,288
    conv5    3 x 3, padding 1, 2 groups           256 x 13 x 13      442,624    74,760,192
    fc6      linear                               4,096           37,752,832    37,748,736
    fc7      linear                               4,096           16,781,312    16,777,216
    fc8      linear                               1,000            4,097,000     4,096,000
    total                                                         60,965,224   724,406,816
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from joulemark.nets.builders.stages import scaled

INPUT_SHAPE = (3, 227, 227)


def alexnet_grouped(*, width: float = 1.0, classes: int = 1000) -> nn.Sequential:
    """AlexNet in two groups for (3, 227, 227) inputs; 60,965,224 parameters and 724,406,816 MACs at width 1.

    ``width`` scales every hidden layer (at least one channel a group, or one unit).

    >>> import torch
    >>> with torch.device("meta"):  # shapes without numbers
    ...     sum(p.numel() for p in alexnet_grouped().parameters())
    60965224
    """
    first, second, third, fourth, fifth = (2 * half for half in scaled([48, 128, 192, 192, 128], width))
    sixth, seventh = scaled([4096, 4096], width)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, first, 11, stride=4),
            relu1=nn.ReLU(),
            norm1=_norm(),
            pool1=nn.MaxPool2d(3, stride=2),
            conv2=nn.Conv2d(first, second, 5, padding=2, groups=2),
            relu2=nn.ReLU(),
            norm2=_norm(),
            pool2=nn.MaxPool2d(3, stride=2),
            conv3=nn.Conv2d(second, third, 3, padding=1),
            relu3=nn.ReLU(),
            conv4=nn.Conv2d(third, fourth, 3, padding=1, groups=2),
            relu4=nn.ReLU(),
            conv5=nn.Conv2d(fourth, fifth, 3, padding=1, groups=2),
            relu5=nn.ReLU(),
            pool5=nn.MaxPool2d(3, stride=2),
            flatten=nn.Flatten(),
            fc6=nn.Linear(fifth * 6 * 6, sixth),
            relu6=nn.ReLU(),
            drop6=nn.Dropout(),
            fc7=nn.Linear(sixth, seventh),
            relu7=nn.ReLU(),
            drop7=nn.Dropout(),
            fc8=nn.Linear(seventh, classes),
        )
    )


def _norm() -> nn.Module:
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)  # Caffe's; the paper has k = 2 and alpha not over 5
