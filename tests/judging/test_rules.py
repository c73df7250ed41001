"""The rules of the comparison, on attempts made by hand."""

from __future__ import annotations

import functools
from typing import Annotated

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.benchmarking.search import bisected
from joulemark.judging.packed import pack_bits
from joulemark.judging.rules import (
    BASELINE,
    boards,
    candidates,
    cost_of,
    images_needed,
    level_of,
    nearest,
    why_ineligible,
    winner,
)
from joulemark.judging.statistics import mean_bound
from joulemark.record import Attempt, Kind, Machine, Making, Provenance, Quantity, Score
from joulemark.techniques.technique import Range, technique

IMAGES = 1000
JOULES, SECONDS, MODEL = boards(["rs"])
MACHINE = Machine(
    hardware_class="c", processor="p", cores=1, memory_bytes=None, accelerator=None, system="s", virtual=None,
    governor=None,
)  # fmt: skip
PROVENANCE = Provenance(
    joulemark="0", commit=None, command="", started="2026-01-01T00:00:00Z", machine=MACHINE, versions={}
)


def quantity(value: float | None, unit: str = "s/input") -> Quantity:
    return Quantity(value=value, unit=unit, kind=Kind.MEASURED, method="m", scope="s", source="")


def score(wrong: int, *, start: int = 0, images: int = IMAGES) -> Score:
    right = np.ones(images, dtype=bool)
    right[start : start + wrong] = False
    return Score(
        split="validation", metric="accuracy", rows=images, value=float(right.mean()), predicted=None, truth=None,
        correct=pack_bits(right),
    )  # fmt: skip


def attempt(
    technique: str = "t", *, wrong: int | None = 0, seconds: float | None = 1.0, seed: int = 0, **more
) -> Attempt:
    knobs = (more.pop("knobs", {}),)
    fields = {
        "key": f"{technique}{sorted(knobs[0].items())}{seed}",
        "task": "task",
        "task_key": "k",
        "technique": technique,
        "knobs": knobs,
        "seed": seed,
        "made": "m",
        "net": "n",
        "score": None if wrong is None else score(wrong),
        "execution": "real",
        "reason": None,
        "seconds": quantity(seconds),
        "joules": quantity(None, "J/input"),
        "models": {"rs": quantity(None if seconds is None else 10 * seconds, "J/input")},
        "proxies": {},
        "making": Making(seconds=1.0, cpu_seconds=1.0, image_passes=1, joules=quantity(None, "J")),
        "provenance": PROVENANCE,
    }
    return Attempt(**{**fields, **more})


def pool(*attempts: Attempt, seeds: int = 1):
    baselines = [attempt(BASELINE, wrong=20, seed=seed) for seed in range(seeds)]
    return candidates([*attempts, *baselines], [JOULES, SECONDS, MODEL], truths={})


def test_cheapest_eligible_setting_wins():
    cheap = attempt(knobs={"x": 3}, seconds=0.1, wrong=100)  # loses 8 points
    middle = attempt(knobs={"x": 2}, seconds=0.4)
    dear = attempt(knobs={"x": 1}, seconds=0.6)
    found = pool(dear, cheap, middle)
    assert winner(found, "t", SECONDS, 2.0).knobs == ({"x": 2},)
    assert winner(found, "t", SECONDS, 20.0).knobs == ({"x": 3},)
    assert winner(found, "another", SECONDS, 20.0) is None


def test_each_board_has_its_own_winner():
    first = attempt(knobs={"x": 1}, seconds=1.0, models={"rs": quantity(9.0)})
    second = attempt(knobs={"x": 2}, seconds=2.0, models={"rs": quantity(3.0)})
    found = pool(first, second)
    assert winner(found, "t", SECONDS, 2.0).knobs == ({"x": 1},)
    assert winner(found, "t", MODEL, 2.0).knobs == ({"x": 2},)


def test_eligibility_is_by_the_bound_not_by_the_loss_seen():
    (found,) = pool(attempt(wrong=35))  # 15 more images of 1,000 are wrong: 1.5 points seen
    assert found.loss_points == pytest.approx(1.5)
    assert found.bound_points == pytest.approx(2.30, abs=0.01)  # Clopper and Pearson
    assert found.floor_points == pytest.approx(0.80, abs=0.01)  # an image more, gained
    assert why_ineligible(found, SECONDS, 2.0) == (
        "the data cannot decide: 1.50 points lost, at most 2.30 (95 % bound), limit 2; "
        "needs about 2,600 images instead of 1,000"
    )
    assert why_ineligible(found, SECONDS, 2.5) is None


def test_what_is_certainly_over_the_limit_is_said_to_lose():
    (found,) = pool(attempt(wrong=70))  # 5 points seen
    assert why_ineligible(found, SECONDS, 2.0) == "loses at least 3.80 points (95 % bound; 5.00 seen), limit 2"


def test_what_the_data_cannot_decide_is_said_and_how_many_images_would():
    (found,) = pool(attempt(wrong=45))  # 2.5 points seen: over the limit, but not certainly
    assert found.floor_points <= 2.0 < found.bound_points
    assert why_ineligible(found, SECONDS, 2.0).startswith("the data cannot decide: 2.50 points lost")
    needed = images_needed(found, 2.0)
    assert needed == pytest.approx(1000 * ((2.5 - found.floor_points) / 0.5) ** 2, rel=0.1)
    # So many times the same data do decide.
    times = needed // 1000 + 1
    more = mean_bound([0, 1], [975 * times, 25 * times])
    assert 100 * -mean_bound([-1, 0], [25 * times, 975 * times]) > 2.0
    assert 100 * more > 2.0
    (exactly,) = pool(attempt(wrong=40))  # the limit itself: no number of images will do
    assert images_needed(exactly, 2.0) is None
    assert "needs over 1,000,000 images instead of 1,000" in why_ineligible(exactly, SECONDS, 2.0)


@given(st.integers(0, 60), st.floats(0.1, 5.0))
def test_no_setting_is_eligible_and_over_the_limit_at_once(wrong, limit):
    (found,) = pool(attempt(wrong=wrong))
    assert found.floor_points < found.loss_points < found.bound_points
    reason = why_ineligible(found, SECONDS, limit)
    assert (reason is None) == (found.bound_points <= limit)
    assert bool(reason and reason.startswith("loses at least")) == (found.floor_points > limit)


def test_each_of_several_settings_is_held_to_more():
    settings = [attempt(knobs={"x": x}, wrong=35) for x in (1, 2, 3)]
    found = pool(*settings, attempt("u", wrong=35))
    assert [(one.technique, one.settings) for one in found] == [("t", 3)] * 3 + [("u", 1)]
    assert found[0].bound_points == pytest.approx(100 * mean_bound([0, 1], [985, 15], level=1 - 0.05 / 3))
    assert found[0].bound_points > found[3].bound_points
    assert "(95 % bound over 3 settings)" in why_ineligible(found[0], SECONDS, 2.0)
    baseline = attempt(BASELINE, wrong=20)
    (early,) = candidates([settings[0], baseline], [SECONDS], truths={}, tries=3)  # while the search still goes on
    assert early.bound_points == found[0].bound_points


@technique("knobbed", paper="none", family="test", knob="x")
def knobbed(net, bench, *, x: Annotated[float, Range(0.0, 1.0)] = 0.5):
    """Has a knob."""


@functools.cache
def passes(gained: int, lost: int, images: int, limit: float, level: float) -> bool:
    return mean_bound([-1, 0, 1], [gained, images - lost - gained, lost], level=level) <= limit


def searched(rng: np.random.Generator, loss, *, limit: float, won: float, images: int, level: float) -> bool:
    """Whether a search of three settings, by the benchmark's own bisection, ends with a winner over the limit."""
    history: list[tuple[dict, bool]] = []
    for _ in range(3):
        knobs = bisected(knobbed, history) if history else dict(knobbed.knobs)
        truth = loss(knobs["x"])
        lost, gained = rng.multinomial(images, [truth + won, won, 1 - truth - 2 * won])[:2]
        history.append((knobs, passes(int(gained), int(lost), images, limit, level)))
    kept = [knobs["x"] for knobs, passed in history if passed]
    return bool(kept) and loss(max(kept)) >= limit


@pytest.mark.parametrize(
    ("loss", "least_without"),
    [(lambda x: 0.01, 0.08), (lambda x: 0.02 * x, 0.0), (lambda x: 0.003 if x < 0.45 else 0.01, 0.0)],
    ids=["all at the limit", "in proportion", "a step"],
)
def test_the_winner_of_a_search_is_over_the_limit_in_at_most_one_case_of_twenty(loss, least_without):
    rates = {}
    for settings in (1, 3):
        rng, level = np.random.default_rng(0), level_of(settings)
        rates[settings] = np.mean(
            [searched(rng, loss, limit=0.01, won=0.003, images=2000, level=level) for _ in range(1000)]
        )
    assert rates[3] <= 0.05
    assert rates[1] > least_without


def test_simulated_is_refused_on_measured_boards_only():
    (found,) = pool(attempt(execution="simulated", reason="no sparse kernel"))
    assert why_ineligible(found, SECONDS, 2.0) == "simulated: no sparse kernel"
    assert why_ineligible(found, JOULES, 2.0) == "simulated: no sparse kernel"
    assert why_ineligible(found, MODEL, 2.0) is None
    assert winner([found], "t", SECONDS, 2.0) is None


def test_one_simulated_seed_makes_the_setting_simulated():
    (found,) = pool(attempt(), attempt(seed=1, execution="simulated", reason="r"), seeds=2)
    assert not found.real
    assert why_ineligible(found, SECONDS, 2.0) == "simulated: r"


def test_unknown_cost_is_no_cost_of_zero():
    (found,) = pool(attempt())
    assert found.costs["joules"] is None
    assert why_ineligible(found, JOULES, 2.0) == "no measured joules per input known here"
    assert winner([found], "t", JOULES, 2.0) is None


def test_cost_of_reads_the_figure_of_the_board():
    one = attempt(seconds=0.25, joules=quantity(4.0, "J/input"))
    assert (cost_of(one, JOULES), cost_of(one, SECONDS), cost_of(one, MODEL)) == (4.0, 0.25, 2.5)
    assert cost_of(attempt(models={}), MODEL) is None


def test_seeds_are_pooled_against_the_baseline_of_their_own_seed():
    baselines = [attempt(BASELINE, wrong=0, seed=0), attempt(BASELINE, wrong=100, seed=1)]
    mine = [attempt(seed=0, wrong=10, seconds=1.0), attempt(seed=1, wrong=110, seconds=3.0)]
    (found,) = candidates([*mine, *baselines], [SECONDS], truths={})
    assert found.seeds == (0, 1)
    assert found.loss_points == pytest.approx(1.0)  # (10 - 0 + 110 - 100) / 2 of 1,000
    assert found.costs == {"seconds": 2.0}


def test_a_cost_unknown_for_one_seed_is_unknown_for_the_setting():
    (found,) = pool(attempt(seconds=1.0), attempt(seed=1, seconds=None), seeds=2)
    assert found.costs["seconds"] is None


def test_what_has_no_baseline_or_no_score_is_left_out():
    assert pool(attempt(seed=7)) == []
    assert pool(attempt(wrong=None)) == []
    found = pool(attempt(seed=0), attempt(seed=1, wrong=None), seeds=2)
    assert [one.seeds for one in found] == [(0,)]


def test_settings_are_told_apart_by_all_their_knobs():
    found = pool(attempt(knobs={"x": 1, "y": 2}), attempt(knobs={"y": 2, "x": 1}, seed=1), attempt(knobs={"x": 1}),
                 seeds=2)  # fmt: skip
    assert sorted(one.seeds for one in found) == [(0,), (0, 1)]


def test_nearest_is_the_setting_with_the_smallest_bound():
    found = pool(attempt(knobs={"x": 1}, wrong=300), attempt(knobs={"x": 2}, wrong=200, execution="simulated"))
    assert nearest(found, "t").knobs == ({"x": 2},)
    assert nearest(found, "another") is None
