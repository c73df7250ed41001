"""SqueezeNet: AlexNet's accuracy on ImageNet with fifty times fewer parameters, from fire modules.

Source: F. N. Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
arXiv 1602.07360, in the shape of the authors' ``SqueezeNet_v1.0/train_val.prototxt`` and ``SqueezeNet_v1.1``: poolings
are 3 x 3 with stride 2, rounded up as in Caffe. In v1.0 the last convolution is padded by 1 there, which other ports
leave out; it changes no parameter, but the average that follows runs over 15 x 15 places instead of 13 x 13. At 3 x 227
x 227:

    version   parameters        MACs   conv1         poolings behind
    1.0        1,248,424   861 million   96 of 7 x 7   conv1, fire4, fire8
    1.1        1,235,496   388 million   64 of 3 x 3   conv1, fire3, fire5; the last convolution not padded

The sizes of the fire modules follow the paper's rule for its microarchitecture (section 5.1, recalled): module i = 0,
1, ... has e = ``base`` + ``increment`` floor(i / ``frequency``) expand filters, of which the share ``share_3x3`` is of
3 x 3, and ``squeeze_ratio`` e squeeze filters. The published nets have 128, 128, 2, 0.5 and 0.125. A bypass (section 6,
recalled) adds the input of a module to its output: "simple" around the modules whose two ends are of one width (3, 5, 7
and 9), "complex" around the others as well, through a convolution of 1 x 1.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

from torch import Tensor, nn

from joulemark.nets.builders.stages import scaled
from joulemark.nets.layers.fire import Fire, FireSizes
from joulemark.vocabulary import unknown_name_message

INPUT_SHAPE = (3, 227, 227)
MODULES = 8
"""Fire modules, called fire2 to fire9 after the layer they are."""
BYPASSES = ("none", "simple", "complex")


class Version(NamedTuple):
    """What the published versions differ in."""

    filters: int  # of conv1
    kernel: int
    pooled: frozenset[str]  # a pooling stands behind these


VERSIONS = {
    "1.0": Version(96, 7, frozenset({"conv1", "fire4", "fire8"})),
    "1.1": Version(64, 3, frozenset({"conv1", "fire3", "fire5"})),
}


def fire_sizes(
    *,
    base: int = 128,
    increment: int = 128,
    frequency: int = 2,
    share_3x3: float = 0.5,
    squeeze_ratio: float = 0.125,
) -> list[FireSizes]:
    """Sizes of the eight fire modules by the paper's rule. Raises ``ValueError`` for sizes that make no layer.

    >>> fire_sizes()[0], fire_sizes()[-1]
    (FireSizes(squeeze=16, expand1x1=64, expand3x3=64), FireSizes(squeeze=64, expand1x1=256, expand3x3=256))
    """
    if frequency < 1:
        raise ValueError(f"frequency is {frequency}: the fire modules grow after every 1 or more")
    sizes = []
    for number in range(MODULES):
        expand = base + increment * (number // frequency)
        expand3x3 = round(share_3x3 * expand)
        sizes.append(FireSizes(round(squeeze_ratio * expand), expand - expand3x3, expand3x3))
        if min(sizes[-1]) < 1:
            raise ValueError(f"fire{number + 2} would have {sizes[-1]}: every layer needs a filter")
    return sizes


class Bypass(nn.Module):
    """A fire module with its input added to its output, through a convolution of 1 x 1 where their widths differ."""

    def __init__(self, fire: Fire, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fire = fire
        self.bypass = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The sum of both ways, (rows, outputs, h, w)."""
        out: Tensor = self.fire(x) + self.bypass(x)
        return out


def squeezenet(
    *,
    version: str = "1.0",
    width: float = 1.0,
    classes: int = 1000,
    conv10_padding: int = 1,
    bypass: str = "none",
    **rule: Any,
) -> nn.Sequential:
    """SqueezeNet ``version`` "1.0" or "1.1"; ``width`` scales every layer but the last, ``rule`` is for ``fire_sizes``.

    Raises ``ValueError`` for another version or bypass, and for sizes that make no layer.

    >>> sum(p.numel() for p in squeezenet().parameters())
    1248424
    """
    if version not in VERSIONS:
        raise ValueError(unknown_name_message("version of SqueezeNet", version, VERSIONS))
    if bypass not in BYPASSES:
        raise ValueError(unknown_name_message("bypass", bypass, BYPASSES))
    filters, kernel, pooled = VERSIONS[version]
    (channels,) = scaled([filters], width)
    children: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(3, channels, kernel, stride=2), relu1=nn.ReLU())
    children["pool1"] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    for number, published in enumerate(fire_sizes(**rule), start=2):
        sizes = FireSizes(*scaled(list(published), width))
        outputs = sizes.expand1x1 + sizes.expand3x3
        fire = Fire(channels, sizes)
        passed = bypass == "complex" or (bypass == "simple" and channels == outputs)
        children[f"fire{number}"] = Bypass(fire, channels, outputs) if passed else fire
        channels = outputs
        if f"fire{number}" in pooled:
            children[f"pool{number}"] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    children |= {
        "dropout": nn.Dropout(),
        "conv10": nn.Conv2d(channels, classes, 1, padding=conv10_padding),
        "relu10": nn.ReLU(),
        "pool10": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
    }
    return nn.Sequential(children)
