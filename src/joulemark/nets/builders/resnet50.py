"""ResNet-50: the residual net of bottlenecks that most energy figures of ImageNet are given for.

Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, Table 1. Where a
stage halves the image, the paper lets the first 1 x 1 convolution of a block skip pixels; here, as in
``torchvision.models.resnet50`` and since called v1.5, the 3 x 3 does, which takes 4.09 instead of 3.86 billion MACs
with the same parameters. Modules are called as in torchvision, so its published weights load. The residual nets for
CIFAR-10 are :mod:`joulemark.nets.builders.resnet`. At 3 x 224 x 224, width 1:

    child            output             parameters           MACs
    conv1, bn1         64 x 112 x 112        9,536    118,013,952
    layer1            256 x  56 x  56      215,808    667,942,912
    layer2            512 x  28 x  28    1,219,584  1,027,604,480
    layer3          1,024 x  14 x  14    7,098,368  1,464,336,384
    layer4          2,048 x   7 x   7   14,964,736    809,238,528
    avgpool, fc     1,000                2,049,000      2,048,000
    total                               25,557,032  4,089,184,256
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from joulemark.nets.builders.stages import scaled

INPUT_SHAPE = (3, 224, 224)
BLOCKS = (3, 4, 6, 3)
"""Blocks of the four stages; of the 50 layers with weights they are 48."""


class Bottleneck(nn.Module):
    """1 x 1 to few channels, 3 x 3, 1 x 1 to four times as many, and the shortcut: y = relu(f(x) + shortcut(x)).

    Maps (rows, ``inputs``, h, w) to (rows, 4 ``middle``, ceil(h / stride), ceil(w / stride)).
    """

    def __init__(self, inputs: int, middle: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * middle
        self.conv1 = nn.Conv2d(inputs, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(middle, middle, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(middle, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu3 = nn.ReLU()
        self.downsample = None
        if stride > 1 or inputs != outputs:
            project = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(project, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        out: Tensor = self.relu3(y + (x if self.downsample is None else self.downsample(x)))
        return out


def resnet50(*, width: float = 1.0, classes: int = 1000) -> nn.Sequential:
    """ResNet-50 for (3, 224, 224) inputs; 25,557,032 parameters and 4,089,184,256 MACs at width 1.

    ``width`` scales every hidden layer (at least one channel each). Weights are drawn as in K. He et al., "Delving deep
    into rectifiers", ICCV 2015.

    >>> import torch
    >>> with torch.device("meta"):  # shapes without numbers
    ...     sum(p.numel() for p in resnet50().parameters())
    25557032
    """
    channels, *middles = scaled([64, 64, 128, 256, 512], width)
    stem = {
        "conv1": nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
        "bn1": nn.BatchNorm2d(channels),
        "relu": nn.ReLU(),
        "maxpool": nn.MaxPool2d(3, stride=2, padding=1),
    }
    stages = {}
    for number, (middle, blocks) in enumerate(zip(middles, BLOCKS, strict=True), start=1):
        first = Bottleneck(channels, middle, stride=1 if number == 1 else 2)
        channels = 4 * middle
        stages[f"layer{number}"] = nn.Sequential(
            first, *(Bottleneck(channels, middle, stride=1) for _ in range(blocks - 1))
        )
    end = {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(channels, classes)}
    net = nn.Sequential(OrderedDict({**stem, **stages, **end}))
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return net
