"""Whether an order survives the three cost tables: hand-made orders, and the one real pair that does not."""

from __future__ import annotations

import pytest
from operations import alexnet, squeezenet

from joulemark.energy.model import energy_model
from joulemark.energy.sensitivity import TABLES, Reversal, survival
from joulemark.workloads.workload import Workload


def by_all(*orders):
    """Joules such that each table ranks the nets as in its word: "abc" is a < b < c."""
    return {
        table: {net: float(place) for place, net in enumerate(order)}
        for table, order in zip(TABLES, orders, strict=True)
    }


def test_the_same_order_three_times_survives():
    said = survival(by_all("bca", "bca", "bca"))
    assert said.survives
    assert said.order == ("b", "c", "a")
    assert said.sentence() == "b < c < a: the order survives all 3 cost tables."


def test_every_reversal_is_named_with_its_table():
    said = survival(by_all("abc", "acb", "cab"))
    assert not said.survives
    assert set(said.reversals) == {
        Reversal(less="b", more="c", model=TABLES[1]),
        Reversal(less="a", more="c", model=TABLES[2]),
        Reversal(less="b", more="c", model=TABLES[2]),
    }
    assert "they turn" in said.sentence()


def test_ties_turn_nothing():
    joules = by_all("ab", "ab", "ab")
    joules[TABLES[1]]["b"] = joules[TABLES[1]]["a"]
    assert survival(joules).survives


def test_nets_that_a_table_does_not_describe_are_left_out_and_named():
    joules = by_all("abc", "abc", "cba")
    joules[TABLES[1]]["c"] = None
    del joules[TABLES[2]]["a"]
    said = survival(joules)
    assert said.order == ("b",)
    assert said.left_out == ("a", "c")
    assert "without a, c" in said.sentence()


def test_two_tables_are_not_three():
    joules = by_all("ab", "ab", "ab")
    del joules[TABLES[2]]
    with pytest.raises(ValueError, match="no joules by row-stationary-accelergy"):
        survival(joules)


def test_the_first_table_is_the_default_model_and_all_are_installed():
    assert [energy_model(table).name for table in TABLES] == list(TABLES)


@pytest.mark.parametrize(("batch_size", "reversed_by"), [(1, ()), (6, ("row-stationary-horowitz",)), (16, ())])
def test_alexnet_and_squeezenet_change_places_near_batch_6(batch_size, reversed_by):
    nets = {"alexnet": alexnet(), "squeezenet": squeezenet()}
    joules = {
        table: {
            net: energy_model(table).estimate(Workload(inputs=1, batch_size=batch_size, operations=o)).joules.value
            for net, o in nets.items()
        }
        for table in TABLES
    }
    said = survival(joules)
    assert tuple(one.model for one in said.reversals) == reversed_by
    assert said.order[0] == ("squeezenet" if batch_size == 1 else "alexnet")
