"""Routers: which rows go on after a segment, which leave, and which jump.

A router sees what the segment hands on and its logits, never labels. It is part of the segment, so it is exported,
timed and counted with it, and its parameters are part of the net's state (``routers.<name of the stage>.``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from joulemark.record import unknown_name

Carry = dict[str, Tensor]
"""What rows take with them: tensors by name, rows first. ``features`` is what the next stage computes on."""


class Router(nn.Module):
    """Says of each row where it goes from here. A subclass writes ``forward`` and is named in ``ROUTERS``."""

    needs_logits = True  # False: it may stand after a segment that has none

    def forward(self, carry: Carry, logits: Tensor | None) -> Tensor:
        """One entry a row: booleans (on to the next segment, or out) or int64 (index of a segment, or ``EXIT``).

        A row may be sent to any later segment, never back; out only where there are logits. All ways to a segment must
        write the same entries of the carry.
        """
        raise NotImplementedError(f"{type(self).__name__} is a router without forward: say where each row goes")


def exactly_one(logits: Tensor, threshold: float) -> Tensor:
    """Leave iff exactly one output reaches the threshold (Panda et al. 2016, activation module)."""
    return (logits >= threshold).sum(1) == 1


class ExactlyOne(Router):
    """Go on unless exactly one output reaches the threshold."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, carry: Carry, logits: Tensor | None) -> Tensor:
        """Booleans, one a row."""
        if logits is None:
            raise ValueError("the router exactly-one needs logits")
        return ~exactly_one(logits, self.threshold)


class Onward(Router):
    """Everybody goes on: where a stage ends that others jump over."""

    needs_logits = False

    def __init__(self, threshold: float) -> None:
        super().__init__()

    def forward(self, carry: Carry, logits: Tensor | None) -> Tensor:
        """Booleans, one a row, all true."""
        return torch.ones_like(carry["features"].flatten(1)[:, 0], dtype=torch.bool)


ROUTERS: dict[str, Callable[..., Router]] = {"exactly-one": ExactlyOne, "onward": Onward}
"""Router name -> what makes one, called with the threshold and the options of its exit."""


def router(name: str, threshold: float, options: dict[str, Any]) -> Router:
    """The router of an exit. ``ValueError`` for an unknown name or options that it does not take."""
    if name not in ROUTERS:
        raise ValueError(unknown_name("router", name, ROUTERS))
    try:
        return ROUTERS[name](threshold, **options)
    except TypeError as error:
        raise ValueError(f"router {name!r} does not take {options}: {error}") from error
