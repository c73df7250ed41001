"""ONNX operators that have weights, as the layers of torch: the names and meanings are of the ONNX operator reference.

Weights must be constants of the file. A layer that pads unevenly is given a padded input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from joulemark.nets.onnx_node import Array, Call, Node, Reader

CONVOLUTIONS: Mapping[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: Mapping[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORMS: Mapping[int, Any] = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORMS: Mapping[int, Any] = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
UNREAD = "has more dimensions than Joulemark can read"


def _filled(layer: Any, **tensors: Array | None) -> Any:
    """A layer that was built without memory, with these tensors."""
    for name, values in tensors.items():
        if values is not None:
            tensor = torch.from_numpy(np.array(values, np.float32))
            held = nn.Parameter(tensor) if name in layer._parameters else tensor
            setattr(layer, name, held)
    if getattr(layer, "num_batches_tracked", None) is not None:
        layer.num_batches_tracked = torch.tensor(0)
    return layer


def _weight(node: Node, place: int = 1) -> Array:
    weight = node.constant(place)
    if weight is None:
        raise node.refusal("has no weight")
    return weight


def same_pads(sizes: list[int], spans: list[int], strides: list[int], *, lower: bool) -> list[int]:
    """What auto_pad SAME puts in front of each axis, then behind each: outputs are ceil(size / stride).

    ``spans`` are the sizes of the dilated kernel.

    >>> same_pads([5, 6], [3, 3], [2, 2], lower=False)
    [1, 0, 1, 1]
    """
    totals = [
        max(0, (-(-size // stride) - 1) * stride + span - size)
        for size, span, stride in zip(sizes, spans, strides, strict=True)
    ]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return [*large, *small] if lower else [*small, *large]


def pads_of(node: Node, spans: list[int], strides: list[int]) -> list[int]:
    """How much a node pads: in front of each of its axes in space, then behind each."""
    how = node.settings.get("auto_pad", "NOTSET")
    if how in ("SAME_UPPER", "SAME_LOWER"):
        return same_pads(list(node.value().shape[2:]), spans, strides, lower=how == "SAME_LOWER")
    stated = node.settings.get("pads") if how == "NOTSET" else None
    return list(stated) if stated else [0] * (2 * len(spans))


def is_even(pads: list[int]) -> bool:
    """Whether as much is in front of each axis as behind it."""
    return pads[: len(pads) // 2] == pads[len(pads) // 2 :]


def in_pairs(pads: list[int]) -> list[int]:
    """Pads as torch takes them: in front of and behind the last axis, then the one before it.

    >>> in_pairs([1, 2, 3, 4])
    [2, 4, 1, 3]
    """
    half = len(pads) // 2
    return [size for axis in reversed(range(half)) for size in (pads[axis], pads[half + axis])]


def padding(pads: list[int], value: float = 0.0) -> Callable[[Tensor], Tensor]:
    """The function that pads the last axes so; a negative number crops."""
    return partial(functional.pad, pad=in_pairs(pads), value=value)


def convolution(node: Node) -> Call:
    """Conv."""
    weight, bias = _weight(node), node.constant(2)
    axes = weight.ndim - 2
    if axes not in CONVOLUTIONS:
        raise node.refusal(UNREAD)
    kernel = list(weight.shape[2:])
    strides = node.settings.get("strides", [1] * axes)
    dilations = node.settings.get("dilations", [1] * axes)
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    pads = pads_of(node, spans, strides)
    groups = node.settings.get("group", 1)
    layer = CONVOLUTIONS[axes](
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(kernel),
        tuple(strides),
        tuple(pads[:axes]) if is_even(pads) else 0,
        tuple(dilations),
        groups,
        bias is not None,
        device="meta",
    )
    return Call(_filled(layer, weight=weight, bias=bias), before=None if is_even(pads) else padding(pads))


def transposed_convolution(node: Node) -> Call:
    """ConvTranspose; uneven pads are cropped from its output."""
    weight, bias = _weight(node), node.constant(2)
    axes = weight.ndim - 2
    if axes not in TRANSPOSED:
        raise node.refusal(UNREAD)
    if "output_shape" in node.settings or node.settings.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise node.refusal("states its output shape, which Joulemark cannot read: export it with pads")
    pads = pads_of(node, [1] * axes, [1] * axes)
    groups = node.settings.get("group", 1)
    layer = TRANSPOSED[axes](
        weight.shape[0],
        weight.shape[1] * groups,
        tuple(weight.shape[2:]),
        tuple(node.settings.get("strides", [1] * axes)),
        tuple(pads[:axes]) if is_even(pads) else 0,
        tuple(node.settings.get("output_padding", [0] * axes)),
        groups,
        bias is not None,
        tuple(node.settings.get("dilations", [1] * axes)),
        device="meta",
    )
    after = None if is_even(pads) else padding([-one for one in pads])
    return Call(_filled(layer, weight=weight, bias=bias), after=after)


def linear(weight: Array, bias: Array | None) -> nn.Module:
    """A linear layer of a weight (outputs, inputs) and a bias (outputs,)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    made: nn.Module = _filled(layer, weight=weight, bias=bias)
    return made


def gemm(node: Node) -> Call:
    """Gemm: y = alpha x W + beta b, a linear layer."""
    if node.settings.get("transA"):
        raise node.refusal("transposes its input, which Joulemark cannot read")
    weight, bias = _weight(node), node.constant(2)
    weight = node.settings.get("alpha", 1.0) * (weight if node.settings.get("transB") else weight.T)
    if bias is not None:
        if bias.ndim > 1 and bias.shape[0] != 1:
            raise node.refusal("adds another number to each row, which Joulemark cannot read")
        bias = node.settings.get("beta", 1.0) * np.broadcast_to(bias.reshape(-1), weight.shape[:1])
    return Call(linear(weight, bias))


def product(node: Node) -> Call:
    """MatMul: a linear layer if the right factor is a constant matrix. A third input is the bias of it."""
    if node.is_constant(1) and _weight(node).ndim == 2:
        return Call(linear(_weight(node).T, node.constant(2)))
    return Call(torch.matmul, (0, 1))


def batch_norm(node: Node) -> Call:
    """BatchNormalization with the statistics of the file."""
    if node.settings.get("training_mode"):
        raise node.refusal("takes the statistics of each batch: export the net after net.eval()")
    scale, axes = _weight(node), node.value().dim() - 2
    if axes not in BATCH_NORMS:
        raise node.refusal(UNREAD)
    momentum = 1 - node.settings.get("momentum", 0.9)
    layer = BATCH_NORMS[axes](len(scale), node.settings.get("epsilon", 1e-5), momentum, device="meta")
    statistics = {"running_mean": _weight(node, 3), "running_var": _weight(node, 4)}
    return Call(_filled(layer, weight=scale, bias=node.constant(2), **statistics))


def instance_norm(node: Node) -> Call:
    """InstanceNormalization."""
    scale, axes = _weight(node), node.value().dim() - 2
    if axes not in INSTANCE_NORMS:
        raise node.refusal(UNREAD)
    layer = INSTANCE_NORMS[axes](len(scale), node.settings.get("epsilon", 1e-5), affine=True, device="meta")
    return Call(_filled(layer, weight=scale, bias=node.constant(2)))


def group_norm(node: Node) -> Call:
    """GroupNormalization; before opset 21 a group had one scale."""
    scale, bias, groups = _weight(node), _weight(node, 2), node.settings["num_groups"]
    channels = node.value().shape[1]
    if node.opset < 21:
        scale, bias = (np.repeat(one, channels // groups) for one in (scale, bias))
    layer = nn.GroupNorm(groups, channels, node.settings.get("epsilon", 1e-5), device="meta")
    return Call(_filled(layer, weight=scale, bias=bias))


def layer_norm(node: Node) -> Call:
    """LayerNormalization over the last axes."""
    scale, bias = _weight(node), node.constant(2)
    axis = node.settings.get("axis", -1)
    shape = tuple(node.value().shape[axis:])
    if any(node.outputs[1:]):
        raise node.refusal("puts out its statistics, which Joulemark cannot read")
    layer = nn.LayerNorm(shape, node.settings.get("epsilon", 1e-5), bias=bias is not None, device="meta")
    return Call(_filled(layer, weight=np.broadcast_to(scale, shape), bias=bias))


def prelu(node: Node) -> Call:
    """PRelu with one slope, or one a channel; with a slope a place it is a function of two tensors."""
    slope, dims = _weight(node), node.value().dim()
    channels = slope.ndim == 1 if dims == 2 else slope.ndim >= dims - 1 and slope.shape[-dims + 1] == slope.size
    if slope.size == 1 or (channels and slope.size == node.value().shape[1]):
        return Call(_filled(nn.PReLU(slope.size, device="meta"), weight=slope.reshape(-1)))
    return Call(leaked, (0, 1))


def leaked(x: Tensor, slope: Tensor) -> Tensor:
    """``x``, its negative numbers times ``slope``."""
    return torch.where(x < 0, slope * x, x)


LAYERS: Mapping[str, Reader] = {
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "Gemm": gemm,
    "MatMul": product,
    "BatchNormalization": batch_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "LayerNormalization": layer_norm,
    "PRelu": prelu,
}
