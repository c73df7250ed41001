"""The paced scenario: means over seeds, rate by rate, and joules only where every seed has them."""

from __future__ import annotations

import msgspec
import pytest
from made_up import paced, quantity
from synthetic import make_results

from joulemark.report.pace import paced_rows

FAST = "conditional-deep-learning"


def side(one, **changes):
    return msgspec.structs.replace(one, **changes)


def window(*, rate=2.0, busy=10.0, joules=None, execution="real", **changes):
    """One made-up paced measurement; the baseline's side has twice the joules, idling half of them."""
    one = paced()
    known = [quantity(value, "J/h") for value in ((None,) * 3 if joules is None else (joules, 2 * joules, joules / 2))]
    return msgspec.structs.replace(
        one, inputs_per_second=rate, execution=execution, busy_ratio=25.0 / busy,
        candidate=side(one.candidate, busy_seconds_per_hour=busy, joules_per_hour=known[0], **changes),
        baseline=side(one.baseline, joules_per_hour=known[1]), idle_joules_per_hour=known[2],
    )  # fmt: skip


def with_paced(windows):
    """Results in which the trials of a technique were paced; ``windows`` by technique and seed."""
    results = make_results()
    trials = [
        msgspec.structs.replace(one, paced=tuple(windows.get((one.technique, one.seed), ()))) for one in results.trials
    ]
    return msgspec.structs.replace(results, trials=trials)


def test_a_suite_without_the_scenario_has_no_rows():
    assert paced_rows(make_results()) == []


def test_seeds_of_a_setting_are_one_row_of_means():
    slow = window(busy=40.0, latency_seconds=4e-3, latency_95_seconds=5e-3, missed=3, cpu_seconds_per_hour=30.0)
    (row,) = paced_rows(with_paced({(FAST, 0): [window()], (FAST, 1): [slow]}))
    assert (row.technique, row.knobs, row.seeds) == (FAST, ({"strength": 0.5},), (0, 1))
    assert (row.backend, row.reference, row.inputs_per_second) == ("eager", "eager", 2.0)
    assert (row.latency_seconds, row.latency_95_seconds) == pytest.approx((3e-3, 4e-3))
    assert (row.missed, row.inputs) == (4, 120)  # of all seeds together
    assert (row.busy_seconds_per_hour, row.baseline_busy_seconds_per_hour) == (25.0, 25.0)
    assert row.cpu_seconds_per_hour == 20.0
    assert row.busy_ratio == pytest.approx((2.5 * 0.625) ** 0.5)  # geometric


@pytest.mark.parametrize("metered", [0, 1])
def test_joules_of_one_seed_alone_are_no_mean(metered):
    windows = {(FAST, 1 - metered): [window()], (FAST, metered): [window(joules=100.0)]}
    (row,) = paced_rows(with_paced(windows))
    assert (row.joules_per_hour, row.baseline_joules_per_hour, row.idle_joules_per_hour) == (None, None, None)
    assert row.reason == "no counter on this machine"
    (row,) = paced_rows(with_paced({(FAST, 0): [window(joules=100.0)], (FAST, 1): [window(joules=300.0)]}))
    assert (row.joules_per_hour, row.baseline_joules_per_hour, row.idle_joules_per_hour) == (200.0, 400.0, 100.0)
    assert row.reason is None


def test_no_joules_used_are_known_and_not_unknown():
    (row,) = paced_rows(with_paced({(FAST, 0): [window(joules=0.0)]}))
    assert row.joules_per_hour == 0.0


def test_one_simulated_seed_makes_the_row_simulated():
    (row,) = paced_rows(with_paced({(FAST, 0): [window()], (FAST, 1): [window(execution="simulated")]}))
    assert row.execution == "simulated"
    (row,) = paced_rows(with_paced({(FAST, 0): [window()]}))
    assert row.execution == "real"


def test_rows_stand_rate_by_rate_and_no_rate_or_technique_is_mixed_with_another():
    pruned = "unstructured-pruning"
    windows = {("baseline", 0): [window(rate=10.0)], (FAST, 0): [window(rate=10.0, busy=5.0), window(rate=2.0)],
               (pruned, 0): [window(rate=2.0)]}  # fmt: skip
    rows = paced_rows(with_paced(windows))
    assert [(row.inputs_per_second, row.technique) for row in rows] == [
        (2.0, FAST), (2.0, pruned), (10.0, "baseline"), (10.0, FAST),
    ]  # fmt: skip
    assert [row.busy_seconds_per_hour for row in rows] == [10.0, 10.0, 10.0, 5.0]
