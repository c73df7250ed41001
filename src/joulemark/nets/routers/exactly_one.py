"""Leave where exactly one output is sure: the activation module of conditional deep learning.

Source: P. Panda, A. Sengupta, K. Roy, "Conditional deep learning for energy-efficient and enhanced pattern
recognition", DATE 2016.
"""

from __future__ import annotations

from torch import Tensor

from joulemark.nets.routers.router import Carry, Router


def exactly_one(logits: Tensor, threshold: float) -> Tensor:
    """Leave iff exactly one output reaches the threshold."""
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
