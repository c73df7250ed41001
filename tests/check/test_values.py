"""Values of single records: sound ones pass, each broken rule is named with its field."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import (
    GENTLE,
    TRUTH,
    TRUTHS,
    attempt,
    changed,
    free,
    made,
    old_score,
    quantity,
    score,
    study,
    trial,
)

from joulemark.check import values
from joulemark.judging.packed import pack, pack_bits
from joulemark.record import Kind, Ratio

ATTEMPT, TRIAL = attempt("halve", GENTLE, 0), trial("halve", GENTLE, 0)
FREE, CONTROL = free(control=False), free(control=True)
OLD = msgspec.structs.replace(ATTEMPT, score=old_score("validation", 22))


def faults(record) -> list[str]:
    return values.faults(record, TRUTHS)


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
        (TRIAL, "models.0.joules.value", 5e-6, "models[0]: says 5e-06 J, its layers add up"),
        (TRIAL, "models.0.joules.value", 2.4999e-6, "models[0]: says 2.4999e-06 J, its layers add up"),
        (TRIAL, "conditions.seconds", 0.0, "conditions: cannot be"),
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
