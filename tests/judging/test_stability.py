"""Warnings from a record's numbers alone, each at its limit, by hand."""

from __future__ import annotations

import math

import msgspec
import pytest

from joulemark.judging.stability import across, control_warnings, disturbances, half_width, recomputed, warnings
from joulemark.judging.statistics import paired_ratio
from joulemark.record import Conditions, Kind, Machine, Provenance, Quantity, Ratio, Timing, Trial

QUIET = Conditions(seconds=10.0, cores=2, own_cpu_seconds=9.0, busy_cpu_seconds=10.0, stolen_seconds=0.0, throttles=0)
STEADY = tuple((1.0 + 0.001 * (place % 2), 0.5, 1.0) for place in range(12))


def quantity(unit: str) -> Quantity:
    return Quantity(value=None, unit=unit, kind=Kind.MEASURED, method="m", scope="s", source="", reason="made up")


def timing(**changes) -> Timing:
    known = {
        "backend": "onnxruntime", "batch_size": 1, "threads": 1, "precision": "fp32", "execution": "real",
        "reason": None, "seconds": quantity("s"), "baseline_seconds": quantity("s"), "joules": quantity("J"),
        "ratio": paired_ratio(STEADY), "blocks": STEADY,
    }  # fmt: skip
    return Timing(**{**known, **changes})


def trial(*timings: Timing, technique: str = "mine", conditions: Conditions | None = QUIET) -> Trial:
    machine = Machine(
        hardware_class="c", processor="p", cores=2, memory_bytes=None, accelerator=None, system="s", virtual=None,
        governor=None,
    )  # fmt: skip
    origin = Provenance(joulemark="0", commit=None, command="", started="", machine=machine, versions={})
    return Trial(
        key="k", attempt="a", task="t", task_key="t", hardware_class="c", technique=technique, knobs=(), seed=0,
        net="n", scores={}, timings=timings, models=(), proxies={}, provenance=origin, conditions=conditions,
    )  # fmt: skip


def test_a_quiet_trial_has_no_warnings_and_an_old_one_cannot_have():
    assert warnings(trial(timing())) == {}
    assert disturbances(None) == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"busy_cpu_seconds": 10.9}, {}),  # 1.9 of 20 CPU-seconds are not ours: 9.5 %
        ({"busy_cpu_seconds": 11.2}, {"load": "other programs used 11 % of the machine's CPU time"}),
        ({"stolen_seconds": 0.2}, {}),
        ({"stolen_seconds": 0.5}, {"stolen time": "the hypervisor took 2.5 % of the machine's CPU time away"}),
        ({"throttles": 1}, {"heat": "a core was slowed down because of heat once"}),
        ({"throttles": 3}, {"heat": "a core was slowed down because of heat 3 times"}),
        ({"busy_cpu_seconds": None, "stolen_seconds": None, "throttles": None}, {}),  # nothing can be seen here
    ],
)
def test_disturbances_at_their_limits(changes, expected):
    assert disturbances(msgspec.structs.replace(QUIET, **changes)) == expected


@pytest.mark.parametrize(("factor", "word"), [(1.04, None), (1.06, "6 % slower"), (0.93, "7 % faster")])
def test_drift_from_the_first_third_to_the_last(factor, word):
    blocks = tuple((1.0, 0.5, 1.0) if place < 8 else (factor, 0.5, factor) for place in range(12))
    sentence = warnings(trial(timing(), timing(blocks=blocks))).get("drift")
    assert (sentence is None) if word is None else (word in sentence)


@pytest.mark.parametrize(("last", "words"), [(1.04, None), (1.06, "6 % slower"), (0.9, "10 % faster")])
def test_below_six_blocks_the_first_stands_against_the_last(last, words):
    blocks = ((0.99, 0.5, 1.01), (7.0, 0.5, 7.0), (last, 0.5, last))  # as joules have them: three long blocks
    assert (words or "") in warnings(trial(timing(blocks=blocks))).get("drift", "")
    assert ("drift" in warnings(trial(timing(blocks=blocks)))) is (words is not None)
    assert warnings(trial(timing(blocks=blocks[:1]))) == {}  # one block cannot drift


@pytest.mark.parametrize(
    ("low", "high", "names"),
    [
        (0.985, 1.015, []),
        (0.97, 1.03, ["control too wide"]),
        (1.001, 1.015, ["control off"]),
        (1.01, 1.09, ["control too wide", "control off"]),
    ],
)
def test_the_control_is_judged_in_the_baselines_own_trial_alone(low, high, names):
    ratio = Ratio(value=(low + high) / 2, low=low, high=high, count=12)
    assert list(warnings(trial(timing(ratio=ratio), technique="baseline"))) == names
    assert warnings(trial(timing(ratio=ratio), technique="mine")) == {}


def test_each_backend_and_batch_size_has_a_control_of_its_own():
    wide = timing(backend="eager", batch_size=64, ratio=Ratio(value=1.05, low=1.01, high=1.09, count=12))
    found = control_warnings(wide)
    assert list(found) == ["control too wide", "control off"]
    assert all("on eager at batch 64" in sentence for sentence in found.values())
    assert control_warnings(timing(ratio=None)) == {}
    # What a record stores is of the headline alone, its first timing.
    good = timing(ratio=Ratio(value=1.0, low=0.99, high=1.01, count=12))
    assert warnings(trial(good, wide, technique="baseline")) == {}


def test_half_width_by_hand():
    assert half_width(Ratio(value=2.0, low=1.9, high=2.1, count=3)) == pytest.approx(0.05)


def test_ratios_are_recomputed_from_the_blocks():
    references = tuple((0.25, 0.25) for _ in STEADY)
    joules = tuple((4.0, 1.0, 4.0) for _ in range(3))
    found = recomputed(
        timing(reference="eager", reference_blocks=references, joules_blocks=joules, reference_joules_blocks=())
    )
    assert found["ratio"] == paired_ratio(STEADY)
    assert found["reference_ratio"].value == pytest.approx(0.5)
    assert found["joules_ratio"].value == pytest.approx(4.0)
    assert found["reference_joules_ratio"] is None
    own = recomputed(timing(reference="onnxruntime"))
    assert own["reference_ratio"] == own["ratio"]
    assert recomputed(timing())["reference_ratio"] is None  # an older record


def test_joules_without_blocks_are_not_judged():
    assert "joules_ratio" not in recomputed(timing(joules_ratio=Ratio(value=1.0, low=1.0, high=1.0, count=3)))


def test_across_puts_the_reference_in_the_baselines_place():
    assert across([(1.0, 2.0)], [(3.0, 4.0, 5.0)]) == [(1.0, 4.0, 2.0)]
    assert across([], [(3.0, 4.0, 5.0)]) == []
    with pytest.raises(ValueError, match="shorter"):
        across([(1.0, 2.0)], [])
    assert math.isclose(paired_ratio(across([(2.0, 8.0)] * 3, [(1.0, 2.0, 1.0)] * 3)).value, 2.0)
