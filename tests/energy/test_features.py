"""Features against rows worked out by hand from the released code's terms, and operations turned into layers."""

from __future__ import annotations

from math import comb, log2, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.energy.features import ELEMENTWISE, Layer, _monomials, features, layer_of, one_group, own_terms
from joulemark.workloads.workload import Operation

# 2 rows of 3 x 8 x 10, four 5 x 3 filters without padding: 4 x 4 x 8.
CONV = Layer(type="conv", batch=2, input=(3, 8, 10), output=(4, 4, 8), kernel=(5, 3))
FC = Layer(type="fc", batch=5, input=(7,), output=(11,))
POOL = Layer(type="pool", batch=2, input=(6, 9, 8), output=(6, 4, 3), kernel=(3, 2), stride=(2, 2))


def terms(x: list[float], degree: int) -> list[float]:
    """The nested loops of the released code."""
    places = range(len(x))
    found = x + [x[j] * x[k] for j in places for k in places[j:]]
    if degree == 3:
        found += [x[j] * x[k] * x[m] for j in places for k in places[j:] for m in places[k:]]
    return found


def test_a_convolution_by_hand():
    row = features(CONV, "seconds")
    x = [2.0, 4.0, 8.0, 3.0, 3.0, 4.0, 8.0]  # N, H', W', S, C, M, H
    assert row[:-8] == terms(x, 3)
    assert row[-8:] == [
        4 * 8 * 4 * 45.0,  # operations of one row: 45 taps a pixel
        2 * 4 * 8 * 4 * 45.0,
        2 * 4 * 8 * 45.0,  # of one filter
        2 * 4 * 8 * 4.0,  # output
        5 * 3 * 3 * 4.0,  # filters
        2 * 8 * 10 * 3.0,  # input
        2 * 10 * 3.0,
        2 * 8 * 3.0,
    ]
    assert len(row) == 7 + 28 + 84 + 8
    watts = features(CONV, "watts")
    assert watts == pytest.approx([*terms([*x, *map(log2, x)], 2), *row[-8:]])
    assert len(watts) == 14 + 105 + 8


def test_a_fully_connected_layer_by_hand():
    x = [5.0, 11.0, 1.0, 1.0, 7.0]  # N, out, H, W, in
    assert features(FC, "seconds") == [*terms(x, 2), 5 * 11 * 7.0]
    assert features(FC, "watts") == pytest.approx(terms([*x, *map(log2, x)], 2))
    assert (len(features(FC, "seconds")), len(features(FC, "watts"))) == (5 + 15 + 1, 10 + 55)


def test_a_pooling_by_hand():
    x = [2.0, 4.0, 3.0, 6.0, 3.0, 9.0]  # N, H', W', C, R, H
    special = [2 * 4 * 3 * 6 * 3 * 2.0, 2 * 4 * 3 * 6.0, 2 * 9 * 8 * 6.0]
    assert features(POOL, "seconds") == [*terms(x, 3), *special]
    assert features(POOL, "watts") == pytest.approx([*terms([*x, *map(log2, x)], 2), *special])


@given(st.lists(st.floats(0.5, 9.0), min_size=1, max_size=7), st.integers(1, 3))
def test_monomials_are_as_many_as_combinations_with_repetition(x, degree):
    found = _monomials(x, degree)
    assert len(found) == comb(len(x) + degree, degree) - 1
    assert found[: len(x)] == x
    assert found[-1] == pytest.approx(x[-1] ** degree)


def test_macs_and_weights():
    assert (CONV.macs, CONV.weights) == (2 * 4 * 8 * 4 * 45, 180)
    assert (FC.macs, FC.weights) == (385, 77)
    assert (POOL.macs, POOL.weights, POOL.moved) == (0, 0, 2 * 6 * 9 * 8)
    assert Layer(type="conv", batch=1, input=(8, 4, 4), output=(8, 4, 4), groups=4).macs == 8 * 16 * 2


def test_a_group_is_a_smaller_convolution():
    grouped = Layer(type="conv", batch=1, input=(8, 4, 4), output=(6, 4, 4), groups=2)
    half = Layer(type="conv", batch=1, input=(4, 4, 4), output=(3, 4, 4))
    assert one_group(grouped) == half
    assert one_group(half) is half


def test_terms_of_ours_by_hand():
    assert own_terms(CONV) == [0.0] * 5
    pointwise = Layer(type="conv", batch=2, input=(8, 300, 300), output=(64, 300, 300))
    output, operations, before = 2 * 64 * 300**2, 2 * 8 * 64 * 300**2, 2 * 8 * 300**2
    assert own_terms(pointwise) == [float(output), 0.0, float(operations), float(output), float(before)]  # 46 MB
    back = Layer(type="conv", batch=2, input=(64, 300, 300), output=(8, 300, 300))
    assert own_terms(back)[:2] == [0.0, float(output)]
    assert own_terms(POOL) == [0.0, 0.0]
    assert own_terms(FC) == [0.0, 0.0, 77.0]
    assert own_terms(Layer(type="fc", batch=1, input=(7,), output=(11,))) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_element_wise_features_count_elements_beyond_each_knot(kind):
    one = Layer(type=kind, batch=2, input=(16, 256, 256), output=(16, 256, 256))  # 2^21 elements
    assert features(one, "seconds") == [2.0**21, 2.0**21 - 2**17, 2.0**21 - 2**20, 0.0, 32.0]


def operation(operator: str, before: tuple[int, ...], after: tuple[int, ...], **more) -> Operation:
    return Operation(layer="x", operator=operator, input_shape=before, output_shape=after, rows=1, calls=1, **more)


def test_operations_become_layers():
    conv = operation(
        "conv", (4, 8, 8), (6, 4, 4), weight_shape=(6, 2, 3, 3), stride=(2, 2), padding=(1, 1), dilation=(1, 1),
        groups=2, macs=1,
    )  # fmt: skip
    assert layer_of(conv, 3) == Layer(
        type="conv", batch=3, input=(4, 8, 8), output=(6, 4, 4), kernel=(3, 3), stride=(2, 2), padding=(1, 1), groups=2
    )
    linear = operation("linear", (5, 7), (5, 2), weight_shape=(2, 7), macs=70)  # applied to five rows of each input
    assert layer_of(linear, 3) == Layer(type="fc", batch=15, input=(7,), output=(2,))
    pool = operation("max_pool", (2, 6, 6), (2, 3, 3), kernel=(2, 2), stride=(2, 2), padding=(0, 0), macs=0)
    assert layer_of(pool, 1) == Layer(
        type="pool", batch=1, input=(2, 6, 6), output=(2, 3, 3), kernel=(2, 2), stride=(2, 2)
    )
    signal = operation("conv", (4, 9), (6, 5), weight_shape=(6, 4, 3), stride=(2,), padding=(1,), dilation=(1,), macs=1)
    assert layer_of(signal, 2) == Layer(
        type="conv", batch=2, input=(4, 1, 9), output=(6, 1, 5), kernel=(1, 3), stride=(1, 2), padding=(0, 1)
    )
    assert layer_of(operation("max_pool", (2, 6), (2, 3), kernel=(2,), stride=(2,), macs=0), 1) == Layer(
        type="pool", batch=1, input=(2, 1, 6), output=(2, 1, 3), kernel=(1, 2), stride=(1, 2)
    )
    assert layer_of(operation("hardtanh", (3,), (3,), macs=0), 2).type == "relu"
    assert layer_of(operation("_softmax", (3,), (3,), macs=0), 2).type == "softmax"


def test_what_no_fit_describes_is_no_layer():
    many = operation("conv", (8, 8, 8), (8, 8, 8), weight_shape=(8, 1, 3, 3), groups=8, macs=1)
    solid = operation("conv", (8, 8, 8, 8), (8, 8, 8, 8), weight_shape=(8, 8, 3, 3, 3), macs=1)
    up = operation("conv_transpose", (8, 8, 8), (8, 16, 16), weight_shape=(8, 8, 2, 2), macs=1)
    product = operation("matmul", (4, 4), (4, 4), macs=64)
    pool = operation("max_pool", (2, 6, 6), (2, 3, 3), macs=0)  # of a window that nobody recorded
    assert [layer_of(one, 1) for one in (many, solid, up, product, pool)] == [None] * 5


def test_an_unknown_type_has_no_features():
    with pytest.raises(ValueError, match="'cell'"):
        features(Layer(type="cell", batch=1, input=(1,), output=(1,)), "seconds")


def test_kernels_are_read_from_a_real_run():
    import torch
    from torch import nn

    from joulemark.workloads.recording import record

    net = nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d((2, 1), padding=(1, 0)))
    work = record(net, torch.zeros(1, 2, 8, 8))
    assert [(o.operator, o.kernel, o.stride, o.padding) for o in work.operations] == [
        ("max_pool", (3, 3), (2, 2), (0, 0)),
        ("avg_pool2d", (2, 1), (2, 1), (1, 0)),
    ]
    assert [prod(o.output_shape) for o in work.operations] == [2 * 4 * 4, 2 * 3 * 4]


def test_joined_channels_are_counted_and_joined_rows_are_not():
    import torch
    from torch import Tensor, nn

    from joulemark.workloads.recording import record

    class Joins(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([torch.cat([x, x], 1), torch.cat([x, x], 1)])[: len(x)]

    work = record(Joins(), torch.ones(3, 2, 4, 4), batch_size=3)
    assert [(o.operator, o.output_shape, o.rows, o.calls) for o in work.operations] == [("cat", (4, 4, 4), 6, 2)]
