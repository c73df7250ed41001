"""ONNX operators without weights, as functions of torch: the meanings are of the ONNX operator reference."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from joulemark.nets.onnx_layers import UNREAD, is_even, padding, pads_of
from joulemark.nets.onnx_node import Call, Node, Reader
from joulemark.nets.onnx_shapes import same

FLOAT, INTEGERS = 1, (6, 7)
"""Numbers that ONNX gives to float32, and to whole numbers of 32 and 64 bits."""
MAX_POOLS: Mapping[int, Any] = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
AVERAGE_POOLS: Mapping[int, Any] = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def of_one(function: Callable[..., Any], **settings: Any) -> Reader:
    """Reads an operator that is ``function`` of its first input; ``settings`` are its keywords, usual values given.

    ONNX's names of settings, where they are other ones, stand before a colon.
    """

    def read(node: Node) -> Call:
        keywords = {}
        for name, usual in settings.items():
            stated, _, ours = name.partition("__")
            keywords[ours or stated] = node.settings.get(stated, usual)
        return Call(partial(function, **keywords))

    return read


def of_all(function: Callable[[Any, Any], Any]) -> Reader:
    """Reads an operator that joins all its inputs by ``function``, two by two; they may be shapes."""

    def read(node: Node) -> Call:
        return Call(partial(each, function), tuple(range(len(node.inputs))))

    return read


def each(function: Callable[[Any, Any], Any], first: Any, *rest: Any) -> Any:
    """``function`` of the first two, of that and the next: of tensors and numbers, or entry by entry of shapes.

    >>> each(operator.mul, [2, 3], 4), each(operator.add, [1, 2], [3, 4])
    ([8, 12], [4, 6])
    """
    for other in rest:
        if isinstance(first, list) or (isinstance(other, list) and not isinstance(first, Tensor)):
            count = max(len(one) for one in (first, other) if isinstance(one, list))
            pairs = zip(*(_entries(one, count) for one in (first, other)), strict=True)
            first = [function(*pair) for pair in pairs]
        else:
            first = function(first, other)
    return first


def _entries(given: Any, count: int) -> list[Any]:
    entries = given if isinstance(given, list) else [given]
    return entries * count if len(entries) == 1 else entries


def divided(a: Any, b: Any) -> Any:
    """A quotient; of shapes the whole one."""
    whole = not isinstance(a, Tensor | float) and not isinstance(b, Tensor | float)
    return a // b if whole else a / b


def larger(a: Any, b: Any) -> Any:
    """The larger of two, entry by entry."""
    return torch.maximum(*_tensors(a, b))


def smaller(a: Any, b: Any) -> Any:
    """The smaller of two, entry by entry."""
    return torch.minimum(*_tensors(a, b))


def _tensors(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    like = a if isinstance(a, Tensor) else b
    first, second = (one if isinstance(one, Tensor) else torch.full_like(like, one) for one in (a, b))
    return first, second


def hard_sigmoid(x: Tensor, alpha: float, beta: float) -> Tensor:
    """max(0, min(1, alpha x + beta))."""
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:  # torch's own
        return functional.hardsigmoid(x)
    return (alpha * x + beta).clamp(0.0, 1.0)


def swish(x: Tensor, alpha: float) -> Tensor:
    """The input times sigmoid(alpha x)."""
    return functional.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


def clip(node: Node) -> Call:
    """Clip between two numbers, either of which may be left out."""
    ends = []
    for name, place in (("min", 1), ("max", 2)):
        given = node.constant(place)
        ends.append(node.settings.get(name) if given is None else float(np.ravel(given)[0]))
    low, high = ends
    if low is None and high is None:
        return Call(same)
    return Call(functional.relu if (low, high) == (0.0, None) else partial(torch.clamp, min=low, max=high))


def softmax(node: Node) -> Call:
    """Softmax and LogSoftmax; before opset 13 they were over all axes from one on."""
    function = torch.softmax if node.kind == "Softmax" else torch.log_softmax
    axis = node.settings.get("axis", -1 if node.opset >= 13 else 1)
    if node.opset >= 13 or axis in (-1, node.value().dim() - 1):
        return Call(partial(function, dim=axis))
    return Call(partial(over_all, function, axis))


def over_all(function: Callable[..., Tensor], axis: int, x: Tensor) -> Tensor:
    """A softmax over all axes from one on."""
    return function(x.flatten(axis), -1).reshape(x.shape)


def cast(node: Node) -> Call:
    """Cast to the kind of number that the input has here: float32, or whole numbers of a shape."""
    fits = (FLOAT,) if isinstance(node.value(), Tensor) else INTEGERS
    if node.settings["to"] not in fits:
        raise node.refusal("casts to another kind of number, which Joulemark cannot read: export the net in float32")
    return Call(same)


def dropout(node: Node) -> Call:
    """Dropout, which does nothing when a net answers."""
    if any(node.outputs[1:]):
        raise node.refusal("puts out its mask, which Joulemark cannot read")
    return Call(same)


def reduction(function: Callable[..., Tensor]) -> Reader:
    """Reads a Reduce operator: over some axes, which stay as 1 unless it says otherwise."""

    def read(node: Node) -> Call:
        axes = node.numbers("axes", 1)
        if not axes and node.settings.get("noop_with_empty_axes"):
            return Call(same)
        dims = tuple(axes) if axes else tuple(range(node.value().dim()))
        return Call(partial(function, dim=dims, keepdim=bool(node.settings.get("keepdims", 1))))

    return read


def over_space(function: Callable[..., Tensor]) -> Reader:
    """Reads a pooling over all of space."""

    def read(node: Node) -> Call:
        return Call(partial(function, dim=tuple(range(2, node.value().dim())), keepdim=True))

    return read


def max_pool(node: Node) -> Call:
    """MaxPool; uneven pads are put around its input."""
    pool, pads = _pooling(node, MAX_POOLS)
    if any(node.outputs[1:]):
        raise node.refusal("puts out where it found the maxima, which Joulemark cannot read")
    pool["dilation"] = tuple(node.settings.get("dilations", [1] * len(pool["kernel_size"])))
    function = partial(MAX_POOLS[len(pool["kernel_size"])], **pool)
    return Call(function, before=padding(pads, -inf) if any(pads) else None)


def average_pool(node: Node) -> Call:
    """AveragePool; what is padded counts only if it says so."""
    pool, pads = _pooling(node, AVERAGE_POOLS)
    if max(node.settings.get("dilations", [1])) > 1:
        raise node.refusal("leaves gaps in its window, which Joulemark cannot read")
    counts = bool(node.settings.get("count_include_pad", 0))
    function = partial(AVERAGE_POOLS[len(pool["kernel_size"])], **pool, count_include_pad=counts)
    if not any(pads):
        return Call(function)
    return Call(function, before=padding(pads)) if counts else Call(partial(unpadded_average, function, padding(pads)))


def unpadded_average(pool: Callable[[Tensor], Tensor], pad: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The average over the places of each window that are not padded."""
    return pool(pad(x)) / pool(pad(torch.ones_like(x[:1, :1])))


def _pooling(node: Node, pools: Mapping[int, Any]) -> tuple[dict[str, Any], list[int]]:
    """Keywords of torch's pooling, and the pads that it cannot do itself."""
    kernel = node.settings["kernel_shape"]
    if len(kernel) not in pools:
        raise node.refusal(UNREAD)
    strides = node.settings.get("strides", [1] * len(kernel))
    dilations = node.settings.get("dilations", [1] * len(kernel))
    pads = pads_of(node, [(size - 1) * gap + 1 for size, gap in zip(kernel, dilations, strict=True)], strides)
    own = is_even(pads) and all(2 * pad <= size for pad, size in zip(pads, kernel, strict=False))
    stated = {"kernel_size": tuple(kernel), "stride": tuple(strides), "ceil_mode": bool(node.settings.get("ceil_mode"))}
    return {**stated, "padding": tuple(pads[: len(kernel)]) if own else 0}, [] if own else pads


def response_norm(node: Node) -> Call:
    """LRN: each number divided by those at its place in channels nearby."""
    size = node.settings["size"]
    usual = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}
    alpha, beta, k = (node.settings.get(name, value) for name, value in usual.items())
    if size % 2 == 0:
        raise node.refusal("is over an even number of channels, which Joulemark cannot read")
    return Call(partial(functional.local_response_norm, size=size, alpha=alpha, beta=beta, k=k))


def _gelu(node: Node) -> Call:
    return Call(partial(functional.gelu, approximate=node.settings.get("approximate", "none")))


OPERATORS: Mapping[str, Reader] = {
    "Relu": of_one(functional.relu),
    "LeakyRelu": of_one(functional.leaky_relu, alpha__negative_slope=0.01),
    "Elu": of_one(functional.elu, alpha=1.0),
    "Celu": of_one(functional.celu, alpha=1.0),
    "Selu": of_one(functional.selu),
    "Sigmoid": of_one(torch.sigmoid),
    "HardSigmoid": of_one(hard_sigmoid, alpha=0.2, beta=0.5),
    "HardSwish": of_one(functional.hardswish),
    "Swish": of_one(swish, alpha=1.0),
    "Mish": of_one(functional.mish),
    "Tanh": of_one(torch.tanh),
    "Erf": of_one(torch.erf),
    "Gelu": _gelu,
    "Softplus": of_one(functional.softplus),
    "Softsign": of_one(functional.softsign),
    "Sqrt": of_one(torch.sqrt),
    "Exp": of_one(torch.exp),
    "Log": of_one(torch.log),
    "Neg": of_one(operator.neg),
    "Abs": of_one(torch.abs),
    "Reciprocal": of_one(torch.reciprocal),
    "Clip": clip,
    "Softmax": softmax,
    "LogSoftmax": softmax,
    "Add": of_all(operator.add),
    "Sub": of_all(operator.sub),
    "Mul": of_all(operator.mul),
    "Div": of_all(divided),
    "Pow": of_all(operator.pow),
    "Sum": of_all(operator.add),
    "Max": of_all(larger),
    "Min": of_all(smaller),
    "Identity": of_one(same),
    "Dropout": dropout,
    "Cast": cast,
    "ReduceMean": reduction(torch.mean),
    "ReduceSum": reduction(torch.sum),
    "ReduceMax": reduction(torch.amax),
    "GlobalAveragePool": over_space(torch.mean),
    "GlobalMaxPool": over_space(torch.amax),
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "LRN": response_norm,
}
