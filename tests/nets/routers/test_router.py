"""Making a router by its name, with what it takes and nothing else."""

from __future__ import annotations

import pytest

from joulemark.nets.routers.exactly_one import ExactlyOne
from joulemark.nets.routers.router import Router, router
from joulemark.vocabulary import TABLES


def test_a_name_gives_its_router_with_its_threshold():
    made = router("exactly-one", 0.25, {})
    assert isinstance(made, ExactlyOne)
    assert made.threshold == 0.25


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("exactly-on", {}, "unknown router 'exactly-on': did you mean 'exactly-one'"),
        ("exactly-one", {"colour": 3}, "router 'exactly-one' does not take {'colour': 3}"),
        ("a-list", {}, "router 'a-list' gave list, which is no Router"),
        ("os:system", {}, "unknown router 'os:system'"),
    ],
)
def test_what_makes_none_is_one_sentence(name, options, why, monkeypatch):
    monkeypatch.setitem(TABLES["router"], "a-list", f"{__name__}:listed")
    with pytest.raises(ValueError, match=why) as caught:
        router(name, 0.5, options)
    assert "\n" not in str(caught.value)


def listed(threshold: float) -> list[float]:
    return [threshold]


def test_a_router_without_forward_says_what_to_write():
    with pytest.raises(NotImplementedError, match="Router is a router without forward"):
        Router()({}, None)
