"""No model of an accelerator moves less through DRAM than weights once a batch, inputs once and outputs once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.energy.accelerator import Accelerator, accelergy, horowitz
from joulemark.energy.row_stationary import Costs
from joulemark.energy.systolic import Systolic
from joulemark.workloads.workload import Operation, Workload


def costs_of(model):
    dram = model.hardware.dram if isinstance(model, Systolic) else model.description.dram
    unit = (model.hardware if isinstance(model, Systolic) else model.description).unit_joules
    return dram if isinstance(dram, Costs) else Costs.same(dram), unit


@st.composite
def convolutions(draw):
    groups, kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    channels, filters = draw(st.integers(1, 40)), draw(st.integers(1, 60))
    size, padding = draw(st.integers(5, 40)), draw(st.integers(0, 2))
    out = (size + 2 * padding - kernel) // stride + 1
    shape = (filters * groups, out, out)
    return Operation(
        layer="c", operator="conv", input_shape=(channels * groups, size, size), output_shape=shape,
        weight_shape=(filters * groups, channels, kernel, kernel), stride=(stride, stride), padding=(padding, padding),
        dilation=(1, 1), groups=groups, rows=1, calls=1,
        macs=filters * groups * out * out * channels * kernel * kernel, weight_bits=16, activation_bits=16,
    )  # fmt: skip


@pytest.mark.parametrize("model", [Accelerator(), horowitz(), accelergy(), Systolic()], ids=lambda m: m.name)
@settings(max_examples=40, deadline=None)
@given(operation=convolutions(), batch_size=st.integers(1, 20))
def test_traffic_is_never_below_compulsory(model, operation, batch_size):
    report = model.estimate(Workload(inputs=1, batch_size=batch_size, operations=(operation,)))
    if not report.layers:
        return
    costs, unit = costs_of(model)
    moved = {operand: parts["DRAM"] / unit for operand, parts in report.layers[0].operands.items()}
    (filters, channels, kernel, _), (_, size, _) = operation.weight_shape, operation.input_shape
    out, stride, padding = operation.output_shape[1], operation.stride[0], operation.padding[0]
    read = {stride * place + tap - padding for place in range(out) for tap in range(kernel)} & set(range(size))
    weights = filters * channels * kernel**2
    slack = 1 - 1e-9
    assert moved["weights"] >= costs.weights * weights / batch_size * slack
    assert moved["inputs"] >= costs.inputs * channels * operation.groups * len(read) ** 2 * slack
    assert moved["outputs"] >= costs.sums * filters * out**2 * slack
    assert report.layers[0].joules["MAC"] > 0
