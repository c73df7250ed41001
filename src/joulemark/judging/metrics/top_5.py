"""Top-5 accuracy: the share of rows whose true class has one of the five largest logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from joulemark.judging.metrics.metric import Classes, Logits
from joulemark.judging.metrics.right_rows import share_of_right_rows

KEPT = 5


def five_largest(logits: Logits) -> Classes:
    """The classes of the five largest logits of every row, largest first; of equal ones the lower class first."""
    if logits.shape[1] <= KEPT:
        raise ValueError(f"top-5 of {logits.shape[1]} classes is always right: choose another metric, such as accuracy")
    return np.argsort(-logits, axis=1, kind="stable")[:, :KEPT]


def among_them(true: Classes, predicted: Classes) -> NDArray[np.bool_]:
    """Whether the true class is one of those kept of its row."""
    if predicted.shape != (*true.shape, KEPT):
        raise ValueError(
            f"predictions of shape {list(predicted.shape)} are not {KEPT} classes for each of {list(true.shape)}"
        )
    right: NDArray[np.bool_] = (predicted == true[..., None]).any(axis=-1)
    return right


top_5 = share_of_right_rows(name="top-5", title="top-5 accuracy", keep=five_largest, right=among_them)
