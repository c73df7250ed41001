"""A paired bootstrap for losses that are no mean over rows, or whose rows come in groups.

Rows that are alike in all that the loss reads make one cell. A draw gives every row a weight from the exponential
distribution (Rubin's Bayesian bootstrap, 1981), or every group one for all of its rows, and the loss is computed of the
weighted rows. One row more, lost, is in every draw: a bootstrap alone knows nothing of what it has not seen. Few groups
vary too little when they are drawn: the quantile is that of Hesterberg's expanded percentile interval (The American
Statistician 69, 2015, recalled). How often the bound holds is simulated in ``tests/judging/test_bootstrap.py``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from joulemark.judging.statistics import t_quantile

DRAWS = 2000
LARGEST_CHUNK = 1 << 22  # weights held at once

Weights: TypeAlias = NDArray[np.float64]
"""Weights of cells: (draws, cells). The last cell is the row more."""


@dataclasses.dataclass(frozen=True)
class Cells:
    """Rows that are alike, counted; ``groups`` says to which group each cell's rows belong, from 0 upwards."""

    counts: NDArray[np.int64]
    groups: NDArray[np.int64] | None

    @classmethod
    def of(cls, columns: NDArray[np.int64], groups: NDArray[np.int64] | None) -> tuple[Cells, NDArray[np.int64]]:
        """The cells of rows by their columns (rows, n), and one row of each cell. No order of rows changes them."""
        if groups is not None:
            _, groups = np.unique(groups, return_inverse=True)
            columns = np.column_stack([groups, columns])
        _, first, counts = np.unique(columns, axis=0, return_index=True, return_counts=True)
        return cls(counts, None if groups is None else groups[first]), first

    @property
    def units(self) -> int:
        """How many independent things were seen: rows, or groups."""
        return int(self.counts.sum()) if self.groups is None else 1 + int(self.groups.max())


def bootstrap_bound(cells: Cells, loss: Callable[[Weights], NDArray[np.float64]], *, level: float) -> float:
    """One-sided upper bound of a loss. The same cells always give the same bound."""
    if not 0.5 < level < 1.0:
        raise ValueError(f"a level is above 0.5 and below 1, not {level}")
    random = np.random.default_rng(0)
    size = max(1, LARGEST_CHUNK // (len(cells.counts) + 1))
    parts = [loss(_weights(cells, min(size, DRAWS - start), random)) for start in range(0, DRAWS, size)]
    return float(np.quantile(np.concatenate(parts), expanded(level, cells.units), method="higher"))


def _weights(cells: Cells, draws: int, random: np.random.Generator) -> Weights:
    more = random.standard_exponential((draws, 1))
    if cells.groups is None:
        return np.hstack([random.standard_gamma(cells.counts, (draws, len(cells.counts))), more])
    of_group = random.standard_exponential((draws, cells.units))
    return np.hstack([of_group[:, cells.groups] * cells.counts, more])


def expanded(level: float, units: int) -> float:
    """Level at which the quantile of a bootstrap over so many units is read, so that few of them do not look certain.

    >>> round(expanded(0.95, 10), 4), round(expanded(0.95, 10_000), 4)
    (0.9733, 0.95)
    """
    if units < 2:
        return 1.0  # nobody knows how units differ who has seen one
    return NormalDist().cdf((units / (units - 1)) ** 0.5 * t_quantile(level, units - 1))
