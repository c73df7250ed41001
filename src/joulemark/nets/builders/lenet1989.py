"""The net that optimal brain damage was shown on: LeNet of 1989, 2,578 parameters for digits of 28 x 28.

Source: Y. LeCun et al., "Handwritten digit recognition with a back-propagation network", NIPS 1989; that it is the net
of "Optimal brain damage" stands there, in section 2.3 (seen: "10^5 connections controlled by 2578 free parameters").
Layer sizes are recalled; they give exactly the paper's totals, 4,635 units with the one for biases, 98,442 connections
and 2,578 parameters, and its table of which map reads which (totals and table seen: quoted from pages 400 and 402 in a
public reconstruction). At width 1:

    child        layers                                                  output        parameters     MACs
    stage1       conv 5 x 5, squash, mean of 2 x 2 scaled, squash        4 x 12 x 12          112   58,176
    stage2       conv 5 x 5 by the table, squash, mean scaled, squash   12 x  4 x  4          536   32,192
    classifier   linear                                                 10                  1,930    1,920
    total                                                                                   2,578   92,288

Two modules that meet only at the end: of the four maps of stage1 the first two feed six maps of stage2, the last two
the other six. Of each six, two read one map each and four read both. The order of the twelve is ours.

What differs: the ten outputs are logits for cross-entropy, the paper squashes them towards targets of +1 and -1 under
squared error. Biases and weights start as PyTorch starts them, scaled means start as means; the paper's start depends
on the fan-in (recalled).
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

INPUT_SHAPE = (1, 28, 28)


class Squash(nn.Module):
    """f(a) = 1.7159 tanh(2 a / 3), of which f(1) = 1 (LeCun 1989, "Generalization and network design strategies").

    >>> round(float(Squash()(torch.tensor(1.0))), 4)
    1.0
    """

    def forward(self, a: Tensor) -> Tensor:
        """Elementwise."""
        return 1.7159 * torch.tanh(2.0 / 3.0 * a)


class TwoModules(nn.Module):
    """5 x 5 convolution of which some maps read one input map and the others all maps of their half."""

    def __init__(self, inputs: int, pairs: int) -> None:
        super().__init__()
        self.single = nn.Conv2d(inputs, inputs, 5, groups=inputs)
        self.both = nn.Conv2d(inputs, pairs, 5, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        """Rows of (inputs, height, width) to (inputs + pairs, height - 4, width - 4)."""
        return torch.cat([self.single(x), self.both(x)], 1)


def lenet1989(*, width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """LeNet of 1989 for (1, 28, 28) inputs; 2,578 parameters and 92,288 MACs at width 1.

    ``width`` scales the maps of each of the two modules (at least one each).

    >>> sum(p.numel() for p in lenet1989().parameters())
    2578
    """
    first, pairs = (2 * max(1, round(maps * width)) for maps in (2, 4))
    return nn.Sequential(
        OrderedDict(
            stage1=_stage(nn.Conv2d(1, first, 5), first),
            stage2=_stage(TwoModules(first, pairs), first + pairs),
            classifier=nn.Sequential(
                OrderedDict(flatten=nn.Flatten(), output=nn.Linear((first + pairs) * 4 * 4, classes))
            ),
        )
    )


def _stage(conv: nn.Module, maps: int) -> nn.Sequential:
    scale = nn.Conv2d(maps, maps, 1, groups=maps)
    nn.init.ones_(scale.weight)
    nn.init.zeros_(scale.bias)  # type: ignore[arg-type]
    return nn.Sequential(OrderedDict(conv=conv, squash1=Squash(), pool=nn.AvgPool2d(2), scale=scale, squash2=Squash()))
