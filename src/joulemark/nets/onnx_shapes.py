"""ONNX operators that move values and compute shapes.

Shapes are plain lists, so that the number of rows stays free: what a file computes from Shape is computed the same way
here. A Reshape is read by what it did to the axes in one run: flattened axes stay flattened when some channels are cut,
or when there are more rows than the file was written for.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from joulemark.nets.onnx_layers import in_pairs, padding
from joulemark.nets.onnx_node import Call, Node, Reader

Axes = tuple[int, ...]


def regrouped(before: Sequence[int], after: Sequence[int]) -> list[Axes | None]:
    """Of each axis of ``after`` the axes of ``before`` that it is the product of; ``None`` if it is part of some.

    >>> regrouped([2, 16, 5, 5], [2, 400]), regrouped([2, 16], [2, 16, 1]), regrouped([2, 8, 5], [2, 4, 2, 5])
    ([(0,), (1, 2, 3)], [(0,), (1,), None], [(0,), None, None, (2,)])
    """
    found: list[Axes | None] = []
    first = start = 0
    while start < len(after):
        last, end = first + 1, start + 1
        while prod(before[first:last]) != prod(after[start:end]):
            if prod(before[first:last]) < prod(after[start:end]):
                last += 1
            else:
                end += 1
        last = len(before) if end == len(after) else last  # axes of one entry may be left
        end = len(after) if last == len(before) else end
        large = [axis for axis in range(start, end) if after[axis] != 1] or [start]
        whole = tuple(range(first, last)) if len(large) == 1 else None
        found += [whole if axis in large else None for axis in range(start, end)]
        first, start = last, end
    return found


def reshape(node: Node) -> Call:
    """Reshape."""
    x = node.value()
    stated = [int(one) for one in np.ravel(node.value(1))]
    if not isinstance(x, Tensor):
        return Call(as_list)
    if not node.settings.get("allowzero"):
        stated = [x.shape[axis] if size == 0 else size for axis, size in enumerate(stated)]
    made = list(x.reshape(stated).shape)
    groups = regrouped(list(x.shape), made)
    if x.dim() > len(groups) and groups[:-1] == [(axis,) for axis in range(len(groups) - 1)] and groups[-1]:
        return Call(partial(torch.flatten, start_dim=len(groups) - 1))
    if node.is_constant(1):
        return Call(partial(reshaped, groups=tuple(groups), sizes=made))
    return Call(partial(reshaped, groups=tuple(groups)), (0, 1))


def reshaped(x: Tensor, sizes: list[Any], groups: Sequence[Axes | None]) -> Tensor:
    """``x`` in other axes: products of its own, and ``sizes`` where an axis is part of some."""
    shape = [
        size if group is None else prod(x.shape[axis] for axis in group)
        for size, group in zip(sizes, groups, strict=True)
    ]
    if groups[0] == (0,) and -1 not in shape:
        shape[0] = -1  # the rows, which need not be computed
    return x.reshape(shape)


def flatten(node: Node) -> Call:
    """Flatten into two axes."""
    dims = node.value().dim()
    axis = node.settings.get("axis", 1)
    axis += dims if axis < 0 else 0
    if axis == 1:
        return Call(partial(torch.flatten, start_dim=1) if dims > 1 else partial(torch.unsqueeze, dim=1))
    return Call(partial(in_two, axis=axis))


def in_two(x: Tensor, axis: int) -> Tensor:
    """The axes in front of ``axis`` as one, and the others as one."""
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


def as_list(x: Any) -> list[Any]:
    """A number or a list as a list."""
    return list(x) if isinstance(x, list | tuple) else [x]


def shape_of(node: Node) -> Call:
    """Shape, or the part of it between start and end."""
    return Call(partial(shape, start=node.settings.get("start", 0), end=node.settings.get("end")))


def shape(x: Tensor, start: int, end: int | None) -> list[Any]:
    """Sizes of some axes; that of the rows may be a symbol while the net is exported."""
    return list(x.shape)[start:end]


def gather(node: Node) -> Call:
    """Gather of a shape, or of one place or several along an axis of a tensor."""
    at = node.constant(1)
    if at is None or at.ndim > 1:
        raise node.refusal("gathers by a table, which Joulemark cannot read")
    places, axis = at.tolist(), node.settings.get("axis", 0)
    return Call(partial(gathered, places=places, axis=axis))


def gathered(x: Any, places: Any, axis: int) -> Any:
    """Entries of a list, or of a tensor along an axis."""
    if isinstance(x, Tensor):
        if isinstance(places, int):
            return x.select(axis, places)
        places = [place % x.shape[axis] for place in places]
        return x.index_select(axis, torch.tensor(places, device=x.device))
    return x[places] if isinstance(places, int) else [x[place] for place in places]


def slice_of(node: Node) -> Call:
    """Slice; its bounds are inputs, in files before opset 10 settings."""
    starts, ends = node.numbers("starts", 1), node.numbers("ends", 2)
    if starts is None or ends is None:
        raise node.refusal("has no bounds")
    axes = node.numbers("axes", 3) or list(range(len(starts)))
    steps = node.numbers("steps", 4) or [1] * len(starts)
    if min(steps) < 1:
        raise node.refusal("goes backwards, which Joulemark cannot read")
    dims = node.value().dim() if isinstance(node.value(), Tensor) else 1
    cuts = [builtins.slice(None)] * dims
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        cuts[axis] = builtins.slice(start or None, end if end < 2**31 - 1 else None, step)
    return Call(partial(sliced, cuts=tuple(cuts)))


def sliced(x: Any, cuts: tuple[builtins.slice, ...]) -> Any:
    """A part of a tensor or a list."""
    return x[cuts] if isinstance(x, Tensor) else x[cuts[0]]


def concat(node: Node) -> Call:
    """Concat of tensors or of shapes."""
    return Call(partial(joined, axis=node.settings.get("axis", 0)), tuple(range(len(node.inputs))))


def joined(*parts: Any, axis: int) -> Any:
    """Tensors one behind the other along an axis, or lists."""
    if isinstance(parts[0], Tensor):
        return torch.cat(parts, axis)
    return [one for part in parts for one in part]


def split(node: Node) -> Call:
    """Split into as many parts as it has outputs."""
    axis, sizes = node.settings.get("axis", 0), node.numbers("split", 1)
    if len(node.outputs) == 1:
        return Call(same)
    if sizes is None or len(set(sizes)) == 1:
        return Call(partial(torch.chunk, chunks=len(node.outputs), dim=axis))
    return Call(partial(torch.split, split_size_or_sections=sizes, dim=axis))


def same(x: Any) -> Any:
    """What is given."""
    return x


def transpose(node: Node) -> Call:
    """Transpose; without an order, backwards."""
    order = node.settings.get("perm") or list(reversed(range(node.value().dim())))
    return Call(partial(torch.permute, dims=tuple(order)))


def squeeze(node: Node) -> Call:
    """Squeeze of a tensor, or of the list of one number."""
    axes = node.numbers("axes", 1)
    if not isinstance(node.value(), Tensor):
        return Call(partial(gathered, places=0, axis=0))
    if axes is None:
        axes = [axis for axis, size in enumerate(node.value().shape) if size == 1]
    return Call(partial(torch.squeeze, dim=tuple(axes)))


def unsqueeze(node: Node) -> Call:
    """Unsqueeze of a tensor, or of a number to a list."""
    axes = node.numbers("axes", 1) or []
    if not isinstance(node.value(), Tensor):
        return Call(as_list)
    dims = node.value().dim() + len(axes)
    return Call(partial(unsqueezed, axes=tuple(sorted(axis % dims for axis in axes))))


def unsqueezed(x: Tensor, axes: Axes) -> Tensor:
    """``x`` with axes of one entry at these places."""
    for axis in axes:
        x = x.unsqueeze(axis)
    return x


def expand(node: Node) -> Call:
    """Expand to a shape."""
    return Call(expanded, (0, 1))


def expanded(x: Tensor, sizes: list[Any]) -> Tensor:
    """``x`` repeated along axes of one entry."""
    front = [1] * (x.dim() - len(sizes))
    rest = x.shape[max(0, x.dim() - len(sizes)) :]
    back = [1] * (len(sizes) - x.dim()) + list(rest)
    wanted = [old if new == 1 else new for old, new in zip([*x.shape[: len(front)], *back], front + sizes, strict=True)]
    return x.expand(wanted)


MODES: Mapping[str, str] = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
PADDED_SUM, SUMMAND = "Pad, then Add", 4
"""What a Pad is called together with the Add behind it, and at which place the other summand is."""


class PaddedSum(nn.Module):
    """A shortcut with channels of zeros in front and behind, added to what goes around it.

    Maps (rows, channels, ...) and (rows, before + channels + after, ...) to the latter. The numbers are cut with the
    channels of the sum (:mod:`joulemark.nets.edits.pad_channels`).
    """

    pads_channels = True

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.padding = (before, after)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """The sum."""
        return other + (functional.pad(x, (*[0] * (2 * (x.dim() - 2)), *self.padding)) if any(self.padding) else x)


def padded_sum(node: Node) -> Call:
    """Pad, then Add: a layer if all that is padded are channels of zeros."""
    pads, value, mode = _pads(node)
    dims = len(pads) // 2
    elsewhere = [size for place, size in enumerate(pads) if place not in (1, dims + 1)]
    if mode == "constant" and not value and dims > 2 and not any(elsewhere) and min(pads) >= 0:
        return Call(PaddedSum(pads[1], pads[dims + 1]), (0, SUMMAND))
    return Call(partial(added, pad(node).does), (0, SUMMAND))


def added(change: Callable[[Tensor], Tensor], x: Tensor, other: Tensor) -> Tensor:
    """What ``change`` makes of ``x``, plus the other."""
    return change(x) + other


def pad(node: Node) -> Call:
    """Pad by a constant, or by what is there."""
    pads, value, mode = _pads(node)
    dims = len(pads) // 2
    if mode == "constant":
        return Call(padding(pads, value))
    if any((*pads[:2], *pads[dims : dims + 2])) or mode not in MODES:
        raise node.refusal(f"pads rows or channels by {mode}, which Joulemark cannot read")
    return Call(partial(functional.pad, pad=in_pairs([*pads[2:dims], *pads[dims + 2 :]]), mode=MODES[mode]))


def _pads(node: Node) -> tuple[list[int], float, str]:
    """How much a Pad puts in front of each axis, then behind each; by which number; in which mode."""
    dims, stated = node.value().dim(), node.numbers("pads", 1)
    axes = node.numbers("axes", 3) or list(range(dims))
    if stated is None:
        raise node.refusal("has no widths")
    pads = [0] * (2 * dims)
    for place, axis in enumerate(axes):
        pads[axis % dims], pads[dims + axis % dims] = stated[place], stated[len(axes) + place]
    given = node.constant(2)
    value = node.settings.get("value", 0.0) if given is None else float(np.ravel(given)[0])
    return pads, value, str(node.settings.get("mode", "constant"))


SHAPES: Mapping[str, Reader] = {
    "Reshape": reshape,
    "Flatten": flatten,
    "Shape": shape_of,
    "Gather": gather,
    "Slice": slice_of,
    "Concat": concat,
    "Split": split,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Expand": expand,
    "Pad": pad,
    PADDED_SUM: padded_sum,
}
