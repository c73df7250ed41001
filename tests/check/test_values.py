"""Values of single records: sound ones pass, each broken rule is named with its field."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import GENTLE, TRUTH, TRUTHS, attempt, free, made, old_score, quantity, score, study, trial, windows

from joulemark.check import values
from joulemark.judging.packed import pack, pack_bits
from joulemark.judging.stability import warnings
from joulemark.judging.statistics import paired_ratio
from joulemark.record import Kind, Ratio

ATTEMPT, TRIAL = attempt("halve", GENTLE, 0), trial("halve", GENTLE, 0)
UNPACED = msgspec.structs.replace(TRIAL, paced=())
FREE, CONTROL = free(control=False), free(control=True)
OLD = msgspec.structs.replace(ATTEMPT, score=old_score("validation", 22))


def faults(record) -> list[str]:
    return values.faults(record, TRUTHS)


def changed(record, path: str, value):
    """A copy of a record with the field at a dotted path changed; numbers index tuples."""
    head, _, rest = path.partition(".")
    if isinstance(record, tuple):
        place = int(head)
        return (*record[:place], changed(record[place], rest, value) if rest else value, *record[place + 1 :])
    if isinstance(record, dict):
        return {**record, head: changed(record[head], rest, value) if rest else value}
    return msgspec.structs.replace(record, **{head: changed(getattr(record, head), rest, value) if rest else value})


@pytest.mark.parametrize(
    "record",
    [made("halve", GENTLE, 1), made("baseline", (), 0), ATTEMPT, OLD, TRIAL, FREE, CONTROL, study(), *TRUTHS.values()],
)
def test_sound_records_have_no_faults(record):
    assert faults(record) == []


@pytest.mark.parametrize(
    ("record", "path", "value", "sentence"),
    [
        (ATTEMPT, "score.value", 0.99, "score: says 0.99, but 0.978088 is what its predictions and its truth give"),
        (ATTEMPT, "score.value", 1.5, "score: says 1.5"),
        (ATTEMPT, "score.rows", 1003, "score: is of 1,003 validation rows, and what is true in"),
        (ATTEMPT, "score.rows", 1003, "score: predictions are of 1004 rows, and the score is of 1003"),
        (ATTEMPT, "score.rows", 0, "score: is of 0 rows"),
        (ATTEMPT, "score.metric", "acuracy", "score: unknown metric 'acuracy': did you mean 'accuracy'?"),
        (ATTEMPT, "score.metric", "agreement", "score: is of agreement, which is not judged by labels"),
        (ATTEMPT, "score.predicted", pack([1, 2]), "score: predictions are of 2 rows"),
        (ATTEMPT, "score.predicted", "u1[1004]:eJwD", "score: a packed array is damaged"),
        (ATTEMPT, "score.predicted", pack(np.full(1004, 11)), "score: predicts class 11, and there are 10"),
        (ATTEMPT, "score.truth", "0" * 16, f"score: is judged by truths/{'0' * 16}.json, which is not there"),
        (ATTEMPT, "score.truth", TRUTH["test"].key, f"in truths/{TRUTH['test'].key}.json of 1,004 test rows"),
        (TRUTH["test"], "rows", 1003, "labels of shape [1004] are not one for each of 1003 rows"),
        (TRUTH["test"], "classes", 9, "holds label 9, and there are 9 classes"),
        (TRUTH["test"], "split", "validation", "its content has key "),
        (TRUTH["test"], "groups", pack([0, 2] * 502), "its groups are not numbered from 0 upwards"),
        (OLD, "score.value", 0.99, "score: says 0.99, but 0.978088 of its rows are marked correct"),
        (OLD, "score.rows", 1003, "score: "),
        (OLD, "score.correct", "ff", "does not hold one bit for each of 1004 rows"),
        (OLD, "score.correct", "zz" * 126, "does not hold one bit"),
        (ATTEMPT, "score.split", "test", "holds a score on the test images where validation images belong"),
        (ATTEMPT, "seconds.value", 0.0, "seconds: is 0, though measured"),
        (ATTEMPT, "seconds.value", -1.0, "seconds: is negative"),
        (ATTEMPT, "seconds.value", math.inf, "seconds.value: is not a finite number"),
        (ATTEMPT, "seconds.value", None, "seconds: is unknown without a reason"),
        (ATTEMPT, "seconds.low", 1e-6, "seconds: has half an interval"),
        (ATTEMPT, "seconds.random", -1.0, "seconds: has a negative uncertainty"),
        (ATTEMPT, "seconds.count", 0, "seconds: is made of 0 windows"),
        (ATTEMPT, "seconds.coverage", 1.5, "seconds: covers 1.5 of its window"),
        (ATTEMPT, "seconds.lost_seconds", -1.0, "seconds: has lost -1 seconds"),
        (ATTEMPT, "seconds.kind", Kind.MODELLED, "seconds: is modelled in s/input, not measured in s"),
        (ATTEMPT, "seconds.unit", "J/input", "seconds: is measured in J/input, not measured in s"),
        (ATTEMPT, "joules.reason", None, "joules: is unknown without a reason"),
        (ATTEMPT, "models.toy-model.kind", Kind.MEASURED, "models.toy-model: is measured in J/input, not modelled"),
        (ATTEMPT, "making.image_passes", -1, "making: has a negative cost"),
        (ATTEMPT, "execution", "perhaps", "execution is 'perhaps'"),
        (ATTEMPT, "execution", "simulated", "is simulated without a reason"),
        (ATTEMPT, "reason", "no kernel", "is real, yet has a reason why it is simulated"),
        (ATTEMPT, "key", "mine", "key: 'mine' is no content key"),
        (ATTEMPT, "net", "../../x", "net: '../../x' is no content key"),
        (ATTEMPT, "proxies.macs", 12.5, "proxies.macs: 12.5 is no count"),
        (ATTEMPT, "proxies.macs_per_input", -1.0, "proxies.macs_per_input: -1 is no amount"),
        (ATTEMPT, "proxies.nonzero_parameters", 101.0, "more non-zero parameters than parameters"),
        (ATTEMPT, "provenance.machine.cores", 0, "provenance.machine: has 0 cores"),
        (TRIAL, "scores.eager.split", "validation", "validation images where test images belong"),
        (TRIAL, "scores", {"onnxruntime": score("test", 3)}, "is timed on eager, where it was not tested"),
        (TRIAL, "timings.0.ratio.value", 2.5, "timings[0].ratio: its interval"),
        (TRIAL, "timings.0.ratio", Ratio(value=4.0, low=3.0, high=5.0, count=4), "timings[0]: ratio: says 4 (3 to 5)"),
        (TRIAL, "timings.0.ratio.count", 5, "timings[0]: ratio: says"),
        (TRIAL, "timings.0.ratio", None, "timings[0]: ratio: is missing, though its blocks give one"),
        (TRIAL, "timings.0.blocks", ((1.0, 1.0, 1.0),), "ratio: has too few blocks behind it"),
        (TRIAL, "timings.0.blocks.1.0", 0.0, "timings[0]: a block is not positive"),
        (TRIAL, "timings.0.blocks.2.0", 1.5e-3, "its raw blocks give"),
        (TRIAL, "timings.0.seconds.value", 1.0, "timings[0]: seconds: says 1 "),
        (TRIAL, "timings.0.joules_ratio", Ratio(value=2, low=1, high=3, count=4), "no joules or no raw blocks"),
        (TRIAL, "timings.0.threads", 0, "says batch 1 on 0 threads"),
        (TRIAL, "timings.0.reference_blocks", ((1.0, 1.0),), "blocks of a reference, which is its own backend"),
        (TRIAL, "warnings", ("load",), "warns of load; its own numbers warn of nothing"),
        (TRIAL, "models.0.coverage", 1.5, "models[0]: coverage is 1.5"),
        (TRIAL, "models.0.layers.0.macs", 900.0, "models: toy-model counts 900 MACs"),
        (TRIAL, "models.0.layers.0.joules", {"MAC": 1.0}, "models[0]: says"),
        (TRIAL, "models.0.layers.0.joules", {"MAC": -1e-9}, "a layer has negative joules or MACs"),
        (made("halve", GENTLE, 0), "start", None, "halve starts from nothing"),
        (made("halve", GENTLE, 0), "knobs", GENTLE * 2, "knobs: there are 2 sets of them for 1 techniques"),
        (ATTEMPT, "technique", "halve+halve", "knobs: there are 1 sets of them for 2 techniques"),
        (TRIAL, "knobs", (), "knobs: there are 0 sets of them for 1 techniques"),
        (study(), "trials", ("a" * 16, "a" * 16), "names a trial twice"),
    ],
)  # fmt: skip
def test_each_broken_rule_is_named(record, path, value, sentence):
    found = faults(changed(record, path, value))
    assert any(sentence in one for one in found), found


def test_joules_of_a_window_shorter_than_the_counter_may_be_zero():
    short = msgspec.structs.replace(quantity(0.0, "J"), flags=("too_short",))
    assert faults(changed(ATTEMPT, "making.joules", short)) == []
    assert faults(changed(ATTEMPT, "making.joules", quantity(0.0, "J")))


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=70), st.data())
def test_a_score_is_sound_exactly_if_its_share_is_that_of_its_bits(bits, data):
    correct = np.array(bits)
    sound = msgspec.structs.replace(
        old_score("validation", 0), rows=len(bits), value=float(correct.mean()), correct=pack_bits(correct)
    )
    assert faults(sound) == []
    flip = data.draw(st.integers(0, len(bits) - 1))
    correct[flip] = not correct[flip]
    assert faults(msgspec.structs.replace(sound, correct=pack_bits(correct)))


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
        (TRIAL, "models.0.joules.value", 5e-6, "models[0]: says 5e-06 J, its layers add up"),
        (TRIAL, "models.0.joules.value", 2.4999e-6, "models[0]: says 2.4999e-06 J, its layers add up"),
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
        (TRIAL, "conditions.seconds", 0.0, "conditions: cannot be"),
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
    found = faults(changed(record, path, value))
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


@pytest.mark.parametrize(
    ("operands", "fault"),
    [
        ({"weights": {"DRAM": 1.5e-6}, "inputs": {"DRAM": 0.5e-6, "MAC": 1e-6}}, None),
        ({"weights": {"DRAM": 1.5e-6}, "inputs": {"DRAM": 0.6e-6}}, "DRAM of 'conv1' is 2e-06 J, its operands are"),
        ({"weights": {"DRAM": 2.5e-6}, "inputs": {"DRAM": -0.5e-6}}, "DRAM of 'conv1' is 2e-06 J, its operands are"),
        ({"weights": {"cache": 0.1e-6}}, "cache of 'conv1' is None J, its operands are"),
    ],
)
def test_operands_add_up_to_their_component(operands, fault):
    report = TRIAL.models[0]
    layer = msgspec.structs.replace(report.layers[0], joules={"MAC": 1e-6, "DRAM": 2e-6}, operands=operands)
    total = msgspec.structs.replace(report.joules, value=3e-6)
    found = faults(msgspec.structs.replace(report, layers=(layer,), joules=total))
    assert [one for one in found if fault is None or fault not in one] == []
    assert len(found) == (fault is not None)
