"""When two ways of computing a net give the same: in all bits, within a tolerance, or as random numbers do."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from joulemark.nets.layers.layer import is_stochastic
from joulemark.nets.net import Net

TOLERANCE = 1e-3
"""Greatest difference of two logits that count as equal: batch sizes and runtimes sum in other orders."""
SAME_ANSWERS = 0.95
"""Share of equal answers asked of nets in integers instead: on the edge of two integers a value rounds either way."""
DRAWS = 64
"""How often a stochastic net is run each way."""
STANDARD_ERRORS = 6.0
"""By how many the means of such runs may differ: of thousands of logits hardly one does so by chance."""


def seeded(run: Callable[[], Tensor], seed: int = 0) -> Tensor:
    """What ``run`` gives when PyTorch's generator has just been seeded."""
    torch.manual_seed(seed)
    return run()


def agree(net: Net, module: nn.Module, first: Callable[[], Tensor], second: Callable[[], Tensor]) -> bool:
    """Whether two ways of computing logits (rows, classes) agree; of a stochastic net, whether their means do."""
    if not is_stochastic(module):
        return same(net, first(), second())
    a = torch.stack([seeded(first, seed) for seed in range(DRAWS)])
    b = torch.stack([seeded(second, seed) for seed in range(DRAWS, 2 * DRAWS)])
    if net.formats:
        return same(net, a.mean(0), b.mean(0))
    error = ((a.var(0) + b.var(0)) / DRAWS).sqrt()
    return bool(((a.mean(0) - b.mean(0)).abs() <= TOLERANCE + STANDARD_ERRORS * error).all())


def same(net: Net, a: Tensor, b: Tensor) -> bool:
    """Whether two sets of logits are equal within the tolerance, or of a net in integers nearly all answers are."""
    if net.formats:
        return float((a.argmax(1) == b.argmax(1)).double().mean()) >= SAME_ANSWERS
    return torch.allclose(a, b, rtol=0.0, atol=TOLERANCE)


def logits_of(module: nn.Module, images: Tensor) -> Tensor:
    """Logits of a module for images, of a dynamic net those of the exit that each row takes."""
    call: Callable[[Tensor], Tensor] = getattr(module, "run", module)
    return call(images)
