"""What is to be said of a task of a user's own beside its boards: whose net it is, and what is odd about his data."""

from __future__ import annotations

from joulemark.report.results import Results


def own_sentences(results: Results) -> list[str]:
    """Sentences for under the boards; none for a task of ours."""
    if results.own is None:
        return []
    first = "The baseline is the net that was given: what it was trained on is not known here."
    if not results.own.isolated:
        first += " It and the data are objects of one Python session, so no other session uses these results again."
    return [first, *(f"{warning[:1].upper()}{warning[1:]}." for warning in results.own.warnings)]
