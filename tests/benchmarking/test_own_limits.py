"""What a user's task does not allow: the reason says what to write."""

from __future__ import annotations

import msgspec
import pytest
from tiny import tiny_suite

from joulemark.benchmarking.chains import chains_of
from joulemark.benchmarking.own_limits import why_not
from joulemark.task import Own

TRAINS = "it trains, and the task gives no training rows: write train() in the task file"
SCRATCH = "it trains from scratch, and the task does not say how: write recipe = dict(epochs=..., ...) in its file"


@pytest.mark.parametrize(
    ("own", "technique", "reason"),
    [
        (None, "small-dense", None),
        (Own(net="n"), "small-dense", None),
        (Own(net="n", trains=False, scratch=False), "int8", None),
        (Own(net="n", trains=False, scratch=False), "group-magnitude", TRAINS),
        (Own(net="n", trains=False, scratch=False), "group-magnitude+int8", TRAINS),
        (Own(net="n", trains=False, scratch=False), "small-dense", TRAINS),
        (Own(net="n", scratch=False), "small-dense", SCRATCH),
        (Own(net="n", scratch=False), "small-dense+int8", SCRATCH),
        (Own(net="n", scratch=False), "group-magnitude", None),
    ],
)
def test_the_reason_says_what_is_missing(own, technique, reason):
    task = msgspec.structs.replace(tiny_suite().task, own=own)
    (chain,) = chains_of((technique,), [])
    assert why_not(task, chain) == reason
