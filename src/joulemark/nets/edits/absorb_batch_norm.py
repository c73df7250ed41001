"""Fold a batch norm: the convolution in front of it takes its work over."""

from __future__ import annotations

import torch
from torch import nn

from joulemark.nets.edits.edit import put_in_place
from joulemark.nets.flow import BATCH_NORMS, CONVOLUTIONS


def absorb_batch_norm(module: nn.Module, *, layer: str, norm: str) -> None:
    """Give convolution ``layer`` a bias, if it has none, and let ``norm``, the batch norm after it, do nothing.

    Weights are not this edit's business: the state that is loaded afterwards holds them with the norm folded in
    (:func:`joulemark.nets.folding.fold`).
    """
    layers = dict(module.named_modules())
    convolution, batch_norm = layers.get(layer), layers.get(norm)
    if not isinstance(convolution, CONVOLUTIONS) or not isinstance(batch_norm, BATCH_NORMS):
        raise ValueError(f"absorb_batch_norm: {layer!r} and {norm!r} are no convolution and no batch norm of the net")
    if convolution.bias is None:
        convolution.bias = nn.Parameter(torch.zeros(convolution.out_channels))
    put_in_place(module, norm, nn.Identity())
