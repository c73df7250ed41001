"""The suite of a user's task: what he states counts, and rows that can show nothing are refused with a number."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from tiny import tiny_suite

from joulemark.benchmarking.own_suite import own_suite, refuse_too_few, rows_advised, shown_by
from joulemark.task import Own, Splits, Task


def task(validation=500, epochs=7, metric="accuracy", **own) -> Task:
    base = tiny_suite().task
    return msgspec.structs.replace(
        base, name="mine", data="user/mine", metric=metric, own=Own(net="n", **own),
        splits=Splits(train=9, policy=9, validation=validation, test=9),
        recipe=msgspec.structs.replace(base.recipe, epochs=epochs),
    )  # fmt: skip


def test_half_of_the_epochs_are_spent_four_times_and_as_many_images_from_scratch():
    budget = own_suite(task(epochs=7), {}, 1.0).budget
    assert (budget.trained_epochs, budget.trained_attempts) == (4, 4)
    assert budget.trained_epochs * budget.trained_attempts == budget.scratch_epochs * budget.scratch_attempts


def test_without_training_rows_nothing_is_tried_that_trains():
    assert "group-magnitude" in own_suite(task(), {}, 1.0).techniques
    assert own_suite(task(trains=False), {}, 1.0).techniques == ("int8", "small-dense")


def test_what_the_user_states_counts_and_the_rest_is_as_usual():
    usual = own_suite(task(), {}, None)
    stated = own_suite(task(), {"seeds": [3, 4], "measuring": {"blocks": 9}, "budget": {"minutes": 5.0}}, None)
    assert stated.seeds == (3, 4)
    assert stated.limits_points == (1.0,)
    assert own_suite(task(), {"limits_points": [2.0]}, 3.0).limits_points == (3.0,)
    assert stated.measuring == msgspec.structs.replace(usual.measuring, blocks=9)
    assert stated.budget == msgspec.structs.replace(usual.budget, minutes=5.0)
    assert own_suite(task(), {"budget": usual.budget}, None) == usual


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"seed": 1}, "suite: unknown field 'seed': did you mean 'seeds'"),
        ({"task": 1}, "suite: unknown field 'task'"),
        ({"budget": {"epochs": 1}}, "suite: Object contains unknown field `epochs`"),
        ({"budget": {"trained_epochs": 99}}, "suite: unequal budgets"),
        ({"seeds": []}, "suite: Expected `array` of length >= 1"),
        ({"seeds": [1, 1]}, "suite: seeds says 1 twice"),
        ({"seeds": object()}, "suite: "),
        ("fast", "suite is a str: give dict"),
        (7, "suite is a int: give dict"),
    ],
)
def test_what_is_no_field_gets_one_sentence(stated, said):
    with pytest.raises(ValueError, match=said):
        own_suite(task(), stated, 1.0)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3000), st.sampled_from([0.1, 0.5, 1.0, 2.0, 5.0]))
def test_rows_are_refused_exactly_if_they_cannot_show_the_limit(rows, limit):
    # A net that answers n rows alike: discordance has the bound 1 - 0.05 ** (1 / n), by Clopper and Pearson.
    least = 100 * (1 - 0.05 ** (1 / rows))
    assert shown_by("accuracy", rows) == pytest.approx(least, rel=0.1)
    if shown_by("accuracy", rows) <= limit:
        return refuse_too_few(task(rows), (limit, 9.0))
    with pytest.raises(ValueError, match=f"{rows} validation rows are too few for a limit of {limit:g}") as refused:
        refuse_too_few(task(rows), (9.0, limit))
    advised = int(str(refused.value).split("Give ")[1].split()[0].replace(",", ""))
    refuse_too_few(task(advised), (limit,))
    assert shown_by("accuracy", math.ceil(advised / 1.25) - 25) > limit
    refuse_too_few(task(rows), (float(str(refused.value).split("a limit of ")[2]),))
    return None


def test_of_rows_in_groups_the_groups_count():
    rows = np.arange(1000)
    shown = [shown_by("accuracy", 1000, groups=rows * groups // 1000) for groups in (1, 2, 3, 10, 1000)]
    assert shown == sorted(shown, reverse=True)
    assert shown[0] > 90  # whoever saw one group knows nothing of another
    assert shown[1] > 5 > 1 > shown[3]
    assert shown[-1] == pytest.approx(shown_by("accuracy", 1000), rel=0.15)
    refuse_too_few(task(1000), (1.0,), rows)
    few = r"1000 validation rows in 3 groups are too few for a limit of 1 point: .* Give more groups, or a limit of \d$"
    with pytest.raises(ValueError, match=few) as refused:
        refuse_too_few(task(1000), (1.0, 9.0), rows // 400)
    refuse_too_few(task(1000), (float(str(refused.value).split()[-1]),), rows // 400)
    with pytest.raises(ValueError, match="1000 validation rows in 1 group are too few"):
        refuse_too_few(task(1000), (5.0,), np.array(["a"] * 1000))


@pytest.mark.parametrize("metric", ["accuracy", "weighted-f1", "agreement", "top-5"])
def test_every_metric_of_ours_can_be_asked(metric):
    refuse_too_few(task(5000, metric=metric), (1.0,))
    assert 0 < shown_by(metric, 5000) < 1 < shown_by(metric, 100)
    if metric != "weighted-f1":  # the others are shares of the rows
        assert shown_by(metric, 300) == pytest.approx(100 * (1 - 0.05 ** (1 / 300)), rel=0.1)


@pytest.mark.parametrize("limit", [0.2, 1.0, 3.0])
def test_the_advised_rows_are_those_of_the_normal_bound(limit):
    bound = 100 * norm.ppf(0.95) * math.sqrt(0.02 / rows_advised(limit))
    assert limit * 0.99 < bound <= limit * 1.0001
