import math
from dataclasses import replace

import msgspec
import pytest
from synthetic import BASELINE_SECONDS, FAST, SETTINGS, Setting, make_results, with_control, with_joules

from joulemark.judging.rules import BASELINE
from joulemark.judging.statistics import paired_ratio
from joulemark.record import Ratio
from joulemark.report.board import build_board, other_views
from joulemark.report.facts import provenance


def view_of(results, name, limit=2.0):
    board = next(board for board in results.boards if board.name == name)
    return build_board(results, board, limit)


def row_of(view, technique):
    return next(row for row in (*view.rows, *view.ineligible) if row.technique == technique)


def test_seconds_board_by_hand():
    view = view_of(make_results(), "seconds")
    assert [row.technique for row in view.rows] == ["conditional-deep-learning", BASELINE]
    row = view.rows[0]
    assert row.knobs == ({"strength": 0.5},)  # 0.1 is faster but loses too much, 0.9 is slower
    assert row.ratio.value == pytest.approx(2.0)
    assert row.cost == pytest.approx(BASELINE_SECONDS / 2)
    assert row.rank == (1, 1)
    assert row.verdict == "cheaper"
    assert row.validation.points == pytest.approx(0.5)  # 10 of 2000 images
    assert row.validation.best <= 0.5 < row.validation.bound < 2.0
    assert row.test.value == pytest.approx(1 - 50 / 2000)
    assert row.seeds == (0, 1)
    assert view.rows[1].ratio.value == 1.0
    assert view.rows[1].rank is None


def test_making_of_counts_every_attempt_and_seed():
    making = row_of(view_of(make_results(), "seconds"), FAST.technique).making
    assert (making.attempts, making.seconds, making.cpu_seconds) == (6, 360.0, 600.0)
    assert making.image_passes == 6000
    assert making.joules is None


def test_ineligible_rows_stay_with_their_reason():
    view = view_of(make_results(), "seconds")
    reasons = {row.technique: (row.status, row.reason) for row in view.ineligible}
    assert reasons["unstructured-pruning"] == ("ineligible", "simulated: no kernel skips unstructured zeros")
    assert reasons["binary-weights"][1].startswith("loses at least 6.98 points (95 % bound; 8.00 seen)")
    assert reasons["binary-weights"][1].endswith("limit 2")
    assert reasons["squeezenet"] == ("failed", "failed: the loss became NaN in epoch 3")
    assert set(reasons) == {"unstructured-pruning", "binary-weights", "squeezenet"}


def test_modelled_ratio_combines_seeds_by_hand():
    view = view_of(make_results(), "row-stationary")
    row = row_of(view, "unstructured-pruning")  # ratios 2 and 4: simulated nets may stand on a modelled board
    assert row.ratio.value == pytest.approx(math.sqrt(8))
    assert (row.ratio.low, row.ratio.high) == pytest.approx((2.0, 4.0))  # two seeds: their range


def test_interval_that_spans_one_has_no_verdict():
    noisy = Setting("noisy", 1.0, 1.0, (1.1, 1.1), 1.0, 2, tested=True, wobble=0.2)
    row = row_of(view_of(make_results((*SETTINGS, noisy)), "seconds"), "noisy")
    assert row.ratio.low < 1 < row.ratio.high
    assert row.verdict == "undecided"


def test_slower_is_dearer_and_ranked_below_the_baseline():
    slow = Setting("slow", 1.0, 0.5, (1.1, 1.1), 1.0, 2, tested=True)
    view = view_of(make_results((*SETTINGS, slow)), "seconds")
    assert [row.technique for row in view.rows] == [FAST.technique, BASELINE, "slow"]
    assert view.rows[-1].verdict == "dearer"
    assert view.rows[-1].rank == (2, 2)


def test_test_bound_above_the_limit_is_a_flag_not_a_choice():
    settings = tuple(replace(FAST, wrong_test=100) if setting == FAST else setting for setting in SETTINGS)
    row = row_of(view_of(make_results(settings), "seconds"), FAST.technique)
    assert row.status == "ranked"
    assert row.flags == (f"test bound {row.test.bound:.2f} exceeds the limit",)


def test_what_the_meter_says_of_its_joules_stands_in_the_rows_of_the_joules_board_and_on_the_page():
    results = with_joules(make_results(), flags=("gain_unknown", "disagrees"))
    view = view_of(results, "joules")
    assert "meter: gain unknown, disagrees" in row_of(view, FAST.technique).flags
    assert "meter: gain unknown, disagrees" in row_of(view, BASELINE).flags
    assert not any(flag.startswith("meter:") for flag in row_of(view_of(results, "seconds"), FAST.technique).flags)
    assert ("Flags", "disagrees: the counter and the power of the same board differ by over 5 %") in provenance(results)


def test_measured_joules_without_a_counter_says_why():
    view = view_of(make_results(), "joules")
    assert view.rows == () and view.ineligible == ()
    assert "no energy counter on this machine" in view.note


def test_measured_joules_with_a_counter():
    view = view_of(with_joules(make_results()), "joules")
    assert view.note is None
    row = row_of(view, FAST.technique)
    assert row.ratio.value == pytest.approx(2.0)
    assert row.cost == pytest.approx(0.5)


def test_untested_winner_is_not_ranked():
    results = make_results()
    trials = [trial for trial in results.trials if trial.technique == BASELINE]
    view = view_of(msgspec.structs.replace(results, trials=trials), "seconds")
    row = row_of(view, FAST.technique)
    assert (row.status, row.rank) == ("untested", None)
    assert row.reason == "chosen on validation, not tested yet"
    assert view.note.startswith("No technique is ranked")


def test_other_hardware_is_refused():
    results = make_results()
    with pytest.raises(ValueError, match="hardware classes: other, toy-cpu"):
        view_of(msgspec.structs.replace(results, hardware_class="other"), "seconds")


def test_nothing_at_all():
    view = view_of(msgspec.structs.replace(make_results(), attempts=[], trials=[], failures=[]), "seconds")
    assert view.rows == () and view.ineligible == ()
    assert view.note


def with_reference(results):
    """As if eager PyTorch ran the fp32 baseline twice as fast as the first backend does."""

    def changed(timing):
        references = tuple((first / 2, last / 2) for first, _, last in timing.blocks)
        return msgspec.structs.replace(
            timing,
            reference="eager",
            reference_blocks=references,
            reference_seconds=msgspec.structs.replace(timing.baseline_seconds, value=BASELINE_SECONDS / 2),
            reference_ratio=paired_ratio([(a, b[1], c) for (a, c), b in zip(references, timing.blocks, strict=True)]),
        )

    trials = [
        msgspec.structs.replace(trial, timings=tuple(changed(timing) for timing in trial.timings))
        for trial in results.trials
    ]
    return msgspec.structs.replace(results, trials=trials)


def test_the_headline_divides_by_the_fastest_baseline_and_the_same_backend_stands_beside():
    view = view_of(with_reference(make_results()), "seconds")
    row = row_of(view, FAST.technique)
    assert (row.ratio.value, row.same_backend.value) == pytest.approx((1.0, 2.0))
    assert row.backend == "onnxruntime"
    assert view.reference == ("eager",)
    assert view.elsewhere(row)
    assert view.baseline_cost == pytest.approx(BASELINE_SECONDS / 2)
    assert row.cost == pytest.approx(BASELINE_SECONDS / 2)  # twice as fast as its own backend's baseline


def test_older_records_divide_by_the_same_backend():
    view = view_of(make_results(), "seconds")
    assert view.reference == ()
    assert not view.elsewhere(row_of(view, FAST.technique))


def test_the_same_winners_at_the_other_batch_size():
    results = make_results()
    views = other_views(results, 2.0)
    assert [(view.board.name, view.batch_size) for view in views] == [("seconds", 64)]
    assert [row.technique for row in views[0].rows] == [FAST.technique, BASELINE]
    assert views[0].baseline_cost == pytest.approx(BASELINE_SECONDS / 1.5)


def test_warnings_of_a_trial_are_flags_of_its_row():
    results = make_results()
    trials = [
        msgspec.structs.replace(trial, warnings=("load", "drift")) if trial.technique == FAST.technique else trial
        for trial in results.trials
    ]
    results = msgspec.structs.replace(results, trials=trials)
    assert "unsteady: load, drift" in row_of(view_of(results, "seconds"), FAST.technique).flags
    assert "unsteady: load, drift" not in row_of(view_of(results, "row-stationary"), FAST.technique).flags


def test_a_row_is_judged_by_the_control_of_its_own_backend_and_batch_size():
    nearly = Setting("nearly", 1.0, 1.1, (1.1, 1.1), 1.0, 2, tested=True)
    shaky = Ratio(value=1.0, low=0.8, high=1.25, count=12)
    results = make_results((*SETTINGS, nearly))
    for backend, size, verdict in [("eager", 1, "cheaper"), ("onnxruntime", 64, "cheaper"),
                                   ("onnxruntime", 1, "undecided")]:  # fmt: skip
        view = view_of(with_control(results, backend, size, shaky), "seconds")
        assert row_of(view, "nearly").verdict == verdict, (backend, size)  # it runs on ONNX Runtime at batch 1
        assert (view.controls["onnxruntime"].high > 1.1) is (verdict == "undecided")
    at_64 = other_views(with_control(results, "onnxruntime", 64, shaky), 2.0)[0]
    assert row_of(at_64, "nearly").verdict == "undecided"


def test_a_row_on_another_backend_is_judged_by_that_backends_control():
    nearly = Setting("nearly", 1.0, 1.1, (1.1, 1.1), 1.0, 2, tested=True)
    results = with_control(
        make_results((*SETTINGS, nearly)), "eager", 1, Ratio(value=1.0, low=0.8, high=1.25, count=12)
    )
    trials = [
        msgspec.structs.replace(t, timings=t.timings[2:]) if t.technique == "nearly" else t for t in results.trials
    ]
    view = view_of(msgspec.structs.replace(results, trials=trials), "seconds")
    assert (row_of(view, "nearly").backend, row_of(view, "nearly").verdict) == ("eager", "undecided")
    assert row_of(view, FAST.technique).verdict == "cheaper"


def test_a_ratio_of_some_seeds_alone_is_flagged():
    results = with_joules(make_results())
    trials = [
        msgspec.structs.replace(t, timings=tuple(msgspec.structs.replace(one, joules_ratio=None) for one in t.timings))
        if (t.technique, t.seed) == (FAST.technique, 1)
        else t
        for t in results.trials
    ]
    results = msgspec.structs.replace(results, trials=trials)
    assert "1 of 2 seeds measured" in row_of(view_of(results, "joules"), FAST.technique).flags
    assert row_of(view_of(results, "seconds"), FAST.technique).flags == ()


def test_the_baseline_is_flagged_where_its_control_is_off_and_nowhere_else():
    results = with_control(make_results(), "onnxruntime", 1, Ratio(value=1.02, low=1.01, high=1.03, count=12))
    trials = [  # as the benchmark stores it: the headline's control
        msgspec.structs.replace(t, warnings=("control off",)) if t.technique == BASELINE else t for t in results.trials
    ]
    results = msgspec.structs.replace(results, trials=trials)
    assert row_of(view_of(results, "seconds"), BASELINE).flags == ("unsteady: control off",)
    assert row_of(other_views(results, 2.0)[0], BASELINE).flags == ()  # batch 64
