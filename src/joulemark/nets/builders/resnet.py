"""The residual net for CIFAR-10 with shortcuts that have no parameters (option A).

Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, section 4.2: depth
6n + 2, three stages of n blocks with 16, 32 and 64 channels at 32 x 32, 16 x 16 and 8 x 8, batch norm after every
convolution. Where a stage halves the image, the shortcut takes every second pixel and pads channels with zeros. Modules
are called as in Y. Idelbayev's published weights, which therefore load. At 3 x 32 x 32, depth 20, width 1:

    child            output        parameters        MACs
    conv1, bn1       16 x 32 x 32         464     442,368
    layer1           16 x 32 x 32      14,016  14,155,776
    layer2           32 x 16 x 16      51,072  12,976,128
    layer3           64 x  8 x  8     203,520  12,976,128
    pool, linear     10                   650         640
    total                             269,722  40,551,040
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from joulemark.nets.builders.stages import scaled

INPUT_SHAPE = (3, 32, 32)


class Block(nn.Module):
    """Two 3 x 3 convolutions and what they add to: y = relu(f(x) + shortcut(x)).

    Maps (rows, ``inputs``, h, w) to (rows, ``outputs``, ceil(h / stride), ceil(w / stride)).
    """

    pads_channels = True

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        before = (outputs - inputs) // 2
        self.stride, self.padding = stride, (before, outputs - inputs - before)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu2(y + shortcut(x, self.stride, self.padding))
        return out

    def bypassed(self) -> Bypassed:
        """What is left if the two convolutions are taken out: y = relu(shortcut(x))."""
        return Bypassed(self.stride, self.padding)


class Bypassed(nn.Module):
    """A block without its convolutions. Its ReLU changes nothing after another ReLU, and stays for what is not."""

    pads_channels = True

    def __init__(self, stride: int, padding: tuple[int, int]) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """The shortcut's output."""
        out: Tensor = self.relu2(shortcut(x, self.stride, self.padding))
        return out


def shortcut(x: Tensor, stride: int, padding: tuple[int, int]) -> Tensor:
    """Every ``stride``-th pixel, with ``padding`` channels of zeros before and after."""
    if stride > 1:
        x = x[:, :, ::stride, ::stride]
    return nn.functional.pad(x, (0, 0, 0, 0, *padding)) if any(padding) else x


def resnet(*, depth: int = 20, width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """Residual net of ``depth`` 6n + 2 for (3, 32, 32) inputs, or any other size; ``width`` scales all channels.

    Weights are drawn as in K. He et al., "Delving deep into rectifiers", ICCV 2015. Raises ``ValueError`` for another
    depth.

    >>> sum(p.numel() for p in resnet(depth=110).parameters())  # "1.7M", He et al. 2016, Table 6
    1727962
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"a CIFAR residual net is 6n + 2 layers deep (8, 14, 20, ...), not {depth}")
    first, second, third = scaled([16, 32, 64], width)
    net = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, first, 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(first),
            relu=nn.ReLU(),
            layer1=_stage(first, first, blocks, stride=1),
            layer2=_stage(first, second, blocks, stride=2),
            layer3=_stage(second, third, blocks, stride=2),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            linear=nn.Linear(third, classes),
        )
    )
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    return net


def resnet20(*, width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """ResNet-20: 269,722 parameters and 40,551,040 MACs at width 1.

    >>> sum(p.numel() for p in resnet20().parameters())
    269722
    """
    return resnet(depth=20, width=width, classes=classes)


def _stage(inputs: int, outputs: int, blocks: int, *, stride: int) -> nn.Sequential:
    rest = [Block(outputs, outputs, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Block(inputs, outputs, stride), *rest)
