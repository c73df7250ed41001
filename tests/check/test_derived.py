"""What a record says against what its own raw blocks, bits and conditions give again."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import GENTLE, TRUTHS, changed, free, paced, score, trial, wilson, windows

from joulemark.check import values
from joulemark.check.derived import agreement_faults, free_faults, paced_faults, timing_faults, trial_faults
from joulemark.judging.stability import warnings
from joulemark.judging.statistics import paired_ratio
from joulemark.record import Agreement, Ratio

TRIAL = trial("halve", GENTLE, 0)
TIMING, PACED = TRIAL.timings[0], paced()
UNPACED = msgspec.structs.replace(TRIAL, paced=())
FREE, CONTROL = free(control=False), free(control=True)


def faults(record) -> list[str]:
    return values.faults(record, TRUTHS)


def test_what_is_sound_has_no_faults():
    assert [*timing_faults(TIMING), *trial_faults(TRIAL), *paced_faults(PACED), *agreement_faults(FREE.agreement)] == []
    assert [*free_faults(FREE, TRUTHS), *free_faults(CONTROL, TRUTHS)] == []


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(1e-6, 1.0)] * 3), min_size=3, max_size=5), st.floats(1.001, 3))
def test_a_ratio_of_few_blocks_stands_or_falls_with_each(blocks, factor):
    timing = msgspec.structs.replace(
        TRIAL.timings[0],
        blocks=tuple(blocks),
        ratio=paired_ratio(blocks),
        seconds=windows([middle for _, middle, _ in blocks]),
        baseline_seconds=windows([one for first, _, last in blocks for one in (first, last)]),
        turned=(),
    )
    timing = msgspec.structs.replace(timing, reference_ratio=timing.ratio, reference_seconds=timing.baseline_seconds)
    trial = msgspec.structs.replace(TRIAL, order=(), order_seed=None, timings=(timing,))
    trial = msgspec.structs.replace(trial, warnings=tuple(warnings(trial)))  # random blocks drift
    assert faults(trial) == []
    first, middle, last = blocks[0]
    edited = msgspec.structs.replace(timing, blocks=((first * factor, middle, last), *blocks[1:]))
    assert any("its raw blocks give" in one for one in faults(changed(TRIAL, "timings", (edited,))))


def test_the_headline_ratio_is_recomputed_against_its_reference():
    timing = TRIAL.timings[0]
    reference = tuple((first / 2, last / 2) for first, _, last in timing.blocks)
    rows = [(a, middle, b) for (a, b), (_, middle, _) in zip(reference, timing.blocks, strict=True)]
    headline = paired_ratio(rows)
    sound = msgspec.structs.replace(
        timing, reference="onnxruntime", reference_blocks=reference, reference_ratio=headline,
        reference_seconds=windows([one for both in reference for one in both]),
        screening={"eager": 1e-3, "onnxruntime": 5e-4},
    )  # fmt: skip
    assert faults(changed(UNPACED, "timings", (sound,))) == []
    assert headline.value == pytest.approx(timing.ratio.value / 2)
    wrong = msgspec.structs.replace(sound, reference_ratio=timing.ratio)
    assert any("reference_ratio: says" in one for one in faults(changed(UNPACED, "timings", (wrong,))))
    short = msgspec.structs.replace(sound, reference_blocks=reference[:3])
    assert any("other numbers of blocks" in one for one in faults(changed(UNPACED, "timings", (short,))))


@pytest.mark.parametrize(
    ("record", "path", "value", "sentence"),
    [
        (TRIAL, "timings.0.reference", "onnxruntime", "reference is onnxruntime, its screening was won by eager"),
        (TRIAL, "timings.0.screening.eager", 3e-3, "reference is eager, its screening was won by onnxruntime"),
        (TRIAL, "timings.0.baseline_seconds.value", 1.004e-3, "baseline_seconds: says 0.001004"),
        (TRIAL, "timings.0.reference_seconds.value", 1.004e-3, "reference_seconds: says 0.001004"),
        (TRIAL, "timings.0.reference_seconds", None, "reference_seconds: is unknown, though there are 8 windows"),
        (TRIAL, "timings.0.baseline_seconds.high", 1.029e-3, "baseline_seconds: says"),
        (TRIAL, "timings.0.seconds.low", None, "seconds: says"),
        (TRIAL, "timings.0.seconds.count", 40, "seconds: is said to be of 40 windows, and is of 4"),
        (TRIAL, "timings.0.turned", tuple(not one for one in TRIAL.timings[0].turned), "turned: the blocks of eager"),
        (TRIAL, "order", TRIAL.order[:-1], "order: is not what seed 0 makes of its timings"),
        (TRIAL, "order_seed", 1, "turned: the blocks of eager batch 1"),
        (TRIAL, "order_seed", -1, "cannot be judged"),
        (TRIAL, "order_seed", None, "has an order of blocks and no seed of it"),
        (TRIAL, "paced.0.busy_ratio", 3.0, "paced[0]: busy_ratio: says 3, the busy seconds of the two give 2.5"),
        (TRIAL, "paced.0.candidate.missed", 61, "candidate: missed 61 of 60 inputs"),
        (TRIAL, "paced.0.candidate.inputs", 400, "candidate: counts 400 inputs"),
        (TRIAL, "paced.0.candidate.latency_95_seconds", 1e-3, "its median latency, 0.002 s, does not lie"),
        (TRIAL, "paced.0.baseline.busy_seconds_per_hour", 3700.0, "baseline: its busy or CPU-seconds"),
        (TRIAL, "paced.0.baseline.busy_seconds_per_hour", 0.0, "busy seconds that are not positive"),
        (TRIAL, "paced.0.reference", "onnxruntime", "is paced against onnxruntime, which is not the fastest"),
        (FREE, "loss_points", 0.0, "loses 0.0 points"),
        (FREE, "loss_bound", 0.1, "(at most 0.1)"),
        (FREE, "score", None, "has a score or a loss without both scores behind it"),
        (FREE, "score", score("validation", 25), "agreement: 5 images are right in one score alone"),
        (FREE, "agreement.same_class", 1.0, "agreement: says 1 ("),
        (FREE, "agreement.same_class", 1.5, "agreement: same_class: 1.5 is no share"),
        (FREE, "agreement.images", 500, "agreement: is of 500 images"),
        (FREE, "agreement.low", 0.9999, "agreement: says"),
        (FREE, "seconds.value", 4e-4, "seconds: says 0.0004"),
        (FREE, "cpu_seconds.value", 4e-4, "cpu_seconds: says 0.0004"),
        (FREE, "flags", ("load",), "flags: says load, its conditions give nothing"),
        (FREE, "conditions.busy_cpu_seconds", 19.0, "flags: says nothing, its conditions give load"),
        (FREE, "joules_ratio", Ratio(value=2.0, low=1.9, high=2.1, count=4), "joules_ratio: has too few blocks"),
        (FREE, "blocks", (), "ratio: has too few blocks behind it"),
        (FREE, "turned", tuple(not one for one in FREE.turned), "turned: the blocks that ran inside out are not"),
        (FREE, "order", tuple(sorted(FREE.order)), "order: is not what seed 9 makes of any group"),
        (FREE, "batch_size", 64, "order: eager:bf16,channels_last, 2 threads, batch 64 has 4 blocks"),
        (FREE, "control", True, "is called the control, which runs at batch 1 without options"),
    ],
)  # fmt: skip
def test_what_blocks_and_bits_give_again_is_named_where_it_differs(record, path, value, sentence):
    found = values.faults(changed(record, path, value), TRUTHS)
    assert any(sentence in one for one in found), found


def test_a_free_setting_that_could_not_run_has_nothing_to_derive():
    blank = msgspec.structs.replace(
        FREE, reason="no kernel", ratio=None, cpu_ratio=None, blocks=(), cpu_blocks=(), turned=(), agreement=None,
        score=None, baseline_score=None, loss_points=None, loss_bound=None,
        seconds=msgspec.structs.replace(FREE.joules, unit="s/input"),
        cpu_seconds=msgspec.structs.replace(FREE.joules, unit="s/input"),
    )  # fmt: skip
    assert faults(blank) == []  # it failed after its windows: its group's order stays
    assert faults(msgspec.structs.replace(blank, order=(), order_seed=None, conditions=None)) == []


def with_joules(timing, **changes):
    """A timing with joules of a thousandth of its seconds' number, on a reference of half of that."""
    scaled = tuple(tuple(one * 1e-3 for one in block) for block in timing.blocks)
    references = tuple((first / 2, last / 2) for first, _, last in scaled)
    across = [(first, middle, last) for (first, last), (_, middle, _) in zip(references, scaled, strict=True)]
    half = tuple((first / 2, last / 2) for first, _, last in timing.blocks)
    known = {
        "joules_blocks": scaled, "joules": windows([middle for _, middle, _ in scaled], "J/input"),
        "joules_ratio": paired_ratio(scaled), "reference_joules_blocks": references,
        "reference_joules_ratio": paired_ratio(across), "reference": "onnxruntime",
        "screening": {"eager": 1e-3, "onnxruntime": 5e-4}, "reference_blocks": half,
        "reference_seconds": windows([one for both in half for one in both]),
        "reference_ratio": paired_ratio([(a, m, b) for (a, b), (_, m, _) in zip(half, timing.blocks, strict=True)]),
    }  # fmt: skip
    return msgspec.structs.replace(timing, **{**known, **changes})


def test_joules_are_derived_from_their_own_blocks():
    sound = with_joules(TIMING)
    assert list(timing_faults(sound)) == []
    assert sound.joules_ratio.value == pytest.approx(TIMING.ratio.value)
    for name in ("joules_ratio", "reference_joules_ratio"):
        (found,) = timing_faults(with_joules(TIMING, **{name: Ratio(value=9.0, low=8.0, high=10.0, count=4)}))
        assert found.startswith(f"{name}: says 9 (8 to 10) of 4, its raw blocks give ")
    (found,) = timing_faults(with_joules(TIMING, joules=windows([1.0] * 4, "J/input")))
    assert found.startswith("joules: says 1 (1.0 to 1.0) J/input, the median of its blocks is")


def test_a_ratio_states_its_number_of_blocks():
    (found,) = timing_faults(changed(TIMING, "ratio.count", 5))
    assert found.startswith("ratio: says ") and " of 5, its raw blocks give " in found and found.endswith(" of 4")


def test_a_timing_that_was_never_screened_has_no_reference():
    bare = {"screening": {}, "reference": None, "reference_seconds": None, "reference_ratio": None}
    assert list(timing_faults(msgspec.structs.replace(TIMING, **bare))) == []
    (found,) = timing_faults(msgspec.structs.replace(TIMING, screening={}))
    assert found == "reference is eager, its screening was won by nobody"
    found = list(timing_faults(msgspec.structs.replace(TIMING, **{**bare, "reference_seconds": TIMING.seconds})))
    assert found == ["reference_seconds: has no windows behind it"]


def test_timings_of_one_batch_size_were_screened_once():
    slower = msgspec.structs.replace(TIMING, backend="onnxruntime", screening={"eager": 1e-3, "onnxruntime": 3e-3})
    both = msgspec.structs.replace(UNPACED, timings=(TIMING, slower), order=(), order_seed=None)
    assert "was screened twice at batch 1, with other figures" in [*trial_faults(both)]
    apart = changed(both, "timings.1.batch_size", 64)
    assert not [one for one in trial_faults(apart) if "screened twice" in one]


def test_a_net_is_paced_as_it_was_timed():
    (found,) = trial_faults(changed(TRIAL, "paced.0.execution", "simulated"))
    assert found == "is simulated on eager when paced, and not when timed"
    assert list(trial_faults(changed(TRIAL, "paced.0.backend", "sparse"))) == []  # it was not timed there


@pytest.mark.parametrize(
    ("path", "value", "sentences"),
    [
        ("inputs_per_second", 0.0, ["has a rate, a window or busy seconds that are not positive"]),
        ("window_seconds", -1.0, ["has a rate, a window or busy seconds that are not positive"]),
        ("candidate.busy_seconds_per_hour", 0.0, [
            "candidate: its busy or CPU-seconds cannot be of one hour",
            "busy_ratio: says 2.5, the busy seconds of the two give nan",
        ]),
        ("candidate.cpu_seconds_per_hour", -1.0, ["candidate: its busy or CPU-seconds cannot be of one hour"]),
        ("candidate.cpu_seconds_per_hour", 9000.0, []),  # several cores
        ("candidate.latency_seconds", 0.0, [
            "candidate: its median latency, 0 s, does not lie between 0 and its 95th percentile",
        ]),
        ("candidate.missed", -1, ["candidate: missed -1 of 60 inputs"]),
        ("candidate.missed", 60, []),
        ("window_seconds", 10.0, [
            "baseline: counts 60 inputs, 6 windows at its rate hold 120",
            "candidate: counts 60 inputs, 6 windows at its rate hold 120",
        ]),
        ("busy", None, ["busy: is missing, though its blocks give one"]),
    ],
)  # fmt: skip
def test_a_paced_measurement_fits_its_rate_its_windows_and_an_hour(path, value, sentences):
    assert list(paced_faults(changed(PACED, path, value))) == sentences


def near(images, same_class, **changes):
    low, high = (None, None) if same_class is None else wilson(same_class, images)
    known = {"largest_difference": 0.1, "mean_relative": 0.01, "largest_relative": 0.02, "low": low, "high": high}
    return Agreement(images=images, same_class=same_class, **{**known, **changes})


@given(st.integers(1, 2000), st.data())
def test_an_agreement_is_sound_exactly_if_its_share_is_of_whole_images_and_its_interval_is_of_the_share(images, data):
    alike = data.draw(st.integers(0, images))
    sound = near(images, alike / images)
    if alike == 0:
        sound = msgspec.structs.replace(sound, low=0.0)
    assert list(agreement_faults(sound)) == []
    (found,) = agreement_faults(msgspec.structs.replace(sound, same_class=(alike + 0.5) / images))
    assert "is no share of" in found
    (found,) = agreement_faults(msgspec.structs.replace(sound, low=sound.low + 1e-6))
    assert found.startswith("says ")


@pytest.mark.parametrize(
    ("agreement", "sentences"),
    [
        (msgspec.structs.replace(near(1, 1.0), images=0), ["is of 0 images"]),
        (near(9, None), []),
        (near(9, None, low=0.5), ["has an interval and no share"]),
        (near(9, None, high=0.5), ["has an interval and no share"]),
        (near(9, None, largest_difference=-0.1), ["has a negative difference"]),
        (near(9, None, mean_relative=0.03), ["its mean difference is above its largest one"]),
        (near(9, None, mean_relative=0.02), []),
        (near(9, None, mean_relative=0.0, largest_relative=0.0, largest_difference=0.0), []),
    ],
)
def test_differences_are_not_negative_and_their_mean_is_at_most_the_largest(agreement, sentences):
    assert list(agreement_faults(agreement)) == sentences


def test_a_free_settings_loss_is_that_of_its_scores_with_a_billionth_of_a_point_to_spare():
    off = [msgspec.structs.replace(CONTROL, loss_points=value) for value in (5e-10, 5e-9)]
    assert [len([*free_faults(one, TRUTHS)]) for one in off] == [0, 1]
    (found,) = free_faults(msgspec.structs.replace(FREE, baseline_score=None), TRUTHS)
    assert found == "has a score or a loss without both scores behind it"


def test_a_free_setting_without_scores_still_has_an_agreement():
    bare = {"score": None, "baseline_score": None, "loss_points": None, "loss_bound": None}
    assert list(free_faults(msgspec.structs.replace(FREE, **bare), TRUTHS)) == []
