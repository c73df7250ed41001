"""AlexNet in one group: the form of torchvision, which most of today's weights and figures are of.

Source: A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv 1404.5997, in the shape
of ``torchvision.models.alexnet``: fewer filters than in 2012, no groups, no local response normalisation. Layers are
called as there, so its published weights load. The other form is :mod:`joulemark.nets.builders.alexnet_grouped`. At
3 x 224 x 224, width 1:

    layer           what                          output         parameters         MACs
    features.0      11 x 11, stride 4, padding 2   64 x 55 x 55       23,296    70,276,800
    features.3      5 x 5, padding 2              192 x 27 x 27      307,392   223,948,800
    features.6      3 x 3, padding 1              384 x 13 x 13      663,936   112,140,288
    features.8      3 x 3, padding 1              256 x 13 x 13      884,992   149,520,384
    features.10     3 x 3, padding 1              256 x 13 x 13      590,080    99,680,256
    classifier.1    linear                        4,096           37,752,832    37,748,736
    classifier.4    linear                        4,096           16,781,312    16,777,216
    classifier.6    linear                        1,000            4,097,000     4,096,000
    total                                                         61,100,840   714,188,480
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from joulemark.nets.builders.stages import scaled

INPUT_SHAPE = (3, 224, 224)


def alexnet_torchvision(*, width: float = 1.0, classes: int = 1000) -> nn.Sequential:
    """AlexNet in one group for (3, 224, 224) inputs; 61,100,840 parameters and 714,188,480 MACs at width 1.

    ``width`` scales every hidden layer (at least one channel or unit each).

    >>> import torch
    >>> with torch.device("meta"):  # shapes without numbers
    ...     sum(p.numel() for p in alexnet_torchvision().parameters())
    61100840
    """
    first, second, third, fourth, fifth = scaled([64, 192, 384, 256, 256], width)
    sixth, seventh = scaled([4096, 4096], width)
    features = nn.Sequential(
        nn.Conv2d(3, first, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(first, second, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(second, third, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(third, fourth, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(fourth, fifth, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
    )
    classifier = nn.Sequential(
        nn.Dropout(),
        nn.Linear(fifth * 6 * 6, sixth),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(sixth, seventh),
        nn.ReLU(),
        nn.Linear(seventh, classes),
    )
    return nn.Sequential(
        OrderedDict(features=features, avgpool=nn.AdaptiveAvgPool2d(6), flatten=nn.Flatten(), classifier=classifier)
    )
