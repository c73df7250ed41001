"""The rules of the comparison, on attempts made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.record import Attempt, Kind, Machine, Making, Provenance, Quantity, Score
from joulemark.rules import (
    BASELINE,
    boards,
    candidates,
    correct_bits,
    cost_of,
    nearest,
    pack_bits,
    pooled_loss,
    why_ineligible,
    winner,
)

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
    return Score(split="validation", images=images, accuracy=float(right.mean()), correct=pack_bits(right))


def attempt(
    technique: str = "t", *, wrong: int | None = 0, seconds: float | None = 1.0, seed: int = 0, **more
) -> Attempt:
    knobs = more.pop("knobs", {})
    fields = {
        "key": f"{technique}{sorted(knobs.items())}{seed}",
        "task": "task",
        "task_key": "k",
        "technique": technique,
        "knobs": knobs,
        "seed": seed,
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
    return candidates([*attempts, *baselines], [JOULES, SECONDS, MODEL])


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_bits_come_back(bits):
    packed = pack_bits(np.array(bits))
    assert len(packed) == 2 * -(-len(bits) // 8)
    kept = Score(split="test", images=len(bits), accuracy=0.0, correct=packed)
    assert correct_bits(kept).tolist() == bits


def test_bits_are_big_endian_and_padded_with_zeros():
    assert pack_bits(np.array([True, False, False, False, False, False, False, False, True])) == "8080"


def test_cheapest_eligible_setting_wins():
    cheap = attempt(knobs={"x": 3}, seconds=0.1, wrong=100)  # loses 8 points
    middle = attempt(knobs={"x": 2}, seconds=0.4)
    dear = attempt(knobs={"x": 1}, seconds=0.6)
    found = pool(dear, cheap, middle)
    assert winner(found, "t", SECONDS, 2.0).knobs == {"x": 2}
    assert winner(found, "t", SECONDS, 20.0).knobs == {"x": 3}
    assert winner(found, "another", SECONDS, 20.0) is None


def test_each_board_has_its_own_winner():
    first = attempt(knobs={"x": 1}, seconds=1.0, models={"rs": quantity(9.0)})
    second = attempt(knobs={"x": 2}, seconds=2.0, models={"rs": quantity(3.0)})
    found = pool(first, second)
    assert winner(found, "t", SECONDS, 2.0).knobs == {"x": 1}
    assert winner(found, "t", MODEL, 2.0).knobs == {"x": 2}


def test_eligibility_is_by_the_bound_not_by_the_loss_seen():
    (found,) = pool(attempt(wrong=35))  # 15 more images of 1,000 are wrong: 1.5 points seen
    assert found.loss_points == pytest.approx(1.5)
    assert 2.0 < found.bound_points < 2.5
    assert why_ineligible(found, SECONDS, 2.0) == (
        f"may lose {found.bound_points:.2f} points (95 % bound; +1.50 seen), limit 2"
    )
    assert why_ineligible(found, SECONDS, 2.5) is None


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
    (found,) = candidates([*mine, *baselines], [SECONDS])
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


def test_losses_cancel_image_by_image():
    # As accurate as the baseline, but wrong on other images: no loss is seen, yet the bound is wide.
    loss, bound = pooled_loss([score(100)], [score(100, start=500)])
    assert loss == 0.0
    assert 1.0 < bound < 3.5


def test_pooled_loss_refuses_a_missing_score_and_other_images():
    with pytest.raises(ValueError, match="a score is missing"):
        pooled_loss([score(1)], [None])
    with pytest.raises(ValueError, match="of one shape"):
        pooled_loss([score(1)], [score(1, images=500)])


def test_nearest_is_the_setting_with_the_smallest_bound():
    found = pool(attempt(knobs={"x": 1}, wrong=300), attempt(knobs={"x": 2}, wrong=200, execution="simulated"))
    assert nearest(found, "t").knobs == {"x": 2}
    assert nearest(found, "another") is None
