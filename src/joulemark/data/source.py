"""What a reader gives back: images and labels as published, with the official test set apart."""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Pair: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images (n, channels, height, width), one byte a value, and their labels (n,), 0 to 255."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set. ``test`` is the official test set, ``None`` where there is none.

    Raises ``ValueError`` if images and labels are not of the form above.
    """

    train: Pair
    test: Pair | None = None

    def __post_init__(self) -> None:
        for images, labels in (pair for pair in (self.train, self.test) if pair is not None):
            if images.ndim != 4 or images.dtype != np.uint8:
                raise ValueError(
                    f"images must be bytes of shape (n, channels, height, width), not {images.dtype} {images.shape}"
                )
            if labels.shape != images.shape[:1] or labels.dtype != np.int64:
                raise ValueError(f"{len(images)} images need as many int64 labels, not {labels.dtype} {labels.shape}")
            if len(labels) and not 0 <= labels.min() <= labels.max() <= 255:
                raise ValueError(f"labels must be 0 to 255, not {labels.min()} to {labels.max()}")
