"""Scores of the first schema in the form of the second: nothing is lost, and every loss is what it was."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from joulemark.judging.losses import pooled_loss, right_rows
from joulemark.judging.statistics import loss_bound
from joulemark.migrating.scores import migrate_score, migrate_scores
from joulemark.record import Score

ROOT = Path(__file__).parents[2]
OLD = {"split": "test", "images": 10, "accuracy": 0.8, "correct": "3fc0"}


def old_bits(stated: dict) -> np.ndarray:
    """Right or wrong, read as the first schema had it, without this package."""
    text = bin(int("1" + stated["correct"], 16))[3:]
    return np.array([digit == "1" for digit in text[: stated["images"]]])


def first_schema_records() -> list[dict]:
    """Attempts, trials and free trials of the first schema: some kept here for good, and those under results/.

    Those kept are without what has nothing to do with scores.
    """
    kinds = ("attempts", "trials", "free")
    found = [path for kind in kinds for path in sorted(ROOT.glob(f"results/*/*/{kind}/*.json"))]
    stored = [msgspec.json.decode(path.read_bytes()) for path in found]
    kept = msgspec.json.decode((Path(__file__).parent / "first_schema.json").read_bytes())
    return kept + [one for one in stored if any("images" in score for score in scores_in(one))]


def scores_in(record: dict) -> list[dict]:
    held = [record.get("score"), record.get("baseline_score"), *record.get("scores", {}).values()]
    return [score for score in held if score is not None]


@pytest.fixture(scope="module")
def records():
    return first_schema_records()


def test_by_hand():
    assert migrate_score(OLD) == {
        "split": "test", "metric": "accuracy", "rows": 10, "value": 0.8, "predicted": None, "truth": None,
        "correct": "3fc0",
    }  # fmt: skip
    score = msgspec.convert(migrate_score(OLD), Score)
    assert right_rows(score, {}).tolist() == [False, False, *[True] * 8]


@pytest.mark.parametrize("changes", [{"metric": "accuracy"}, {"images": None}])
def test_what_is_no_score_of_the_first_schema_is_refused(changes):
    stated = {name: value for name, value in {**OLD, **changes}.items() if value is not None}
    with pytest.raises(ValueError, match="a score of schema 1 holds accuracy, correct, images, split, and this one"):
        migrate_score(stated)
    with pytest.raises(ValueError, match="and this one correct, metric, predicted, rows, split, truth, value"):
        migrate_score(migrate_score(OLD))


def test_everything_else_of_a_record_stays():
    record = {"key": "k", "score": None, "baseline_score": OLD, "scores": {"eager": OLD}, "notes": {"score": 1}}
    found = migrate_scores(record)
    assert found == {**record, "baseline_score": migrate_score(OLD), "scores": {"eager": migrate_score(OLD)}}
    assert record["scores"] == {"eager": OLD}  # the given one is not changed
    assert migrate_scores({"key": "k"}) == {"key": "k"}


def test_every_committed_value_and_bit_is_the_same(records):
    for record in records:
        for before, after in zip(scores_in(record), scores_in(migrate_scores(record)), strict=True):
            score = msgspec.convert(after, Score)
            assert (score.split, score.rows, score.value) == (before["split"], before["images"], before["accuracy"])
            assert np.array_equal(right_rows(score, {}), old_bits(before))


def test_every_committed_loss_is_the_same(records):
    attempts = [one for one in records if "made" in one and one["score"] is not None]
    baselines = {(one["task_key"], one["seed"]): one for one in attempts if one["technique"] == "baseline"}
    tried = 0
    for attempt in attempts:
        baseline = baselines.get((attempt["task_key"], attempt["seed"]))
        if baseline is None or baseline["score"]["images"] != attempt["score"]["images"]:
            continue
        stated = baseline["score"], attempt["score"]
        scores = [msgspec.convert(migrate_score(one), Score) for one in stated]
        assert pooled_loss(scores[:1], scores[1:], {}) == loss_bound(*(old_bits(one)[None] for one in stated))
        tried += 1
    assert tried >= 10


def test_every_stored_loss_of_what_is_free_follows(records):
    free = [one for one in records if one.get("loss_points") is not None]
    for record in free:
        scores = [msgspec.convert(migrate_score(record[name]), Score) for name in ("baseline_score", "score")]
        loss, bound = pooled_loss(scores[:1], scores[1:], {})
        assert (loss, bound) == pytest.approx((record["loss_points"], record["loss_bound"]), rel=1e-9, abs=1e-12)
    assert free
