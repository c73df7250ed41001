"""What a trial costs against its baseline, each figure by hand from made-up records."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from synthetic import FAST, NO_JOULES, SETTINGS, TRUTHS, attempt, quantity, score, timing, trial

from joulemark.judging.losses import right_rows
from joulemark.judging.rules import boards
from joulemark.judging.statistics import loss_bound, loss_interval
from joulemark.record import Kind, Ratio
from joulemark.report import costs

MODEL = "row-stationary"
JOULES, SECONDS, MODELLED = boards([MODEL])
BASE, CANDIDATE = trial(SETTINGS[0], 0), trial(FAST, 0)
TIMING = timing(FAST, 0, "onnxruntime", 1)


def changed(record, **changes):
    return msgspec.structs.replace(record, **changes)


def ratio(value):
    return Ratio(value=value, low=value, high=value, count=12)


def joules(value):
    return quantity(value, "J/input", Kind.MEASURED, None if value is not None else "no counter")


def metered(seed, value):
    made = attempt(FAST, seed)
    return changed(made, making=changed(made.making, joules=joules(value)))


def test_making_is_summed_over_all_attempts_of_one_technique():
    total = costs.making_total([metered(0, 2.0), metered(1, 3.0), attempt(SETTINGS[0], 0)], FAST.technique)
    assert (total.attempts, total.seconds, total.cpu_seconds, total.image_passes) == (2, 120.0, 200.0, 2000)
    assert total.joules == 5.0


def test_joules_of_a_making_are_unknown_if_those_of_one_attempt_are():
    assert costs.making_total([metered(0, 2.0), metered(1, None)], FAST.technique).joules is None
    assert costs.making_total([metered(0, 0.0)], FAST.technique).joules == 0.0
    nothing = costs.making_total([metered(0, 2.0)], "another")
    assert (nothing.attempts, nothing.seconds, nothing.joules) == (0, 0, None)


def test_a_loss_has_the_bounds_of_its_images_on_either_side():
    before, after = ([score("test", wrong, seed) for seed in (0, 1)] for wrong in (0, 12))
    loss = costs.measure_loss(before, after, TRUTHS)
    right = [np.stack([right_rows(one, TRUTHS) for one in side]) for side in (before, after)]
    assert (loss.points, loss.bound) == pytest.approx(loss_bound(*right))
    assert loss.best == pytest.approx(-loss_bound(*right[::-1])[1])
    assert loss.interval == pytest.approx(loss_interval(*right))
    assert loss.value == pytest.approx(1 - 52 / 2000)
    assert loss.points == pytest.approx(0.6)  # 12 of 2,000 images
    assert loss.interval[0] < loss.best < loss.points < loss.bound < loss.interval[1]


def test_a_gain_is_a_negative_loss_with_its_bounds_exchanged():
    before, after = [score("test", 0, 0)], [score("test", 12, 0)]
    there, back = costs.measure_loss(before, after, TRUTHS), costs.measure_loss(after, before, TRUTHS)
    assert (back.points, back.best, back.bound) == pytest.approx((-there.points, -there.bound, -there.best))


def test_a_loss_without_a_score_is_refused():
    with pytest.raises(ValueError, match="score"):
        costs.measure_loss([], [], TRUTHS)


def test_a_timing_is_found_by_backend_and_batch_size():
    found = costs.timing_at(CANDIDATE, "eager", 64)
    assert (found.backend, found.batch_size) == ("eager", 64)
    assert costs.timing_at(CANDIDATE, "eager", 2) is None
    assert costs.timing_at(CANDIDATE, "sparse", 1) is None


@pytest.mark.parametrize(
    ("executions", "home"),
    [
        (("real", "real"), "onnxruntime"),
        (("simulated", "real"), "eager"),
        (("simulated", "simulated"), "onnxruntime"),
    ],
)
def test_the_first_backend_with_real_kernels_speaks_for_a_trial_or_else_the_first(executions, home):
    timings = [
        changed(timing(FAST, 0, name, 1), execution=how)
        for name, how in zip(("onnxruntime", "eager"), executions, strict=True)
    ]
    some = changed(CANDIDATE, timings=(timing(FAST, 0, "sparse", 64), *timings))
    assert costs.home_timing(some, 1).backend == home
    assert costs.home_timing(some, 64).backend == "sparse"
    assert costs.home_timing(some, 8) is None


RATIOS = {"ratio": ratio(2.0), "joules_ratio": ratio(3.0), "reference_ratio": ratio(4.0),
          "reference_joules_ratio": ratio(5.0)}  # fmt: skip


@pytest.mark.parametrize(
    ("board", "reference", "headline", "same"),
    [(SECONDS, None, 2.0, 2.0), (SECONDS, "eager", 4.0, 2.0), (JOULES, None, 3.0, 3.0), (JOULES, "eager", 5.0, 3.0)],
)
def test_a_measured_board_ranks_by_the_ratio_of_its_cost_and_reference(board, reference, headline, same):
    timed = changed(TIMING, reference=reference, **RATIOS)
    assert costs.headline_ratio(timed, board).value == headline
    assert costs.same_backend_ratio(timed, board).value == same
    assert costs.seed_ratio(BASE, changed(CANDIDATE, timings=(timed,)), board, 1).value == headline


def test_a_trial_without_the_batch_size_or_the_counter_has_no_ratio():
    assert costs.seed_ratio(BASE, CANDIDATE, SECONDS, 2) is None
    assert costs.seed_ratio(BASE, CANDIDATE, JOULES, 1) is None


def test_modelled_joules_divide_and_a_deterministic_ratio_is_a_point():
    found = costs.seed_ratio(BASE, CANDIDATE, MODELLED, 1)
    assert (found.value, found.low, found.high, found.count) == (pytest.approx(2.0), found.value, found.value, 1)
    assert costs.energy_of(CANDIDATE, MODEL).joules.value == pytest.approx(5e-6)
    assert costs.energy_of(CANDIDATE, "another") is None
    assert costs.modelled_ratio(BASE, CANDIDATE, "another") is None


@pytest.mark.parametrize("value", [None, 0.0])
def test_joules_that_a_model_does_not_know_give_no_ratio(value):
    report = BASE.models[0]
    silent = changed(BASE, models=(changed(report, joules=changed(report.joules, value=value)),))
    assert costs.modelled_ratio(silent, CANDIDATE, MODEL) is None
    assert costs.modelled_ratio(CANDIDATE, silent, MODEL) is None


def test_ratios_over_the_own_backend_are_combined_over_the_seeds_that_have_one():
    timings = [changed(TIMING, ratio=ratio(value)) for value in (2.0, 8.0)]
    assert costs.own_ratio(timings, SECONDS).value == pytest.approx(4.0)  # geometric
    assert costs.own_ratio([timings[0], None, changed(TIMING, ratio=None)], SECONDS).value == pytest.approx(2.0)
    assert costs.own_ratio([None], SECONDS) is None
    assert costs.own_ratio(timings, JOULES) is None


def test_the_headline_divides_by_the_reference_where_that_is_another_backend():
    own = changed(TIMING, seconds=quantity(3.0, "s/input", Kind.MEASURED), joules=joules(7.0))
    other = changed(
        own, reference="eager", reference_seconds=quantity(2.0, "s/input", Kind.MEASURED),
        reference_joules_blocks=((1.0, 2.0), (3.0, 100.0)),
    )  # fmt: skip
    assert (costs.denominator(own, SECONDS), costs.denominator(own, JOULES)) == (3.0, 7.0)
    assert (costs.denominator(other, SECONDS), costs.denominator(other, JOULES)) == (2.0, 2.5)  # median of windows
    itself = changed(other, reference="onnxruntime")
    assert (costs.denominator(itself, SECONDS), costs.denominator(itself, JOULES)) == (3.0, 7.0)


def test_a_denominator_that_nobody_measured_is_unknown_and_not_the_own_one():
    other = changed(TIMING, reference="eager", joules=joules(7.0))
    assert costs.denominator(other, SECONDS) is None
    assert costs.denominator(other, JOULES) is None
    assert costs.denominator(changed(TIMING, joules=NO_JOULES), JOULES) is None


def test_the_baselines_cost_is_the_mean_over_the_seeds_that_know_it():
    def timed(seed, seconds, counted):
        one = changed(TIMING, seconds=quantity(seconds, "s/input", Kind.MEASURED), joules=joules(counted))
        return changed(trial(SETTINGS[0], seed), timings=(one,))

    pair = [timed(0, 1.0, 6.0), timed(1, 4.0, None)]
    assert costs.baseline_cost(pair, SECONDS, 1) == 2.5
    assert costs.baseline_cost(pair, JOULES, 1) == 6.0
    assert costs.baseline_cost(pair, MODELLED, 1) == pytest.approx(1e-5)
    assert costs.baseline_cost(pair, SECONDS, 64) is None
    assert costs.baseline_cost([], SECONDS, 1) is None
    assert costs.baseline_cost(pair, boards(["another"])[2], 1) is None
