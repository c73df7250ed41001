"""The microcontroller model against cycles counted by hand, and what fits."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.energy.microcontroller import Constants, Description, Microcontroller, stored_bits
from joulemark.workloads.workload import Operation, Workload

JOULES = 219e-6 / 1e6 * 3.0  # 219 uA/MHz at 3 V


def conv(**more):
    settings = {
        "layer": "conv", "operator": "conv", "input_shape": (1, 6, 6), "output_shape": (2, 4, 4),
        "weight_shape": (2, 1, 3, 3), "rows": 1, "calls": 1, "macs": 288,
    }  # fmt: skip
    return Operation(**{**settings, **more})


RELU = Operation(layer="relu", operator="relu", input_shape=(2, 4, 4), output_shape=(2, 4, 4), rows=1, calls=1, macs=0)
NORM = Operation(
    layer="bn", operator="batch_norm", input_shape=(2, 4, 4), output_shape=(2, 4, 4), rows=1, calls=1, macs=0
)


def workload(*operations, inputs=1, **more):
    return Workload(inputs=inputs, batch_size=1, operations=operations, **more)


def test_a_cycle_costs_657_picojoules():
    assert Microcontroller().joules_per_cycle == pytest.approx(657e-12)


def test_cycles_counted_by_hand():
    work = workload(conv(), RELU, NORM)
    demand = Microcontroller().demand(work)
    # 288 MACs: weight 2 + 2, input 2, MLA 2, loop (1 + 3) / 4. 32 outputs: SMULL 4, round 1, saturate 1, store 2.
    # ReLU: 32 x (load 2 + 1 + store 2 + loop 1). Batch norm is folded.
    assert demand.cycles == 288 * (4 + 2 + 2 + 1) + 32 * 8 + 32 * 6
    assert demand.seconds == pytest.approx(demand.cycles / 48e6)
    assert (demand.flash_reads, demand.ram_reads, demand.ram_writes) == (288, 288 + 32, 32 + 32)
    report = Microcontroller().estimate(work)
    assert report.joules.value == pytest.approx(demand.cycles * JOULES)
    # Least: loads behind each other, no waits, the quickest branch. Most: 5 cycles for SMULL, 4 for a branch.
    least = 288 * (1 + 0 + 1 + 2 + (1 + 2) / 4) + 32 * (3 + 2 + 1) + 32 * (1 + 1 + 1 + (1 + 2) / 4)
    most = 288 * (4 + 2 + 2 + (1 + 4) / 4) + 32 * (5 + 2 + 2) + 32 * (2 + 1 + 2 + (1 + 4) / 4)
    assert (report.joules.low, report.joules.high) == (pytest.approx(least * JOULES), pytest.approx(most * JOULES))
    assert "bounds" in report.joules.flags
    assert {one.layer for one in report.layers} == {"conv", "relu"}
    assert report.coverage == 1.0


@given(inputs=st.integers(1, 20), reached=st.integers(0, 20), macs=st.integers(0, 10**6))
def test_layers_sum_to_the_net_between_its_bounds_and_rows_that_left_are_free(inputs, reached, macs):
    rows = min(reached, inputs)
    report = Microcontroller().estimate(workload(conv(rows=rows, macs=macs * rows), RELU, inputs=inputs))
    total = report.joules
    assert total.low <= total.value <= total.high
    assert total.value == pytest.approx(sum(sum(one.joules.values()) for one in report.layers))
    everyone = Microcontroller().estimate(workload(conv(rows=inputs, macs=macs * inputs), RELU, inputs=inputs))
    assert total.value <= everyone.joules.value * (1 + 1e-12)


def test_what_fits_and_what_does_not():
    fits = Microcontroller().demand(workload(conv(), peak_activation_bytes=4 * 68.0))
    assert (fits.flash_bytes, fits.ram_bytes, fits.misfit) == (18, 68, None)  # floats are bytes here
    wide = conv(weight_bits=16, activation_bits=16)
    assert Microcontroller().demand(workload(wide)).flash_bytes == 36
    large = conv(weight_shape=(2048, 1024), operator="linear", input_shape=(1024,), output_shape=(2048,), macs=2**21)
    report = Microcontroller().estimate(workload(large, peak_activation_bytes=4 * 200 * 1024.0))
    assert "does not fit" in report.joules.flags
    told = next(one for one in report.assumptions if one.startswith("does not fit"))
    assert "flash holds 1,024 KiB, the net needs 2,048 KiB and RAM holds 128 KiB, the net needs 200 KiB" in told
    assert report.joules.value  # costed as if it did


def test_a_batch_shares_nothing():
    one = workload(conv(), peak_activation_bytes=400.0)
    four = Workload(inputs=4, batch_size=4, operations=(conv(rows=4, macs=4 * 288),), peak_activation_bytes=1600.0)
    model = Microcontroller()
    assert model.demand(one) == model.demand(four)


def test_every_constant_has_a_source_and_recalled_ones_say_so():
    constants = Description.giant_gecko().constants
    for name in Constants.__struct_fields__:
        assert len(getattr(constants, name).source) > 10
    told = Microcontroller().sources
    (supply,) = [line for line in told if line.startswith("supply")]
    assert "recalled: from memory, not checked" in supply
    (current,) = [line for line in told if line.startswith("run current")]
    assert "Reference Manual" in current


def test_a_description_that_lacks_something_is_refused():
    text = 'name = "x"\ntitle = "x"\n[constants.supply]\nvalue = 3.0\nunit = "V"\nstatus = "seen"\nsource = "s"\n'
    with pytest.raises(msgspec.ValidationError, match="required field"):
        Description.read(text)


def test_numbers_are_stored_in_whole_bytes():
    assert [stored_bits(bits) for bits in (1, 8, 9, 16, 17, 32)] == [8, 8, 16, 16, 8, 8]


def test_nothing_runs_and_no_inputs():
    assert Microcontroller().estimate(workload()).joules.value is None
    with pytest.raises(ValueError, match="at least 1"):
        Microcontroller().estimate(workload(inputs=0))
