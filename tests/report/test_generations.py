"""Rows of other code: marked, and apart where they were judged or measured by other code than the newest rows."""

from __future__ import annotations

import msgspec
import pytest
from synthetic import FAST, make_results

from joulemark.judging.trace import digest
from joulemark.record import Made, Making
from joulemark.report.board import build_board
from joulemark.report.generations import earlier_code, earlier_flags, generations_of, other_code, why_apart

replace = msgspec.structs.replace
UNIT = "joulemark.judging.statistics"
NOW, THEN = {UNIT: digest(UNIT)}, {UNIT: "0" * 16}


def coded(results, *, technique: str | None, attempts: dict, trials: dict, late: bool = False):
    """Results whose records of one technique (``None``: of all others) have these traces."""

    def put(records, code):
        return [
            replace(
                one,
                code=code,
                provenance=replace(
                    one.provenance, started="2999-01-01T00:00:00+00:00" if late else one.provenance.started
                ),
            )
            if one.technique == technique or (technique is None and one.technique != FAST.technique)
            else one
            for one in records
        ]

    return replace(results, attempts=put(results.attempts, attempts), trials=put(results.trials, trials))


@pytest.fixture
def results():
    both = coded(make_results(), technique=FAST.technique, attempts=NOW, trials=NOW)
    return coded(both, technique=None, attempts=NOW, trials=NOW)


def row_of(results, technique: str):
    view = build_board(results, results.boards[1], 2.0)
    return next(row for row in (*view.rows, *view.ineligible) if row.technique == technique)


def test_what_the_code_of_now_made_has_no_mark(results):
    made = {one.made: made_by(one, NOW) for one in results.attempts}
    row = row_of(replace(results, made=made), FAST.technique)
    assert row.status == "ranked"
    assert not [flag for flag in row.flags if "code" in flag]
    assert earlier_code(replace(results, made=made).generations) == []


def made_by(attempt, code) -> Made:
    return Made(
        key=attempt.made, task=attempt.task, task_key=attempt.task_key, technique=attempt.technique,
        knobs=attempt.knobs, seed=attempt.seed, start=None, net=attempt.net,
        making=Making(seconds=1.0, cpu_seconds=1.0, image_passes=1, joules=attempt.joules), code=code,
        provenance=attempt.provenance,
    )  # fmt: skip


def test_a_row_that_other_code_made_stays_marked(results):
    made = {one.made: made_by(one, THEN if one.technique == FAST.technique else NOW) for one in results.attempts}
    known = replace(results, made=made)
    row = row_of(known, FAST.technique)
    assert row.status == "ranked"
    assert row.ratio is not None
    assert "made by earlier code" in row.flags
    (sentence,) = earlier_code(known.generations)
    assert sentence.endswith("nets were made before a change of judging.statistics.")


def test_whole_generations_are_comparable_among_themselves(results):
    """All of them of earlier code: marked, and ranked as they were."""
    old = coded(
        coded(results, technique=None, attempts=THEN, trials=THEN), technique=FAST.technique, attempts=THEN, trials=THEN
    )
    before, after = row_of(results, FAST.technique), row_of(old, FAST.technique)
    assert (after.status, after.ratio, after.rank) == (before.status, before.ratio, before.rank)
    assert "judged and measured by earlier code" in after.flags


@pytest.mark.parametrize("which", ["attempts", "trials"])
def test_a_row_judged_or_measured_by_other_code_than_the_newest_stands_apart(results, which):
    codes = {"attempts": THEN, "trials": NOW} if which == "attempts" else {"attempts": NOW, "trials": THEN}
    mixed = coded(results, technique=FAST.technique, **codes)
    mixed = coded(mixed, technique=None, attempts=NOW, trials=NOW, late=True)
    row = row_of(mixed, FAST.technique)
    assert row.status == "ineligible"
    assert row.ratio is None
    assert row.ratios == {}
    assert row.reason.startswith("judged or measured by other code than the newest rows (judging.statistics changed")


def test_kinds_that_only_one_net_uses_make_no_generation(results):
    trials = [
        replace(one, code={**one.code, f"joulemark.nets.layers.{number}": "1"})
        for number, one in enumerate(results.trials)
    ]
    assert other_code(trials) == {}


def test_unknown_code_is_said_and_makes_nobody_apart(results):
    unknown = coded(results, technique=FAST.technique, attempts={}, trials={})
    row = row_of(unknown, FAST.technique)
    assert row.status == "ranked"
    assert "judged and measured by unknown code" in row.flags
    assert any("nobody knows the code" in sentence for sentence in earlier_code(unknown.generations))


def test_nothing_is_said_of_nothing():
    empty = generations_of([], [], [], {})
    assert (earlier_code(empty), earlier_flags(empty, ["x"]), why_apart(empty, ["x"])) == ([], (), None)
