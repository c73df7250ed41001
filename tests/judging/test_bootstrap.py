"""The bootstrap's bound: against closed forms, and how often it holds of synthetic nets whose true loss is known."""

from __future__ import annotations

import numpy as np
import pytest

from joulemark.judging.bootstrap import Cells, bootstrap_bound, expanded
from joulemark.judging.metrics.metric import Pairs, metric
from joulemark.judging.statistics import loss_bound


def test_of_a_mean_over_rows_it_is_the_bound_that_accuracy_has():
    # One row more, lost, and Dirichlet weights: the same distribution, drawn here and computed there.
    before, after = np.ones((1, 2000), bool), np.ones((1, 2000), bool)
    before[0, :30], after[0, 20:70] = False, False
    lost = before[0].astype(int) - after[0]
    cells, where = Cells.of(lost[:, None], None)
    values = np.append(lost[where], 1.0)
    found = bootstrap_bound(cells, lambda weights: weights @ values / weights.sum(axis=1), level=0.95)
    loss, bound = loss_bound(before, after)
    assert 100 * found - loss == pytest.approx(bound - loss, rel=0.05)


def test_of_equal_nets_it_is_the_rule_of_three():
    cells = Cells(np.array([1000]), None)
    found = bootstrap_bound(cells, lambda weights: weights[:, -1] / weights.sum(axis=1), level=0.95)
    assert found == pytest.approx(3.0 / 1000, rel=0.05)


def test_neither_the_order_of_rows_nor_the_names_of_groups_matter():
    rng = np.random.default_rng(1)
    columns, groups = rng.integers(0, 3, (200, 2)), rng.integers(0, 8, 200)
    order = rng.permutation(200)

    def bound(columns, groups):
        cells, where = Cells.of(columns, groups)
        values = np.append(columns[where, 0], 3)
        return bootstrap_bound(cells, lambda weights: weights @ values / weights.sum(axis=1), level=0.9)

    assert bound(columns, groups) == bound(columns[order], groups[order]) == bound(columns, 5 * groups + 3)


def test_few_groups_are_read_further_out():
    # Student's t of 4 degrees is 2.1318, and sqrt(5 / 4) times that is the normal quantile of 0.99143.
    assert expanded(0.95, 5) == pytest.approx(0.99143, abs=1e-5)
    assert expanded(0.95, 1) == 1.0
    assert expanded(0.95, 10**6) == pytest.approx(0.95, abs=1e-5)


@pytest.mark.parametrize("level", [0.5, 1.0])
def test_a_level_that_is_none(level):
    with pytest.raises(ValueError, match=r"above 0\.5 and below 1"):
        bootstrap_bound(Cells(np.array([9]), None), lambda weights: weights[:, 0], level=level)


CLASSES = np.array([0.5, 0.3, 0.15, 0.05])
"""Shares of four classes of synthetic rows."""


def nets(rng: np.random.Generator, rows: int, lost: float, won: float, groups: int | None = None):
    """Rows of two synthetic nets: the first is right on 90 %; each loses rows the other has.

    Of groups each has a rate of lost rows of its own, ``lost`` in the mean and spread like an exponential. A wrong row
    is given the next class.
    """
    true = rng.choice(4, rows, p=CLASSES)
    where = None if groups is None else np.arange(rows) % groups
    rate = lost if groups is None else rng.exponential(lost, groups).clip(max=0.8)[where]
    fate = rng.random(rows)
    only_before, only_after = fate < rate, (fate >= 0.85) & (fate < 0.85 + won)
    right = (fate < 0.9) & ~only_after
    before, after = (np.where(one, true, (true + 1) % 4) for one in (right, (right & ~only_before) | only_after))
    return Pairs(true[None], before[None], after[None], where)


def f1_lost(rows: Pairs) -> float:
    score = metric("weighted-f1").value
    return 100 * (score(rows.true[0], rows.baseline[0]) - score(rows.true[0], rows.candidate[0]))


CASES = [
    # rows, groups, lost, won, least coverage asked for
    (1000, None, 0.01, 0.0, 0.92),
    (1000, None, 0.03, 0.01, 0.92),
    (300, None, 0.01, 0.0, 0.92),
    (2000, 10, 0.02, 0.0, 0.85),
    (2000, 30, 0.02, 0.0, 0.88),
]


def coverage(rows: int, groups: int | None, lost: float, won: float, tasks: int = 150) -> dict[str, float]:
    """Share of tasks in which the 95 % bound is at least the loss of the same nets on a very large set."""
    rng = np.random.default_rng(7)
    vast = nets(rng, 400_000, lost, won, None if groups is None else 40_000)
    right = metric("accuracy").right
    truth = {
        "weighted-f1": f1_lost(vast),
        "accuracy": 100 * float((right(vast.true, vast.baseline) * 1.0 - right(vast.true, vast.candidate)).mean()),
    }
    seen = [nets(rng, rows, lost, won, groups) for _ in range(tasks)]
    return {
        name: float(np.mean([metric(name).loss(one, 0.95)[1] >= true for one in seen])) for name, true in truth.items()
    }


@pytest.mark.parametrize(("rows", "groups", "lost", "won", "least"), CASES)
def test_the_bound_holds_about_as_often_as_it_says(rows, groups, lost, won, least):
    found = coverage(rows, groups, lost, won)
    assert min(found.values()) >= least, found


if __name__ == "__main__":  # the table of docs/statistics.md
    for case in CASES:
        print(case[:4], coverage(*case[:4], tasks=2000))  # noqa: T201
