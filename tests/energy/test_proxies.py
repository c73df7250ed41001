"""Proxies against counts done by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.energy.proxies import proxies
from joulemark.workloads.workload import Operation, Workload

CONV = Operation(
    layer="conv",
    operator="conv",
    input_shape=(1, 6, 6),  # 36 elements
    output_shape=(2, 4, 4),  # 32 elements
    weight_shape=(2, 1, 3, 3),  # 18 weights
    rows=10,
    calls=3,  # 10 inputs in batches of 4: 4 + 4 + 2
    macs=10 * 32 * 9,
    weight_bits=8,
    activation_bits=16,
)
RELU = Operation(layer="relu", operator="relu", input_shape=(2, 4, 4), output_shape=(2, 4, 4), rows=10, calls=3, macs=0)
HEAD = Operation(  # an exit that 5 of 10 inputs reach
    layer="head",
    operator="linear",
    input_shape=(32,),
    output_shape=(10,),
    weight_shape=(10, 32),  # 320 weights
    rows=5,
    calls=2,
    macs=5 * 320,
    weight_bits=1,
)
WORKLOAD = Workload(inputs=10, batch_size=4, operations=(CONV, RELU, HEAD))


def test_proxies_counted_by_hand():
    found = proxies(WORKLOAD, parameters=350, nonzeros=300)
    assert found == {
        "parameters": 350.0,
        "nonzero_parameters": 300.0,
        "macs_per_input": (10 * 288 + 5 * 320) / 10,
        "weight_bytes": 18 + 320 / 8,
        # conv: 68 elements of 2 bytes a row, 18 bytes a call; relu: 64 of 4 bytes; head: 42 of 4 bytes, 40 a call
        "bytes_moved_per_input": (10 * 136 + 3 * 18 + 10 * 256 + 5 * 168 + 2 * 40) / 10,
        "peak_memory_bytes": 58 + 4 * 256,  # relu holds most: 64 elements of 4 bytes for 4 rows
    }
    assert all(isinstance(value, float) for value in found.values())


def test_a_layer_that_runs_in_two_shapes_has_its_weights_once():
    wide = Operation(
        layer="conv",
        operator="conv",
        input_shape=(1, 12, 12),
        output_shape=(2, 10, 10),
        weight_shape=(2, 1, 3, 3),
        rows=1,
        calls=1,
        macs=1800,
        weight_bits=8,
    )
    found = proxies(Workload(inputs=10, batch_size=4, operations=(CONV, wide)), parameters=20, nonzeros=20)
    assert found["weight_bytes"] == 18


@given(batch_size=st.integers(1, 64), batches=st.integers(1, 5))
def test_only_the_weights_are_shared_by_a_batch(batch_size, batches):
    operation = Operation(
        layer="fc",
        operator="linear",
        input_shape=(4,),
        output_shape=(2,),
        weight_shape=(2, 4),
        rows=batch_size * batches,
        calls=batches,
        macs=8 * batch_size * batches,
    )
    workload = Workload(inputs=batch_size * batches, batch_size=batch_size, operations=(operation,))
    found = proxies(workload, parameters=10, nonzeros=10)
    assert found["macs_per_input"] == 8
    assert found["bytes_moved_per_input"] == pytest.approx(24 + 32 / batch_size)
    assert found["peak_memory_bytes"] == 32 + 24 * batch_size


def test_a_net_without_operations_moves_nothing():
    found = proxies(Workload(inputs=1, batch_size=1, operations=()), parameters=0, nonzeros=0)
    assert set(found.values()) == {0.0}


def test_a_workload_without_inputs_is_an_error():
    with pytest.raises(ValueError, match="without inputs"):
        proxies(Workload(inputs=0, batch_size=1, operations=()), parameters=1, nonzeros=1)
