"""Layers of a made-up model summed to a report: joules, coverage and what is said of the rest."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations import conv, linear

from joulemark.energy.row_stationary import NoMapping
from joulemark.energy.shapes import Shape
from joulemark.energy.summing import check_inputs, described, summed
from joulemark.record import EnergyReport, Kind, LayerEnergy
from joulemark.workloads.workload import Operation, Workload


def nanojoule_a_mac(operation: Operation, shape: Shape) -> tuple[LayerEnergy, list[str]]:
    """Two thirds for data; what has more than 1,000 weights does not fit."""
    if shape.weights > 1000:
        raise NoMapping(f"{shape.weights} weights and there is room for 1000")
    joules = {"DRAM": 2e-9 * operation.macs / 3, "MAC": 1e-9 * operation.macs / 3}
    notes = ["seen twice"] if operation.calls > 1 else []
    return LayerEnergy(layer=operation.layer, operator=operation.operator, joules=joules, macs=operation.macs), notes


def report(*operations: Operation, **more) -> EnergyReport:
    work = Workload(inputs=1, batch_size=4, operations=operations, **more)
    found = described(work, nanojoule_a_mac, where="the chip")
    return summed(
        work, found, model="made-up", title="Made up", word_bits=16, assumptions=("dense",), sources=("a", "b")
    )


PRODUCT = Operation(
    layer="attention", operator="matmul", input_shape=(4, 8), output_shape=(4, 4), rows=1, calls=1, macs=500
)
NARROW = {"weight_bits": 16, "activation_bits": 16}
RELU = Operation(
    layer="relu", operator="relu", input_shape=(30,), output_shape=(30,), rows=1, calls=1, macs=0, **NARROW
)


def test_a_report_adds_up_and_says_where_it_is_from():
    one, two = conv("c", 3, 8, 4, 3, **NARROW), linear("fc", 30, 20, **NARROW)
    found = report(one, RELU, two)
    assert found.joules.value == pytest.approx(1e-9 * (one.macs + two.macs))
    assert [layer.layer for layer in found.layers] == ["c", "fc"]
    assert (found.model, found.coverage, found.assumptions, found.sources) == ("made-up", 1.0, ("dense",), ("a", "b"))
    said = found.joules
    assert (said.kind, said.unit, said.method, said.source) == (
        Kind.MODELLED, "J/input", "made-up model, batch 4", "a; b"
    )  # fmt: skip
    assert said.scope.startswith("Made up: ")
    assert (said.flags, said.reason) == ((), None)


def test_what_is_not_described_lowers_the_coverage_and_is_named():
    large, fits = linear("large", 200, 100, **NARROW), linear("fc", 30, 20, **NARROW)
    found = report(fits, PRODUCT, RELU, large, unknown={"sort": 0.25})
    assert found.coverage == 600 / (600 + 500 + 20_000)
    assert found.joules.flags == ("incomplete coverage", "unknown operators")
    assert found.joules.value == pytest.approx(600e-9)
    assert found.assumptions[0] == "dense"
    assert list(found.assumptions[-3:]) == [
        "not described: matmul of 'attention', 500 MACs",
        "does not fit the chip: 'large', 20000 MACs: 20000 weights and there is room for 1000",
        "unknown operator: sort, 25.00% of outputs",
    ]


def test_notes_of_layers_stand_in_the_report():
    assert report(linear("fc", 30, 20, **NARROW)).assumptions == ("dense",)
    twice = msgspec.structs.replace(linear("fc", 30, 20, **NARROW), calls=2)
    assert report(twice).assumptions == ("dense", "seen twice")


@pytest.mark.parametrize("bits", [{"weight_bits": 17}, {"activation_bits": 32}])
def test_wider_data_is_said_to_run_at_the_native_width(bits):
    found = report(linear("fc", 30, 20, **{**NARROW, **bits}))
    assert found.assumptions == ("dense", "wider data is run as the accelerator's native 16-bit fixed point")


@pytest.mark.parametrize("operations", [(), (RELU,), (PRODUCT,), (linear("large", 200, 100),)])
def test_without_a_layer_that_is_described_the_joules_are_unknown_and_not_zero(operations):
    found = report(*operations)
    assert (found.joules.value, found.coverage, found.layers) == (None, 0.0, ())
    assert found.joules.reason == "the workload has no layer that the model describes"
    assert found.joules.flags == ()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_the_joules_are_the_sum_of_all_parts_of_all_layers(sizes):
    found = report(*(linear(f"fc{place}", size, 10) for place, size in enumerate(sizes)))
    parts = [joules for layer in found.layers for joules in layer.joules.values()]
    assert found.joules.value == pytest.approx(math.fsum(parts))
    assert found.joules.value == pytest.approx(1e-8 * sum(sizes))
    assert found.coverage == 1.0


@pytest.mark.parametrize(("inputs", "batch_size"), [(0, 1), (1, 0), (-1, 4)])
def test_a_workload_without_inputs_or_rows_is_an_error(inputs, batch_size):
    work = Workload(inputs=inputs, batch_size=batch_size, operations=())
    with pytest.raises(ValueError, match=f"^need inputs and a batch size of at least 1: {inputs}, {batch_size}$"):
        check_inputs(work)
    with pytest.raises(ValueError, match="at least 1"):
        described(work, nanojoule_a_mac, where="the chip")


def test_one_input_in_a_batch_of_one_is_enough():
    check_inputs(Workload(inputs=1, batch_size=1, operations=()))


def test_shapes_that_contradict_each_other_are_an_error():
    with pytest.raises(ValueError, match=r"'c': shapes give an output of \(4, 6, 6\)"):
        report(msgspec.structs.replace(conv("c", 3, 8, 4, 3), output_shape=(4, 7, 7)))


def test_only_what_is_costed_can_be_too_wide():
    narrow = linear("fc", 30, 20, **NARROW)
    assert not any("wider data" in note for note in report(narrow, RELU).assumptions)
    assert any("wider data" in note for note in report(linear("fc", 30, 20), RELU).assumptions)
