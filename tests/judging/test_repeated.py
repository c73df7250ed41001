"""A copy that says the same says nothing; each field that differs is named."""

from __future__ import annotations

import math

import msgspec
import pytest
from made_up import attempt, made, trial

from joulemark.judging.repeated import same, unlike_its_attempt, unlike_its_making


@pytest.mark.parametrize(
    ("stated", "found", "agree"),
    [
        (None, None, True),
        (None, 0.0, False),
        (0.0, None, False),
        (0.0, 0.0, True),
        (0.0, 1e-12, False),  # nothing is near zero
        (1.0, 1.0 + 5e-10, True),
        (1.0, 1.0 + 5e-9, False),
        (1e-12, 1e-12 * (1 + 5e-10), True),
        (math.nan, math.nan, False),
    ],
)
def test_two_numbers_agree_to_a_billionth_and_two_unknown_ones_do(stated, found, agree):
    assert same(stated, found) is agree


KNOBS = ({"share": 0.5},)
replace = msgspec.structs.replace
MADE, TRIAL = made("small-dense", KNOBS, 0), trial("small-dense", KNOBS, 0)
ATTEMPT = replace(attempt("small-dense", KNOBS, 0), backend=TRIAL.timings[0].backend)


def test_what_was_copied_says_the_same():
    assert unlike_its_making(ATTEMPT, MADE) == []
    assert list(unlike_its_attempt(TRIAL, ATTEMPT)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "other"},
        {"task_key": "0" * 16},
        {"technique": "int8"},
        {"knobs": ({"share": 0.9},)},
        {"seed": 1},
        {"net": "0" * 16},
        {"notes": {"by": "another run"}},
        {"making": replace(MADE.making, seconds=MADE.making.seconds + 0.1)},
    ],
)
def test_an_attempt_that_says_otherwise_than_its_making_names_what(changes):
    assert unlike_its_making(replace(ATTEMPT, **changes), MADE) == list(changes)
    assert unlike_its_making(ATTEMPT, replace(MADE, **changes)) == list(changes)


def joules(value: float | None):
    (report, *rest) = TRIAL.models
    return (replace(report, joules=replace(report.joules, value=value)), *rest)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"net": "0" * 16}, [f"net differs from its attempt, attempts/{ATTEMPT.key}.json"]),
        ({"seed": 3}, [f"seed differs from its attempt, attempts/{ATTEMPT.key}.json"]),
        ({"proxies": {**TRIAL.proxies, "macs": -1.0}}, ["proxies differ from those of its attempt"]),
        ({"models": joules(7.0)}, [f"models: {TRIAL.models[0].model} says other joules than in its attempt"]),
        ({"models": joules(None)}, [f"models: {TRIAL.models[0].model} says other joules than in its attempt"]),
        ({"models": TRIAL.models[1:]}, ["models are others than those of its attempt"]),
        (
            {"timings": (replace(TRIAL.timings[0], execution="simulated", reason="no kernel"),)},
            [
                f"is simulated on {TRIAL.timings[0].backend}, real there in its attempt",
                "is real in its attempt, and its timings say otherwise",
            ],
        ),
        ({"timings": ()}, []),
    ],
)
def test_a_trial_that_says_otherwise_than_its_attempt_names_what(changes, said):
    assert list(unlike_its_attempt(replace(TRIAL, **changes), ATTEMPT)) == said
