"""Stages of plain nets: convolutions with batch norm and a pooling behind them, and the classifier at the end.

Batch norm follows each convolution directly, so that a runtime folds the two into one; the convolution has no bias,
which batch norm would take away again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn


def stage(inputs: int, outputs: Sequence[int], *, kernel: int, pool: nn.Module) -> nn.Sequential:
    """Convolutions of ``outputs`` filters each that keep height and width, with batch norm and ReLU, then ``pool``.

    Children are conv1, bn1, relu1, conv2, ..., pool. ``kernel`` is odd.

    >>> [name for name, _ in stage(3, [8], kernel=5, pool=nn.MaxPool2d(2)).named_children()]
    ['conv1', 'bn1', 'relu1', 'pool']
    """
    children: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (before, after) in enumerate(zip([inputs, *outputs], outputs, strict=False), start=1):
        children[f"conv{number}"] = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
        children[f"bn{number}"] = nn.BatchNorm2d(after)
        children[f"relu{number}"] = nn.ReLU()
    children["pool"] = pool
    return nn.Sequential(children)


def classifier(inputs: int, hidden: Sequence[int], classes: int) -> nn.Sequential:
    """Flatten, fully connected layers of ``hidden`` units with ReLU, then ``classes`` logits.

    Children are flatten, hidden1, relu1, hidden2, ..., output.
    """
    children: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    sizes = [inputs, *hidden]
    for number, (before, after) in enumerate(zip(sizes, hidden, strict=False), start=1):
        children[f"hidden{number}"] = nn.Linear(before, after)
        children[f"relu{number}"] = nn.ReLU()
    children["output"] = nn.Linear(sizes[-1], classes)
    return nn.Sequential(children)


def scaled(sizes: Sequence[int], width: float) -> list[int]:
    """``sizes`` times ``width``, rounded, at least 1 each.

    >>> scaled([32, 64, 1], 0.3)
    [10, 19, 1]
    """
    return [max(1, round(size * width)) for size in sizes]
