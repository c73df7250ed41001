"""What a metric is, and how one is found by its name.

A metric is a value from 0 to 1 of (true, predicted) rows, larger being better, with the upper bound of its loss between
two nets that saw the same rows. To add one, write a module with a :class:`Metric` in it and put its name into the
vocabulary; nothing else knows the names.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from joulemark.vocabulary import look_up, names

Classes: TypeAlias = NDArray[np.int64]
"""Classes of rows: (rows,), or (rows, k) where k classes of a row are kept; with a first axis of seeds in pairs."""
Logits: TypeAlias = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Pairs:
    """The same rows seen by two nets, seed by seed. ``groups`` says which rows belong together, as of one subject."""

    true: Classes  # (seeds, rows)
    baseline: Classes  # (seeds, rows), or (seeds, rows, k)
    candidate: Classes  # of the same shape
    groups: NDArray[np.int64] | None = None  # (rows,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """One way to say how well a net does.

    ``keep`` takes logits (rows, classes) to what a record keeps as predicted. ``value`` and ``right`` take (true,
    predicted). ``loss`` takes pairs and a level to (loss, one-sided upper bound of the loss) in points, a hundredth of
    the value each, baseline minus candidate, seeds pooled.
    """

    name: str
    title: str  # in the middle of a sentence: "accuracy"
    keep: Callable[[Logits], Classes]
    value: Callable[[Classes, Classes], float]
    loss: Callable[[Pairs, float], tuple[float, float]]
    right: Callable[[Classes, Classes], NDArray[np.bool_]] | None = None  # of a metric that is a share of right rows
    truth: Literal["labels", "baseline"] = "labels"  # what is true: the labels, or what the baseline net predicts
    lost: str | None = None  # what a loss of it is called: points "of disagreement with ..."; None: "of" its title


def require_one_class(true: Classes, predicted: Classes) -> None:
    """Raise ``ValueError`` unless one class is kept of every row: other shapes would pair each row with every other."""
    if true.shape != predicted.shape:
        raise ValueError(
            f"predictions of shape {list(predicted.shape)} are not one class for each of {list(true.shape)}"
        )


def metric(name: str) -> Metric:
    """The metric of that name. ``ValueError`` if nobody registered it, or if what was registered is no such metric.

    What it says is looked at: a value that is not from 0 to 1, a loss that is no pair of finite numbers, and whatever
    else its functions raise are a ``ValueError`` that names it.

    >>> metric("accuracy").title
    'accuracy'
    """
    found: Any = look_up("metric", name)
    if not isinstance(found, Metric) or found.name != name:
        raise ValueError(f"metric {name!r} is registered as {names('metric')[name]}, which is no Metric of that name")
    return _checked(found)


@functools.cache
def _checked(by: Metric) -> Metric:
    """The same metric, its answers looked at: it may be anybody's code."""

    def asked(what: str, *given: Any) -> Any:
        try:
            return getattr(by, what)(*given)
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(f"metric {by.name!r} raised {type(error).__name__} in {what!r}: {error}") from error

    def keep(logits: Logits) -> Classes:
        kept = np.asarray(asked("keep", logits))
        if kept.dtype.kind not in "iu" or kept.shape[:1] != logits.shape[:1]:
            raise ValueError(
                f"metric {by.name!r} keeps {kept.dtype} of shape {list(kept.shape)}: not classes of each row"
            )
        return kept.astype(np.int64, copy=False)

    def value(true: Classes, predicted: Classes) -> float:
        said = asked("value", true, predicted)
        if not _finite(said) or not 0.0 <= said <= 1.0:
            raise ValueError(f"metric {by.name!r} says {said!r:.80}: a value is from 0 to 1")
        return float(said)

    def loss(pairs: Pairs, level: float) -> tuple[float, float]:
        said = asked("loss", pairs, level)
        if not isinstance(said, tuple) or len(said) != 2 or not all(map(_finite, said)):
            raise ValueError(f"metric {by.name!r} says {said!r:.80}: a loss and its bound are two finite numbers")
        return float(said[0]), float(said[1])

    def right(true: Classes, predicted: Classes) -> NDArray[np.bool_]:
        said = np.asarray(asked("right", true, predicted))
        if said.dtype != bool or said.shape != true.shape:
            raise ValueError(
                f"metric {by.name!r} says {said.dtype} of shape {list(said.shape)}: not right or wrong a row"
            )
        return said

    return dataclasses.replace(by, keep=keep, value=value, loss=loss, right=None if by.right is None else right)


def _finite(said: Any) -> bool:
    return isinstance(said, int | float | np.number) and bool(np.isfinite(said))
