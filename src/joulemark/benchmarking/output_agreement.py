"""Agreement: how near the outputs of one way to run a net are to those of another. Needs no labels."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from joulemark.record import Agreement

NORMAL_97_5 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


def agreement(reference: NDArray[np.float32], found: NDArray[np.float32]) -> Agreement:
    """Compare two arrays of outputs (rows, ...), row by row.

    Outputs of shape (rows, classes), or with axes of length 1 behind them, are class scores: the share of rows with the
    same largest one has a Wilson interval. Raises ``ValueError`` for shapes that differ or outputs that are not finite.
    """
    if reference.shape != found.shape or not len(reference):
        raise ValueError(f"cannot compare outputs of shapes {reference.shape} and {found.shape}")
    if not (np.isfinite(reference).all() and np.isfinite(found).all()):
        raise ValueError("some outputs are not finite numbers")
    differences = np.abs(reference.astype(np.float64) - found)
    size = float(np.sqrt(np.mean(np.square(reference, dtype=np.float64)))) or 1.0
    rows = len(reference)
    same = low = high = None
    if reference.ndim >= 2 and reference.shape[1] > 1 and math.prod(reference.shape[2:]) == 1:
        flat = (array.reshape(rows, -1).argmax(1) for array in (reference, found))
        agreeing = int(np.equal(*flat).sum())
        same = agreeing / rows
        low, high = wilson(agreeing, rows)
    return Agreement(
        images=rows,
        same_class=same,
        low=low,
        high=high,
        largest_difference=float(differences.max()),
        mean_relative=float(differences.mean()) / size,
        largest_relative=float(differences.max()) / size,
    )


def wilson(hits: int, tries: int) -> tuple[float, float]:
    """95 % score interval of a share (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927): honest at 0 and at all hits too.

    >>> [round(end, 4) for end in wilson(100, 100)]
    [0.963, 1.0]
    """
    share, z2 = hits / tries, NORMAL_97_5**2
    centre = (share + z2 / (2 * tries)) / (1 + z2 / tries)
    half = NORMAL_97_5 / (1 + z2 / tries) * math.sqrt(share * (1 - share) / tries + z2 / (4 * tries**2))
    low = centre - half if hits else 0.0  # exactly: rounding leaves a trace
    high = centre + half if hits < tries else 1.0
    return low, high
