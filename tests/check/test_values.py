"""Values of single records: sound ones pass, each broken rule is named with its field."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import GENTLE, attempt, made, quantity, score, study, trial

from joulemark.check.values import faults
from joulemark.record import Kind, Ratio
from joulemark.rules import pack_bits
from joulemark.stats import paired_ratio

ATTEMPT, TRIAL = attempt("halve", GENTLE, 0), trial("halve", GENTLE, 0)


def changed(record, path: str, value):
    """A copy of a record with the field at a dotted path changed; numbers index tuples."""
    head, _, rest = path.partition(".")
    if isinstance(record, tuple):
        place = int(head)
        return (*record[:place], changed(record[place], rest, value) if rest else value, *record[place + 1 :])
    if isinstance(record, dict):
        return {**record, head: changed(record[head], rest, value) if rest else value}
    return msgspec.structs.replace(record, **{head: changed(getattr(record, head), rest, value) if rest else value})


@pytest.mark.parametrize("record", [made("halve", GENTLE, 1), made("baseline", {}, 0), ATTEMPT, TRIAL, study()])
def test_sound_records_have_no_faults(record):
    assert faults(record) == []


@pytest.mark.parametrize(
    ("record", "path", "value", "sentence"),
    [
        (ATTEMPT, "score.accuracy", 0.99, "score: says 0.99, but 0.978"),
        (ATTEMPT, "score.accuracy", 1.5, "score: says 1.5"),
        (ATTEMPT, "score.images", 1003, "score: "),
        (ATTEMPT, "score.images", 0, "score: is of 0 images"),
        (ATTEMPT, "score.correct", "ff", "does not hold one bit for each of 1004 images"),
        (ATTEMPT, "score.correct", "zz" * 126, "does not hold one bit"),
        (ATTEMPT, "score.split", "test", "holds a score on the test images where validation images belong"),
        (ATTEMPT, "seconds.value", 0.0, "seconds: is 0, though measured"),
        (ATTEMPT, "seconds.value", -1.0, "seconds: is negative"),
        (ATTEMPT, "seconds.value", math.inf, "seconds.value: is not a finite number"),
        (ATTEMPT, "seconds.value", None, "seconds: is unknown without a reason"),
        (ATTEMPT, "seconds.low", 1e-6, "seconds: has half an interval"),
        (ATTEMPT, "seconds.random", -1.0, "seconds: has a negative uncertainty"),
        (ATTEMPT, "seconds.count", 0, "seconds: is made of 0 windows"),
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
        (TRIAL, "timings.0.seconds.value", 1.0, "timings[0]: its seconds, 1, lie outside its own blocks"),
        (TRIAL, "timings.0.joules_ratio", Ratio(value=2, low=1, high=3, count=4), "no joules or no raw blocks"),
        (TRIAL, "timings.0.threads", 0, "says batch 1 on 0 threads"),
        (TRIAL, "timings.0.reference_blocks", ((1.0, 1.0),), "other numbers of blocks"),
        (TRIAL, "warnings", ("load",), "warns of load; its own numbers warn of nothing"),
        (TRIAL, "models.0.coverage", 1.5, "models[0]: coverage is 1.5"),
        (TRIAL, "models.0.layers.0.macs", 900.0, "models: toy-model counts 900 MACs"),
        (TRIAL, "models.0.layers.0.joules", {"MAC": 1.0}, "models[0]: says"),
        (TRIAL, "models.0.layers.0.joules", {"MAC": -1e-9}, "a layer has negative joules or MACs"),
        (made("halve", GENTLE, 0), "start", None, "halve starts from nothing"),
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
        score("validation", 0), images=len(bits), accuracy=float(correct.mean()), correct=pack_bits(correct)
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
        seconds=quantity(float(np.median([middle for _, middle, _ in blocks])), "s/input"),
    )
    assert faults(changed(TRIAL, "timings", (timing,))) == []
    first, middle, last = blocks[0]
    edited = msgspec.structs.replace(timing, blocks=((first * factor, middle, last), *blocks[1:]))
    assert any("its raw blocks give" in one for one in faults(changed(TRIAL, "timings", (edited,))))


def test_the_headline_ratio_is_recomputed_against_its_reference():
    timing = TRIAL.timings[0]
    reference = tuple((first / 2, last / 2) for first, _, last in timing.blocks)
    rows = [(a, middle, b) for (a, b), (_, middle, _) in zip(reference, timing.blocks, strict=True)]
    headline = paired_ratio(rows)
    sound = msgspec.structs.replace(
        timing, reference="onnxruntime", reference_blocks=reference, reference_ratio=headline
    )
    assert faults(changed(TRIAL, "timings", (sound,))) == []
    assert headline.value == pytest.approx(timing.ratio.value / 2)
    wrong = msgspec.structs.replace(sound, reference_ratio=timing.ratio)
    assert any("reference_ratio: says" in one for one in faults(changed(TRIAL, "timings", (wrong,))))
    same = msgspec.structs.replace(timing, reference="eager", reference_ratio=timing.ratio)
    assert faults(changed(TRIAL, "timings", (same,))) == []
