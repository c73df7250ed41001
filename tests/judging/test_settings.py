"""Settings are told apart by their technique and by the knobs of each link."""

from __future__ import annotations

import pytest

from joulemark.benchmarking.chains import chain_name, chains_of
from joulemark.judging.settings import links_of, setting_key


@pytest.mark.parametrize(
    "names",
    ["int8", "magnitude+int8", "magnitude+magnitude", "magnitude:rounds=2,sparsity=0.93+magnitude+int8:images=64"],
)
def test_the_links_are_those_that_the_name_was_made_of(names):
    (chain,) = chains_of([names])
    assert links_of(chain_name(chain)) == [one.name for one in chain]


def test_the_baseline_has_no_links_and_a_number_keeps_its_plus():
    assert links_of("baseline") == []
    assert links_of(f"mine:strength={1e20}+int8+2bit") == ["mine:strength=1e+20", "int8", "2bit"]
    assert links_of("w8+8bit+a1e+b") == ["w8", "8bit", "a1e", "b"]


def test_the_order_of_links_counts_and_that_of_knobs_does_not():
    one, two = {"x": 1, "y": 2}, {"x": 2, "y": 2}
    key = setting_key("a+a", [one, two])
    assert key == setting_key("a+a", ({"y": 2, "x": 1}, {"y": 2, "x": 2}))
    others = [
        setting_key("a+a", [two, one]), setting_key("a+a", [one, one]), setting_key("a+b", [one, two]),
        setting_key("a+a", [{"x": 1}, {"y": 2}]), setting_key("a", [one]), setting_key("a", [{}]), setting_key("a", []),
    ]  # fmt: skip
    assert len({key, *others}) == 8
