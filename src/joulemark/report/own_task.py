"""What is to be said of a task of a user's own beside its boards: whose net it is, and what is odd about his data."""

from __future__ import annotations

import numpy as np

from joulemark.judging.truths import groups_of
from joulemark.report.results import Results
from joulemark.report.words import listed


def own_sentences(results: Results) -> list[str]:
    """Sentences for under the boards; none for a task of ours."""
    if results.own is None:
        return []
    first = "The baseline is the net that was given: what it was trained on is not known here."
    if not results.own.isolated:
        first += " It and the data are objects of one Python session, so no other session uses these results again."
    told = [f"{warning[:1].upper()}{warning[1:]}." for warning in results.own.warnings]
    return [first, *groups_told(results), *told]


def groups_told(results: Results) -> list[str]:
    """That rows come in groups, and in how many: a loss is bounded over groups, so that few of them say little."""
    counts = {}
    for truth in results.truths.values():
        groups = groups_of(truth)
        if groups is not None:
            counts[truth.split] = len(np.unique(groups))
    if not counts:
        return []
    how_many = listed([f"{count} in {split}" for split, count in sorted(counts.items(), reverse=True)])
    return [f"Rows come in groups, {how_many}: losses are bounded over groups, not over rows."]
