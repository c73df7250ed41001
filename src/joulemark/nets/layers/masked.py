"""Masked layers: dynamic width or space with two faces that agree.

``forward`` is dense and multiplies by the mask: it trains and exports. ``run`` gathers what is active and computes only
that: it is what is timed and counted. A layer is right when both give the same output within tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


class MaskedLayer(nn.Module):
    """A layer whose inputs decide which part of it is active.

    A subclass writes ``mask`` (what is active, per row), ``forward`` (dense, masked) and ``run`` (gathered); what it
    lacks raises ``NotImplementedError`` when it is called.
    """

    needs = "mask"  # a kernel that computes only what is active

    def mask(self, x: Tensor) -> Tensor:
        """Boolean mask of what is active, rows first."""
        raise NotImplementedError(f"{type(self).__name__} is a masked layer without mask: say which part is active")

    def run(self, x: Tensor) -> Tensor:
        """The same output as ``forward``, computing only what the mask keeps."""
        raise NotImplementedError(f"{type(self).__name__} is a masked layer without run: compute what its mask keeps")


@contextmanager
def gathered(module: nn.Module) -> Iterator[nn.Module]:
    """Inside the block, every masked layer of ``module`` computes by ``run``, not ``forward``; blocks may nest."""
    layers = [m for m in module.modules() if isinstance(m, MaskedLayer) and "forward" not in vars(m)]
    for layer in layers:
        layer.forward = layer.run
    try:
        yield module
    finally:
        for layer in layers:
            del layer.forward
