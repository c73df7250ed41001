"""Where a net is measured: the backend that speaks for it, and the others beside it."""

from __future__ import annotations

from collections.abc import Sequence

from joulemark.backends.backend import Backend, simulated, without_masks
from joulemark.benchmarking.suite import Suite
from joulemark.nets.net import Net


def home(backends: Sequence[Backend], net: Net) -> Backend:
    """The backend that speaks for ``net``: the first with real kernels for it, or else the first."""
    return next((one for one in backends if simulated(net, one) is None), backends[0])


def scenarios(backends: Sequence[Backend], suite: Suite, net: Net) -> list[tuple[Backend, int]]:
    """Where ``net`` is measured: its home backend at every batch size, others with real kernels where asked.

    A net whose zeros need a sparse kernel also runs on the first backend, which multiplies them, at every batch size:
    so that what a dense kernel makes of it is measured, not believed. That is simulated, and on no board.
    """
    own, first = home(backends, net), backends[0]
    beside = first if own is not first and simulated(without_masks(net), first) is None else None
    return [
        (one, size)
        for one in backends
        for size in suite.batch_sizes
        if one in (own, beside) or (size not in suite.home_only and simulated(net, one) is None)
    ]
