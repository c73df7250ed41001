"""Logits of many images, in batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from joulemark.backends.backend import Compiled, CompiledExits


def predict(compiled: Compiled, images: NDArray[np.float32], *, batch_size: int = 100) -> NDArray[np.float32]:
    """Logits of all ``images``, in batches."""
    parts = [compiled.run(images[start : start + batch_size]) for start in range(0, len(images), batch_size)]
    return np.concatenate(parts)


def predict_exits(
    compiled: Compiled, images: NDArray[np.float32], *, batch_size: int = 100
) -> list[NDArray[np.float32]]:
    """Logits of all ``images`` at every exit, in batches. ``ValueError`` for a compiled net that cannot say them."""
    if not isinstance(compiled, CompiledExits):
        raise ValueError(f"{type(compiled).__name__} gives the logits of the exit that a row takes, not of every exit")
    parts = [compiled.exit_logits(images[start : start + batch_size]) for start in range(0, len(images), batch_size)]
    return [np.concatenate(exits) for exits in zip(*parts, strict=True)]
