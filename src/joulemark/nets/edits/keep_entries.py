"""Cut a tensor that is in no layer of a known kind: a scale, a mask or an offset that the net's own code applies."""

from __future__ import annotations

import torch
from torch import nn


def keep_entries(module: nn.Module, *, tensor: str, dimension: int, kept: list[int]) -> None:
    """Keep the entries ``kept`` of a parameter or buffer along one dimension, in this order.

    Raises ``ValueError`` if the net has no such tensor or the tensor no such entries.
    """
    parent, _, name = tensor.rpartition(".")
    owner = dict(module.named_modules()).get(parent)
    held = getattr(owner, name, None)
    if owner is None or not isinstance(held, torch.Tensor):
        raise ValueError(f"keep_entries: no parameter or buffer is called {tensor!r}")
    if type(dimension) is not int or not 0 <= dimension < held.dim():
        raise ValueError(f"keep_entries: {tensor!r} has dimensions 0 to {held.dim() - 1}, not {dimension!r}")
    if not kept or not all(type(one) is int and 0 <= one < held.shape[dimension] for one in kept):
        raise ValueError(
            f"keep_entries: {tensor!r} has entries 0 to {held.shape[dimension] - 1} there: keep some of them"
        )
    if len(set(kept)) != len(kept):
        raise ValueError(f"keep_entries: each entry of {tensor!r} is kept once")
    cut = held.detach().index_select(dimension, torch.tensor(kept))
    if isinstance(held, nn.Parameter):
        setattr(owner, name, nn.Parameter(cut, requires_grad=held.requires_grad))
    else:
        setattr(owner, name, cut)
