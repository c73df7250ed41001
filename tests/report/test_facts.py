"""What stands behind the boards: what was measured, modelled, not measured, and where the records come from."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from synthetic import FAST, SETTINGS, make_results, with_control, with_joules, with_metric
from test_board import view_of, with_reference

from joulemark.judging.rules import BASELINE
from joulemark.record import Check, Conditions, Ratio
from joulemark.report import facts


def with_trials(results, change):
    """The same results with every trial changed; ``change`` gives the fields that are other."""
    return msgspec.structs.replace(
        results, trials=[msgspec.structs.replace(trial, **change(trial)) for trial in results.trials]
    )


def with_timings(results, **changes):
    return with_trials(results, lambda t: {"timings": tuple(msgspec.structs.replace(o, **changes) for o in t.timings)})


def with_origin(results, **changes):
    return with_trials(results, lambda trial: {"provenance": msgspec.structs.replace(trial.provenance, **changes)})


def told(results, name):
    """What the provenance says under one name."""
    return [value for head, value in facts.provenance(results) if head == name]


def nothing():
    return msgspec.structs.replace(make_results(), attempts=[], trials=[], failures=[])


def test_what_a_clock_said_is_told_with_its_blocks_and_images():
    clock, images, making = facts.measured(make_results())
    assert clock.startswith("Seconds per input of the compiled net, in 12 shuffled blocks of baseline, candidate,")
    assert images == "Accuracy of the very objects that were timed, on 2,000 test rows, once."
    assert making.startswith("Making: wall seconds, CPU-seconds and image passes")
    assert facts.measured(with_metric(make_results(), "weighted-f1"))[1].startswith("Weighted F1 of the very objects")


def test_unequal_numbers_of_blocks_are_told_as_a_range():
    results = make_results()
    first = results.trials[0]
    short = msgspec.structs.replace(first.timings[0], blocks=first.timings[0].blocks[:5])
    some = [msgspec.structs.replace(first, timings=(short, *first.timings[1:])), *results.trials[1:]]
    clock = facts.measured(msgspec.structs.replace(results, trials=some))[0]
    assert "in 5 to 12 shuffled blocks" in clock


def test_joules_are_told_as_measured_only_where_a_counter_was_read():
    dark, metered = make_results(), with_joules(make_results())
    assert [facts.joules_measured(one) for one in (dark, metered)] == [False, True]
    assert "Joules per input (made up, test)." in facts.measured(metered)
    assert not any("Joules" in line for line in facts.measured(dark))
    assert facts.not_measured(dark)[0].startswith("Joules of this machine: no counter was read.")
    assert not any("counter" in line for line in facts.not_measured(metered))
    assert facts.label(dark)["joules"] == "not measured here"
    assert facts.label(metered)["joules"] == "measured"


def test_a_model_is_told_with_its_coverage_assumptions_and_sources():
    (model,) = facts.modelled(make_results())
    assert model == (
        "row-stationary: joules per input of an accelerator, from the operations that really ran; it describes at "
        "least 98 % of the executed MACs. Assumes: weights fit the global buffer. Constants from: Chen et al. 2016. "
        "Its interval holds the spread between seeds only, not the model's own error."
    )


def test_the_worst_coverage_counts_and_each_assumption_is_told_once():
    def changed(trial):
        report = msgspec.structs.replace(
            trial.models[0], coverage=0.5 if trial.seed else 0.9, assumptions=("a", f"seed {trial.seed}"), sources=()
        )
        return {"models": (report,)}

    (model,) = facts.modelled(with_trials(make_results(), changed))
    assert "at least 50 % of" in model
    assert " Assumes: a; seed 0; seed 1." in model
    assert "Constants" not in model


def test_a_model_without_joules_or_without_trials_claims_none():
    def silent(trial):
        report = trial.models[0]
        return {"models": (msgspec.structs.replace(report, joules=msgspec.structs.replace(report.joules, value=None)),)}

    (model,) = facts.modelled(with_trials(make_results(), silent))
    assert model.startswith("row-stationary: seconds per input and no joules, from")
    assert "spread between seeds" not in model
    assert facts.modelled(with_trials(make_results(), lambda trial: {"models": ()})) == [
        "row-stationary: no trial has this model."
    ]


def test_the_baselines_speed_is_told_for_each_batch_size_and_the_fastest_backend_is_named():
    first, second = facts.baseline_speeds(make_results())
    assert first == "Baseline at batch 1, per input: ONNX Runtime 400 µs, eager PyTorch 400 µs."
    assert second == "Baseline at batch 64, per input: ONNX Runtime 267 µs, eager PyTorch 267 µs."
    first, _ = facts.baseline_speeds(with_reference(make_results()))
    assert first.endswith(" The headline divides by eager PyTorch (the fastest fp32 backend here).")
    assert facts.baseline_speeds(nothing()) == []


@pytest.mark.parametrize(
    ("backends", "words"),
    [
        (("eager",), "eager PyTorch (the fastest fp32 backend here)"),
        (("eager", "mine"), "eager PyTorch or mine, whichever was faster"),
    ],
)
def test_the_fastest_backends_are_named(backends, words):
    assert facts.named(backends) == words


def test_what_ratios_divide_by_is_said_for_measured_boards_alone():
    results = make_results()
    assert facts.denominator(view_of(results, "row-stationary")) == ""
    assert facts.denominator(view_of(results, "seconds")) == (
        "seconds of the fp32 baseline over seconds of the row, both on the same backend, batch 1"
    )
    assert facts.denominator(view_of(with_joules(results), "joules")).startswith("joules of the fp32 baseline over jou")
    assert facts.denominator(view_of(with_reference(results), "seconds")) == (
        "seconds of the fp32 baseline on eager PyTorch (the fastest fp32 backend here) over seconds of the row, "
        "batch 1; the ratio to the baseline on the row's own backend stands below it"
    )


def test_the_control_says_when_it_fails():
    told = facts.control(view_of(make_results(), "seconds"))
    assert told == (
        "A/A control, the baseline against itself at batch 1: "
        "ONNX Runtime 1.000 (1.000 to 1.000), eager PyTorch 1.000 (1.000 to 1.000)."
    )
    biased = replace(SETTINGS[0], speed=1.1)  # the "same" net is measured 10 % faster
    assert "distrust small differences" in facts.control(view_of(make_results((biased, *SETTINGS[1:])), "seconds"))
    assert facts.control(view_of(make_results(), "row-stationary")) == ""


def test_one_backend_whose_control_is_off_is_enough_to_distrust():
    results = with_control(make_results(), "eager", 1, Ratio(value=1.05, low=1.01, high=1.09, count=12))
    told_of = facts.control(view_of(results, "seconds"))
    assert "eager PyTorch 1.050 (" in told_of
    assert told_of.endswith(". Where it does not hold 1, distrust small differences.")


def test_a_control_that_fails_elsewhere_than_in_the_headline_is_told():
    results = with_control(make_results(), "eager", 64, Ratio(value=1.05, low=1.01, high=1.09, count=12))
    told = facts.unsteady(results)
    assert len(told) == 4  # too wide and off, of two seeds
    assert all("on eager at batch 64" in sentence for sentence in told)
    assert facts.unsteady(make_results()) == []


def test_idle_is_denied_only_where_nothing_paced_was_measured():
    results = make_results()
    assert any(line.endswith("and the idle time between them.") for line in facts.not_measured(results))
    paced = [msgspec.structs.replace(trial, paced=(None,)) for trial in results.trials]
    text = " ".join(facts.not_measured(msgspec.structs.replace(results, trials=paced)))
    assert "the idle time between them (but under Paced, which has it)." in text


def test_what_cannot_be_seen_is_said():
    blind = Conditions(
        seconds=1.0, cores=2, own_cpu_seconds=1.0, busy_cpu_seconds=1.0, stolen_seconds=0.0, throttles=None
    )
    results = make_results()
    for conditions, expected in [
        (blind, ["whether a core was slowed down because of heat cannot be seen here"]),
        (msgspec.structs.replace(blind, throttles=0), []),
        (None, ["what else ran during 6 of 6 trials was not recorded"]),
    ]:
        trials = [msgspec.structs.replace(trial, conditions=conditions) for trial in results.trials]
        some = msgspec.structs.replace(results, trials=trials)
        assert facts.unseen(some) == expected
        assert [value.lower() for name, value in facts.provenance(some) if name == "Not seen"] == [
            text.lower() for text in expected
        ]


def test_what_disturbed_trials_is_told_once_with_their_number_and_the_words_of_the_last():
    busy = Conditions(
        seconds=10.0, cores=2, own_cpu_seconds=1.0, busy_cpu_seconds=11.0, stolen_seconds=0.0, throttles=0
    )

    def loaded(trial):
        return {"conditions": busy, "warnings": ("load",)} if trial.technique == FAST.technique else {}

    assert facts.unsteady(with_trials(make_results(), loaded)) == [
        f"Load (2 of 6 trials): other programs used 50 % of the machine's CPU time ({FAST.technique}, seed 1)."
    ]
    # A stored warning that the numbers do not give has no words: `joulemark check` names it.
    assert facts.unsteady(with_trials(make_results(), lambda trial: {"warnings": ("load",)})) == []


def test_a_trial_that_tells_no_conditions_among_others_is_counted():
    seen = Conditions(seconds=1.0, cores=2, own_cpu_seconds=1.0, busy_cpu_seconds=None, stolen_seconds=None,
                      throttles=0)  # fmt: skip
    results = with_trials(make_results(), lambda t: {"conditions": None if t.technique == BASELINE else seen})
    assert facts.unseen(results) == [
        "CPU time of other programs cannot be seen here",
        "CPU time that a hypervisor took cannot be seen here",
        "what else ran during 2 of 6 trials was not recorded",
    ]
    assert facts.unseen(nothing()) == []


def test_each_different_value_is_told_once_and_what_is_unknown_is_called_so():
    results = make_results()
    assert told(results, "Processor") == ["Toy CPU 3000, 2 cores"]
    assert (told(results, "Accelerator"), told(results, "Governor")) == (["none"], ["unknown"])
    assert told(results, "Seeds") == ["0, 1"]
    assert told(results, "Versions") == ["joulemark 0.1.0, python 3.11, torch 2.13.0"]
    assert told(results, "Load average") == ["0.40 to 0.40"]
    assert told(results, "Precision, threads") == ["onnxruntime: fp32, 2 threads", "eager: fp32, 2 threads"]
    assert not told(results, "Not quiet") and not told(results, "Flags")
    unknown = with_origin(results, commit=None, load_average=None)
    assert (told(unknown, "Commit"), told(unknown, "Load average")) == (["unknown"], ["unknown"])


def test_the_first_and_the_last_start_bound_what_was_measured():
    results = with_trials(
        make_results(),
        lambda t: {"provenance": msgspec.structs.replace(t.provenance, started=f"2026-01-0{3 - t.seed}T00:00:00Z")},
    )
    assert told(results, "Measured") == ["2026-01-02T00:00:00Z to 2026-01-03T00:00:00Z"]
    assert facts.label(results)["date"] == "2026-01-03"


def test_a_study_that_was_not_tested_yet_tells_where_its_attempts_come_from():
    results = msgspec.structs.replace(make_results(), trials=[])
    assert told(results, "Processor") == ["Toy CPU 3000, 2 cores"]
    assert not told(results, "Precision, threads")
    assert facts.label(results) == {"date": "", "seeds": 0, "joules": "not measured here"}


def test_only_failed_checks_are_not_quiet():
    checks = (Check("load", False, "0.9 of a core"), Check("governor", None, "?"), Check("swap", True, "none"))
    assert told(with_origin(make_results(), checks=checks), "Not quiet") == ["load: 0.9 of a core"]


def test_notes_are_told_with_their_technique_and_tables_of_inner_steps_are_left_out():
    def noted(trial):
        return {"notes": {"best_epoch": 3, "steps": [1, 2]} if trial.technique == FAST.technique else {}}

    assert told(with_trials(make_results(), noted), "Notes") == [f"{FAST.technique}, best epoch: 3"]


def test_a_meters_flag_is_told_with_its_meaning_and_an_unknown_one_as_it_is():
    seconds = msgspec.structs.replace(make_results().trials[0].timings[0].seconds, flags=("wrapped", "odd"))
    assert told(with_timings(make_results(), seconds=seconds), "Flags") == [
        "wrapped: the counter passed its end and began anew; corrected", "odd",
    ]  # fmt: skip


@pytest.mark.parametrize(("virtual", "words"), [(None, ""), (True, ", virtual machine"), (False, ", bare metal")])
def test_a_machine_of_which_nobody_knows_is_called_neither_virtual_nor_bare(virtual, words):
    assert facts.virtual_text(virtual) == words


def test_the_label_counts_seeds_that_were_tested_beside_the_baseline():
    results = make_results()
    assert facts.label(results) == {"date": "2026-01-02", "seeds": 2, "joules": "not measured here"}
    some = [trial for trial in results.trials if trial.technique == BASELINE or trial.seed == 1]
    assert facts.label(msgspec.structs.replace(results, trials=some))["seeds"] == 1


def test_nothing_measured_is_nothing_claimed():
    assert facts.measured(nothing()) == [
        "Making: wall seconds, CPU-seconds and image passes of every attempt, losers included."
    ]
    assert facts.unsteady(nothing()) == []
    assert ("Command", "joulemark run quick") in facts.provenance(nothing())
