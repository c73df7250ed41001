"""Passes: what lets two nets be measured against each other at different batch sizes, with their CPU-seconds.

Whoever measures sends all images in one call; each side cuts them into batches of its own, made beforehand.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from joulemark.backends.backend import Compiled, Images
from joulemark.record import Kind, Quantity
from joulemark.stats import bootstrap_median


class Passes:
    """A compiled net whose every ``run`` is one pass over the same images in batches of ``batch_size``.

    ``cpu_seconds`` holds the CPU-seconds that all threads of this process took for each pass. They are read twice a
    pass, not twice a batch, so that reading them costs the small batches nothing.
    """

    def __init__(self, compiled: Compiled, images: Images, batch_size: int) -> None:
        starts = range(0, len(images), batch_size)
        self.batches = [np.ascontiguousarray(images[start : start + batch_size]) for start in starts]
        self.compiled = compiled
        self.inputs = len(images)
        self.cpu_seconds: list[float] = []

    def run(self, images: Images) -> Images:
        """Send all batches through; ``images`` are those given at construction. Returns the outputs of the last."""
        began = time.process_time()
        for batch in self.batches:
            output = self.compiled.run(batch)
        self.cpu_seconds.append(time.process_time() - began)
        return output

    def cpu_quantity(self) -> Quantity:
        """Median CPU-seconds per input over the passes so far, with its bootstrap interval."""
        return cpu_quantity([seconds / self.inputs for seconds in self.cpu_seconds])


def cpu_quantity(values: list[float], reason: str | None = None) -> Quantity:
    """Median CPU-seconds per input with its bootstrap interval; unknown, with the ``reason``, without values."""
    low, high = bootstrap_median(values) if values else (None, None)
    return Quantity(
        value=float(np.median(values)) if values else None,
        unit="s/input",
        kind=Kind.MEASURED,
        method="CPU clock of the process, median of passes",
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
