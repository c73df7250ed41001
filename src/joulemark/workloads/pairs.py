"""How many of a layer's multiplications have both operands non-zero: counted exactly, without doing them again.

A weight w[m, k] meets an input x[n, k] once for every row n, so the pairs with both non-zero are the sum over k of the
rows where x[n, k] is not zero times the filters where w[m, k] is not. A convolution is the same at each of its taps.
This takes as many steps as one filter, where a convolution of the two supports takes as many as all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor


def product_pairs(x: Tensor, weight: Tensor) -> float:
    """Pairs of ``x`` (..., n, k) times ``weight`` (..., k, m) with both non-zero.

    >>> product_pairs(torch.tensor([[1.0, 0.0], [2.0, 3.0]]), torch.tensor([[1.0], [1.0]]))
    3.0
    """
    return float((_count(x, -2) * _count(weight, -1)).sum())


def convolution_pairs(
    x: Tensor,
    weight: Tensor,
    outputs: Sequence[int],
    *,
    stride: Sequence[int],
    before: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> tuple[float, float]:
    """Multiplications of a convolution that read the input, not its padding, and those with both operands non-zero.

    ``x`` is (rows, channels, *sizes), ``weight`` (filters, channels / groups, *taps), ``outputs`` the sizes of the
    output and ``before`` the padding in front of each axis.

    >>> convolution_pairs(torch.ones(1, 1, 3), torch.tensor([[[0.0, 1.0, 1.0]]]), [3], stride=[1], before=[1],
    ...                   dilation=[1], groups=1)
    (7.0, 5.0)
    """
    taps, filters = weight.shape[2:], weight.shape[0] // groups
    reads = [  # how often each place along an axis is read
        _reads(*axis) for axis in zip(x.shape[2:], outputs, taps, stride, before, dilation, strict=True)
    ]
    rows = _count(x, 0)  # (channels, *sizes)
    inside = float(x.shape[0] * x.shape[1] * filters * prod(float(one.sum()) for one in reads))
    used = (weight != 0).unflatten(0, (groups, filters)).sum(1).flatten(0, 1).double()  # (channels, *taps)
    if bool((used == filters).all()):
        total = rows.sum(0)
        for one in reads:
            total = torch.tensordot(one, total, dims=1)
        return inside, float(total * filters)
    joint = 0.0
    for tap in itertools.product(*map(range, taps)):
        seen = rows
        for axis, place in enumerate(tap, 1):
            first = place * dilation[axis - 1] - before[axis - 1]
            seen = _strided(seen, axis, first, outputs[axis - 1], stride[axis - 1])
        joint += float((seen.flatten(1).sum(1) * used[(slice(None), *tap)]).sum())
    return inside, joint


def _count(tensor: Tensor, axis: int) -> Tensor:
    """Non-zero elements along an axis."""
    return (tensor != 0).sum(axis).double()


def _reads(size: int, outputs: int, taps: int, stride: int, before: int, dilation: int) -> Tensor:
    """How often each of ``size`` places is read by ``taps`` taps at ``outputs`` outputs."""
    place = torch.arange(outputs)[:, None] * stride + torch.arange(taps) * dilation - before
    place = place[(place >= 0) & (place < size)]
    return torch.bincount(place, minlength=size).double()


def _strided(counts: Tensor, axis: int, first: int, outputs: int, stride: int) -> Tensor:
    """The places first, first + stride, ... of an axis, ``outputs`` of them, as far as they exist."""
    skipped = max(0, -(first // stride)) if first < 0 else 0
    start = first + skipped * stride
    stop = min(counts.shape[axis], first + (outputs - 1) * stride + 1)
    index = torch.arange(start, max(start, stop), stride)
    return counts.index_select(axis, index)
