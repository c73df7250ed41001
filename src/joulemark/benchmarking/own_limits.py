"""What a user's own task does not allow, and why: the row of a technique then holds the reason."""

from __future__ import annotations

from joulemark.benchmarking.chains import Chain
from joulemark.task import Task


def why_not(task: Task, chain: Chain) -> str | None:
    """Why a chain cannot be run on a task; ``None`` if it can."""
    if task.own is None:
        return None
    if any(one.trains for one in chain) and not task.own.trains:
        return "it trains, and the task gives no training rows: write train() in the task file"
    if any(one.start == "scratch" for one in chain) and not task.own.scratch:
        return "it trains from scratch, and the task does not say how: write recipe = dict(epochs=..., ...) in its file"
    return None
