"""Folding batch norm into the convolution before it: the same net with fewer operators, as every runtime runs it.

In evaluation mode batch norm is y = gamma (x - mean) / sqrt(variance + eps) + beta with constants, so a convolution
with weights gamma w / sqrt(variance + eps) gives the same (B. Jacob et al., CVPR 2018, section 3.2). Runtimes do this
to float nets by themselves. Before weights become integers it must be done here: a batch norm that stays between two
layers keeps a runtime from computing them in integers.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights

from joulemark.nets.flow import foldable
from joulemark.nets.net import Net


def fold(net: Net) -> Net:
    """``net`` with every batch norm that alone reads a convolution folded into it, in all parts of a cascade too.

    It computes the same up to rounding and is meant for inference: there are no batch statistics left to learn.

    >>> net = Net.new("resnet20", (3, 32, 32), seed=0)
    >>> net.parameters() - fold(net).parameters()  # of two numbers a channel one is left, the bias
    688
    """
    if net.parts:
        return net.replace(parts={name: fold(part) for name, part in net.parts.items()})
    module = net.module(formats=False)
    pairs = foldable(module, net.input_shape)
    if not pairs:
        return net
    state = dict(net.state)
    for layer, norm in pairs.items():
        fused = _fused(module.get_submodule(layer), module.get_submodule(norm))
        state.update({f"{layer}.weight": fused[0], f"{layer}.bias": fused[1]})
    gone = tuple(f"{norm}." for norm in pairs.values())
    edits: list[dict[str, Any]] = [
        {"edit": "absorb_batch_norm", "layer": layer, "norm": norm} for layer, norm in pairs.items()
    ]
    return net.replace(
        edits=(*net.edits, *edits),
        state={name: tensor for name, tensor in state.items() if not name.startswith(gone)},
        masks={name: mask for name, mask in net.masks.items() if not name.startswith(gone)},
    )


def _fused(layer: Any, norm: Any) -> tuple[Tensor, Tensor]:
    statistics = (norm.running_mean, norm.running_var, norm.eps)
    weight, bias = fuse_conv_bn_weights(layer.weight, layer.bias, *statistics, norm.weight, norm.bias)
    return weight.detach(), bias.detach()
