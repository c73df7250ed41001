"""Scores against what they are computed from: predictions and what is true or, of older records, bits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from joulemark.judging.losses import Truths
from joulemark.judging.metrics.metric import metric
from joulemark.judging.packed import unpack_bits
from joulemark.judging.repeated import AGREE
from joulemark.judging.truths import groups_of, labels_of, predicted_of, truth_key
from joulemark.record import Attempt, FreeTrial, Record, Score, Trial, Truth


def score_faults(score: Score, truths: Truths) -> Iterator[str]:
    """A value that follows from what is kept, and a truth that is there and of the same rows."""
    if score.rows < 1:
        yield f"is of {score.rows} rows"
        return
    try:
        if score.correct is not None:
            found, why = float(unpack_bits(score.correct, score.rows).mean()), "of its rows are marked correct"
        else:
            truth = truths.get(score.truth or "")
            if truth is None:
                yield f"is judged by truths/{score.truth}.json, which is not there or cannot be read"
                return
            yield from _of_another_split(score, truth)
            predicted = predicted_of(score)
            if predicted.max() >= truth.classes:
                yield f"predicts class {predicted.max()}, and there are {truth.classes}"
                return
            found = metric(score.metric).value(labels_of(truth), predicted)
            why = "is what its predictions and its truth give"
    except ValueError as error:
        yield str(error)
        return
    if not 0 <= score.value <= 1 or abs(score.value - found) > AGREE:
        yield f"says {score.value:g}, but {found:g} {why}"


def _of_another_split(score: Score, truth: Truth) -> Iterator[str]:
    if (score.split, score.rows) != (truth.split, truth.rows):
        yield (
            f"is of {score.rows:,} {score.split} rows, and what is true in truths/{truth.key}.json of {truth.rows:,} "
            f"{truth.split} rows"
        )
    judged = "baseline" if truth.net is not None else "labels"
    if metric(score.metric).truth != judged:
        yield f"is of {score.metric}, which is not judged by {'predictions of a net' if truth.net else 'labels'}"


def truth_faults(truth: Truth) -> Iterator[str]:
    """Labels and groups of every row, and the key that they give."""
    labels = labels_of(truth)
    if truth.rows < 1:
        yield f"is of {truth.rows} rows"
    elif labels.max() >= truth.classes:
        yield f"holds label {labels.max()}, and there are {truth.classes} classes"
    groups = groups_of(truth)
    if groups is not None and len(np.unique(groups)) != groups.max() + 1:
        yield "its groups are not numbered from 0 upwards"
    if truth_key(truth) != truth.key:
        yield f"its content has key {truth_key(truth)}"


def several_truths(records: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Records whose scores are judged by another truth than most scores of the split: path and sentence.

    Predictions of a net are true beside that net alone, so that there is one for each baseline.
    """
    named: dict[tuple[str, str | None], Counter[str]] = defaultdict(Counter)
    of: list[tuple[str, tuple[str, str | None], str]] = []
    for path, record in records.items():
        for score in scores_of(record):
            truth = records.get(f"truths/{score.truth}.json")
            if truth is not None:
                split = score.split, truth.net
                named[split][truth.key] += 1
                of.append((path, split, truth.key))
    usual = {split: max(seen, key=lambda key: (seen[key], key)) for split, seen in named.items()}
    for path, split, key in dict.fromkeys(of):
        if key != usual[split]:
            yield path, f"a {split[0]} score is judged by truths/{key}.json, others by truths/{usual[split]}.json"


def scores_of(record: Record) -> list[Score]:
    """All scores of a record."""
    if isinstance(record, Trial):
        return [*record.scores.values()]
    held = {Attempt: ("score",), FreeTrial: ("score", "baseline_score")}.get(type(record), ())
    return [score for name in held if (score := getattr(record, name)) is not None]
