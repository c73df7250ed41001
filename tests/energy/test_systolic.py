"""The closed form against the same formula on real unfolded tensors, hand counts and its own promises."""

from __future__ import annotations

import math

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import alexnet, conv, linear

from joulemark.energy.row_stationary import NoMapping
from joulemark.energy.shapes import Shape, layer_shape
from joulemark.energy.systolic import Hardware, Systolic, Zeros, convolution, multiplied, unfolded_inputs
from joulemark.record import Kind
from joulemark.workloads.workload import Workload

CHIP = Hardware.shipped()


def on_tensors(operation, x_mask, w_mask):
    """Units of one image of a square convolution, written from sa_energy_model.py on masks of zeros and ones."""
    (filters, _, taps, _), stride, padding = operation.weight_shape, operation.stride[0], operation.padding[0]
    unfolded = torch.nn.functional.unfold(x_mask[None], taps, padding=padding, stride=stride)[0]
    places, w, x, u = unfolded.shape[1], float(w_mask.sum()), float(x_mask.sum()), float(unfolded.sum())
    a_group = filters / operation.groups
    passes = math.ceil(places / 12)
    row = x / x_mask.shape[1]
    rows = 51_200 // row
    twice = row * (taps - stride) * max(0.0, math.ceil(x_mask.shape[1] / (rows - taps + stride)) - 1)
    macs = torch.nn.functional.conv2d(x_mask[None], w_mask, None, stride, padding, 1, operation.groups).sum()
    return {
        "weights": 6 * passes * w + places * w + 200 * (passes * max(0.0, w - 4096) + min(4096, w)),
        "inputs": 6 * u * math.ceil(a_group / 14) + u * a_group + 200 * (x + twice),
        "outputs": 200 * places * filters + 2 * float(macs),
        "MAC": float(macs),
    }


LAYERS = [
    conv("small", 3, 9, 4, 3, padding=1),
    conv("strided", 4, 11, 30, 3, stride=2),
    conv("grouped", 6, 8, 8, 5, padding=2, groups=2),
    conv("wide", 64, 20, 160, 3, padding=1),  # 92,160 weights: more than their cache
    conv("tall", 30, 200, 2, 5, padding=1),  # 1,200,000 inputs: loaded in strips of 8 rows
]


@pytest.mark.parametrize("density", [1.0, 0.5])
@pytest.mark.parametrize("operation", LAYERS, ids=lambda o: o.layer)
def test_it_agrees_with_the_formula_on_tensors(operation, density):
    random = torch.Generator().manual_seed(0)
    x = (torch.rand(operation.input_shape, generator=random) < density).float()
    w = (torch.rand(operation.weight_shape, generator=random) < density).float()
    expected = on_tensors(operation, x, w)
    shape = layer_shape(operation)
    inside = multiplied(shape, operation.padding)
    measured = msgspec.structs.replace(
        operation,
        weight_density=float(w.mean()),
        activation_density=float(x.mean()),
        joint_density=expected["MAC"] / inside,
    )
    (layer,) = Systolic().estimate(Workload(inputs=1, batch_size=1, operations=(measured,))).layers
    found = {operand: sum(parts.values()) / CHIP.unit_joules for operand, parts in layer.operands.items()}
    found["MAC"] = layer.joules["MAC"] / CHIP.unit_joules
    assert found == pytest.approx(expected, rel=1e-9 if density == 1.0 else 0.03)  # zeros near the edge are not even


def test_a_linear_layer_counted_by_hand():
    # 60,000 inputs are more than the cache of 51,200: the rest is read for each of ceil(30 / 14) = 3 passes.
    layer = Systolic().estimate(Workload(inputs=1, batch_size=1, operations=(linear("fc", 60_000, 30),))).layers[0]
    found = {operand: {part: j / CHIP.unit_joules for part, j in s.items()} for operand, s in layer.operands.items()}
    weights = 60_000 * 30
    assert found["weights"] == pytest.approx({"DRAM": 200 * weights, "buffer": 6 * weights, "register file": weights})
    assert found["inputs"] == pytest.approx(
        {"DRAM": 200 * (51_200 + 3 * 8_800), "buffer": 6 * 3 * 60_000, "register file": 30 * 60_000}
    )
    assert found["outputs"] == pytest.approx({"DRAM": 200 * 30, "register file": 2 * weights})
    assert layer.joules["MAC"] / CHIP.unit_joules == pytest.approx(weights)


def test_each_row_of_a_linear_layer_along_an_axis_is_computed_alone():
    one, nine = linear("fc", 50, 30), linear("fc", 50, 30)
    nine = msgspec.structs.replace(nine, input_shape=(9, 50), output_shape=(9, 30), macs=9 * 1500)
    joules = [Systolic().estimate(Workload(inputs=1, batch_size=1, operations=(o,))).joules.value for o in (one, nine)]
    assert joules[1] == pytest.approx(9 * joules[0])


@given(
    padding=st.integers(0, 3), size=st.integers(4, 12), taps=st.integers(1, 4), stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
)  # fmt: skip
@settings(deadline=None)
def test_unfolded_inputs_are_those_of_torch(padding, size, taps, stride, dilation):
    if size + 2 * padding < dilation * (taps - 1) + 1:
        return
    whole = size + 2 * padding
    shape = Shape(
        channels=2, filters=1, height=whole, width=whole, kernel_height=taps, kernel_width=taps,
        stride_height=stride, stride_width=stride, dilation_height=dilation, dilation_width=dilation,
    )  # fmt: skip
    unfolded = torch.nn.functional.unfold(torch.ones(1, 2, size, size), taps, dilation, padding, stride)
    assert unfolded_inputs(shape, (padding, padding)) == int(unfolded.sum())


def test_the_batch_changes_nothing():
    one, many = (Systolic().estimate(Workload(inputs=1, batch_size=b, operations=alexnet())) for b in (1, 48))
    assert one.joules.value == many.joules.value
    assert any("computed alone" in line for line in one.assumptions)


def test_bits_and_rows_scale_it():
    def joules(**more):
        operation = conv("c", 8, 10, 16, 3, padding=1, **more)
        return Systolic().estimate(Workload(inputs=4, batch_size=1, operations=(operation,))).layers[0]

    whole = joules(rows=4)
    half = joules(rows=2)
    assert sum(half.joules.values()) == pytest.approx(sum(whole.joules.values()) / 2)
    narrow = joules(rows=4, weight_bits=8, activation_bits=4)
    assert narrow.joules["MAC"] == pytest.approx(whole.joules["MAC"] / 8)
    assert narrow.operands["weights"]["buffer"] == pytest.approx(whole.operands["weights"]["buffer"] / 2)
    assert narrow.operands["outputs"]["DRAM"] == pytest.approx(whole.operands["outputs"]["DRAM"] / 4)
    assert narrow.operands["outputs"]["register file"] == whole.operands["outputs"]["register file"]


def test_a_layer_whose_rows_do_not_fit_is_named_with_the_reason():
    huge = conv("huge", 512, 64, 4, 3, padding=1)
    with pytest.raises(NoMapping, match=r"98,304 words and the input cache holds 51,200"):
        convolution(layer_shape(huge), (1, 1), Zeros(), CHIP)
    report = Systolic().estimate(Workload(inputs=1, batch_size=1, operations=(huge, linear("fc", 50, 30))))
    assert report.coverage == 1500 / (1500 + huge.macs)
    assert any("does not fit the array: 'huge'" in line for line in report.assumptions)


def test_its_report_adds_up():
    report = Systolic().estimate(Workload(inputs=1, batch_size=1, operations=alexnet()))
    assert (report.model, report.joules.kind, report.coverage) == ("systolic", Kind.MODELLED, 1.0)
    for layer in report.layers:
        assert set(layer.joules) == {"DRAM", "buffer", "register file", "MAC"}
        split = math.fsum(j for parts in layer.operands.values() for j in parts.values())
        assert split + layer.joules["MAC"] == pytest.approx(sum(layer.joules.values()))
