"""Scores of the first schema, as plain JSON values, in the form of the second.

The first schema kept which rows are right, and not which class each was given: that stays unknown, and is null. Its
only metric was accuracy.
"""

from __future__ import annotations

from typing import Any

FIELDS = {"split", "images", "accuracy", "correct"}
"""What a score of the first schema holds."""


def migrate_score(stated: dict[str, Any]) -> dict[str, Any]:
    """One score of schema 1 as one of schema 2. ``ValueError`` if it is none of schema 1.

    >>> migrate_score({"split": "test", "images": 2, "accuracy": 0.5, "correct": "80"})["rows"]
    2
    """
    if stated.keys() != FIELDS:
        raise ValueError(
            f"a score of schema 1 holds {', '.join(sorted(FIELDS))}, and this one {', '.join(sorted(stated))}"
        )
    return {
        "split": stated["split"],
        "metric": "accuracy",
        "rows": stated["images"],
        "value": stated["accuracy"],
        "predicted": None,
        "truth": None,
        "correct": stated["correct"],
    }


def migrate_scores(stated: dict[str, Any]) -> dict[str, Any]:
    """A record of schema 1 with all of its scores as of schema 2, and everything else as it was.

    An attempt holds ``score``, a free trial ``score`` and ``baseline_score``, a trial ``scores`` by backend.
    """
    found = dict(stated)
    for name in ("score", "baseline_score"):
        if stated.get(name) is not None:
            found[name] = migrate_score(stated[name])
    if "scores" in stated:
        found["scores"] = {backend: migrate_score(score) for backend, score in stated["scores"].items()}
    return found
