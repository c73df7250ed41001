"""A workload's MACs per input are a mean over the inputs, whatever each operation was run on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.workloads.workload import Operation, Workload


def operation(macs: int, **more) -> Operation:
    stated = {"layer": "a", "operator": "conv", "input_shape": (1,), "output_shape": (1,), "rows": 4, "calls": 2}
    return Operation(**{**stated, **more}, macs=macs)


def test_macs_per_input_is_a_mean_over_inputs():
    work = Workload(inputs=4, batch_size=2, operations=(operation(100), operation(30)))
    assert work.macs_per_input == 32.5


def test_a_net_of_no_operation_executes_no_macs():
    assert Workload(inputs=4, batch_size=2, operations=()).macs_per_input == 0.0


@given(st.lists(st.integers(0, 10**12), max_size=6), st.integers(1, 1000), st.integers(1, 64))
def test_the_mean_times_the_inputs_is_the_sum(macs, inputs, batch_size):
    work = Workload(inputs=inputs, batch_size=batch_size, operations=tuple(map(operation, macs)))
    assert work.macs_per_input * inputs == pytest.approx(sum(macs))


def test_what_is_not_said_of_an_operation_is_dense_in_32_bits_and_without_weights():
    one = operation(9)
    assert (one.weight_bits, one.activation_bits, one.groups) == (32, 32, 1)
    assert (one.weight_density, one.activation_density, one.joint_density) == (1.0, 1.0, 1.0)
    assert (one.weight_shape, one.weight, one.kernel, one.stride) == (None, None, (), ())


def test_an_unrecorded_peak_is_none_and_never_zero():
    assert Workload(inputs=1, batch_size=1, operations=()).peak_activation_bytes is None


def test_operations_of_the_same_numbers_are_one():
    assert operation(9) == operation(9) != operation(9, weight_density=0.5)
    assert len({operation(9), operation(9), operation(8)}) == 2
    with pytest.raises(AttributeError):
        operation(9).macs = 3
