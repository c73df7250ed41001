"""What would break a drawing is found with its path, and nothing else is."""

from __future__ import annotations

import msgspec
import pytest
from synthetic import TRUTHS, make_results

from joulemark.report.drawable import why_undrawable

TRIAL = make_results().trials[0]


def changed(**fields):
    first = msgspec.structs.replace(TRIAL.timings[0], **fields)
    return msgspec.structs.replace(TRIAL, timings=(first, *TRIAL.timings[1:]))


def test_a_good_record_can_be_drawn():
    assert why_undrawable(TRIAL, TRUTHS) is None


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (changed(blocks=((1.0, 1.0, 1.0), (1.0, 0.0, 1.0))), "timings[0].blocks[1] is not positive"),
        (changed(reference_joules_blocks=((-1.0, 1.0),)), "timings[0].reference_joules_blocks[0] is not positive"),
        (changed(screening={"eager": -1.0}), "timings[0] is not positive"),
        (
            changed(seconds=msgspec.structs.replace(TRIAL.timings[0].seconds, value=-2.0)),
            "timings[0].seconds is negative: -2",
        ),
    ],
)
def test_what_a_logarithm_fails_on_is_named(record, why):
    assert why_undrawable(record, TRUTHS) == why


def test_blocks_that_a_technique_notes_are_its_own():
    noted = msgspec.structs.replace(TRIAL, notes={"blocks": [0, -1], "more": {"blocks": [["a"], [0]]}})
    assert why_undrawable(noted, TRUTHS) is None
