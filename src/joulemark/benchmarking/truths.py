"""What the nets of a session are judged by: the labels of a split or, if the metric says so, a baseline's classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from joulemark.backends.predicting import predict
from joulemark.judging.metrics.metric import metric
from joulemark.judging.truths import truth_record
from joulemark.record import Truth

if TYPE_CHECKING:
    from joulemark.benchmarking.session import Session, StoredNet


def truth_of(session: Session, split: str, baseline: StoredNet) -> Truth:
    """What is true of a split for nets beside ``baseline``, stored. Only a trial may ask for "test".

    Predictions of a baseline, by the suite's first backend, are made once: rounding on another day changes no score.
    """
    task, data = session.suite.task, session.splits[split]
    labels, net = data.labels, None
    if metric(task.metric).truth == "baseline":
        net = baseline.hash
        for truth in session.store.truths().values():
            if (truth.task_key, truth.split, truth.net) == (task.key, split, net):
                return truth
        labels = predicted_classes(predict(session.compiled(baseline, session.backends[0]), data.images))
    truth = truth_record(
        task.name, task.key, split, labels, classes=task.classes, groups=data.groups, net=net
    )  # fmt: skip
    if session.store.truth(truth.key) is None:
        session.store.put(truth)
    return truth


def predicted_classes(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """The class with the largest logit of every row. ``ValueError`` for logits that are not finite."""
    if not np.isfinite(logits).all():
        raise ValueError("the logits of the baseline are not finite, so there is nothing to agree with")
    classes: NDArray[np.int64] = logits.argmax(1)
    return classes
