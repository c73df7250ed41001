"""Passes over images in batches, and the CPU-seconds they took."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from joulemark.backends.backend import Compiled, Images
from joulemark.judging.statistics import bootstrap_median
from joulemark.record import Kind, Quantity


def cpu_quantity(values: Sequence[float], reason: str | None = None) -> Quantity:
    """Median CPU-seconds per input with its bootstrap interval; unknown, with the ``reason``, without values."""
    low, high = bootstrap_median(values) if values else (None, None)
    return Quantity(
        value=float(np.median(values)) if values else None,
        unit="s/input",
        kind=Kind.MEASURED,
        method="CPU clock of the process, median of windows",
        scope="all threads of this process",
        source="time.process_time",
        low=low,
        high=high,
        count=len(values) or None,
        reason=reason,
    )


def whole_batches(images: Images, batch_size: int) -> Images:
    """As many images as fill whole batches; too few for one are repeated until they do.

    A rest would run in another shape, for which a compiled net has other kernels.

    >>> whole_batches(np.zeros((10, 1), np.float32), 4).shape, whole_batches(np.zeros((3, 1), np.float32), 4).shape
    ((8, 1), (4, 1))
    """
    if len(images) >= batch_size:
        return images[: len(images) // batch_size * batch_size]
    return images[np.arange(batch_size) % len(images)]


def outputs(compiled: Compiled, images: Images, batch_size: int) -> NDArray[np.float32]:
    """Outputs for all images, every batch of the same size: the last one is filled up and the surplus dropped."""
    parts = []
    for start in range(0, len(images), batch_size):
        rows = images[start : start + batch_size]
        parts.append(compiled.run(np.ascontiguousarray(whole_batches(rows, batch_size)))[: len(rows)])
    return np.concatenate(parts)
