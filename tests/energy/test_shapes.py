"""The convolution that an operation is, against torch's own outputs and counts, and places counted one by one."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import conv, linear
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from joulemark.energy.shapes import Shape, layer_shape
from joulemark.workloads.workload import Operation

pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


def sized(**more) -> Shape:
    return Shape(**{"channels": 1, "filters": 1, "height": 9, "width": 9, **more})


@given(size=st.integers(5, 20), taps=st.integers(1, 3), stride=st.integers(1, 3), dilation=st.integers(1, 2))
def test_outputs_are_the_places_where_the_spread_taps_fit(size, taps, stride, dilation):
    places = len(range(0, size - dilation * (taps - 1), stride))
    tall = sized(height=size, kernel_height=taps, stride_height=stride, dilation_height=dilation)
    wide = sized(width=size, kernel_width=taps, stride_width=stride, dilation_width=dilation)
    assert (tall.out_height, tall.out_width) == (places, 9)
    assert (wide.out_height, wide.out_width) == (9, places)


@given(taps=st.integers(1, 3), stride=st.integers(1, 3), dilation=st.integers(1, 3), columns=st.integers(1, 6))
def test_a_strip_reaches_from_the_first_tap_to_the_last(taps, stride, dilation, columns):
    shape = sized(kernel_width=taps, stride_width=stride, dilation_width=dilation, kernel_height=2, stride_height=2)
    touched = {column * stride + tap * dilation for column in range(columns) for tap in range(taps)}
    assert shape.strip(columns) == max(touched) + 1
    assert shape.strip(np.array([columns, 1])).tolist() == [shape.strip(columns), shape.strip(1)]


@settings(max_examples=50, deadline=None)
@given(
    groups=st.integers(1, 3), channels=st.integers(1, 3), filters=st.integers(1, 3), kernel=pair, stride=pair,
    dilation=pair, padding=st.tuples(st.integers(0, 2), st.integers(0, 2)), size=st.tuples(*[st.integers(7, 12)] * 2),
)  # fmt: skip
def test_a_convolution_is_torchs(groups, channels, filters, kernel, stride, dilation, padding, size):
    with torch.device("meta"):
        layer = nn.Conv2d(
            groups * channels, groups * filters, kernel, stride, padding, dilation, groups=groups, bias=False
        )
        x = torch.zeros(1, groups * channels, *size)
    with FlopCounterMode(display=False) as counter:
        y = layer(x)
    operation = Operation(
        layer="c", operator="conv", input_shape=tuple(x.shape[1:]), output_shape=tuple(y.shape[1:]),
        weight_shape=tuple(layer.weight.shape), stride=stride, padding=padding, dilation=dilation, groups=groups,
        rows=1, calls=1, macs=counter.get_total_flops() // 2,
    )  # fmt: skip
    shape = layer_shape(operation)
    assert (shape.out_height, shape.out_width) == y.shape[2:]
    assert (shape.weights, shape.outputs) == (layer.weight.numel(), y.numel())
    assert shape.inputs == nn.functional.pad(x, (padding[1], padding[1], padding[0], padding[0])).numel()
    assert shape.macs == operation.macs


def test_layer_shapes():
    shapes = {"input_shape": (6, 128), "output_shape": (12, 63), "weight_shape": (12, 3, 5)}
    along = {"stride": (2,), "padding": (1,), "dilation": (1,), "groups": 2}
    signal = Operation(layer="c", operator="conv", **shapes, **along, rows=1, calls=1, macs=1)
    assert layer_shape(signal) == Shape(
        groups=2, channels=3, filters=6, height=1, width=130, kernel_width=5, stride_width=2
    )
    depthwise = layer_shape(conv("d", 32, 14, 32, 3, padding=1, groups=32))
    assert (depthwise.groups, depthwise.channels, depthwise.filters, depthwise.height) == (32, 1, 1, 16)
    assert layer_shape(linear("fc", 7, 5)) == Shape(channels=7, filters=5, height=1, width=1)
    tokens = msgspec.structs.replace(linear("fc", 7, 5), input_shape=(9, 7), output_shape=(9, 5))
    assert layer_shape(tokens) == Shape(channels=7, filters=5, height=1, width=9)
    assert layer_shape(msgspec.structs.replace(signal, operator="conv_transpose")) is None


def test_shapes_that_contradict_each_other_are_an_error():
    broken = msgspec.structs.replace(conv("c", 3, 8, 4, 3), output_shape=(4, 7, 7))
    with pytest.raises(ValueError, match=r"'c': shapes give an output of \(4, 6, 6\)"):
        layer_shape(broken)


def test_without_stride_padding_and_dilation_they_are_those_of_a_plain_convolution():
    bare = Operation(
        layer="c", operator="conv", input_shape=(2, 6, 7), output_shape=(4, 4, 6), weight_shape=(4, 2, 3, 2), rows=1,
        calls=1, macs=1,
    )  # fmt: skip
    expected = Shape(channels=2, filters=4, height=6, width=7, kernel_height=3, kernel_width=2)
    assert layer_shape(bare) == expected


@pytest.mark.parametrize("operator", ["relu", "max_pool", "batch_norm", "matmul"])
def test_what_is_neither_convolution_nor_linear_is_none(operator):
    assert layer_shape(msgspec.structs.replace(conv("c", 3, 8, 4, 3), operator=operator)) is None


def test_a_layer_of_unknown_weights_and_a_convolution_of_volumes_are_none():
    assert layer_shape(msgspec.structs.replace(linear("fc", 7, 5), weight_shape=None)) is None
    volume = Operation(
        layer="v", operator="conv", input_shape=(1, 4, 4, 4), output_shape=(2, 2, 2, 2), weight_shape=(2, 1, 3, 3, 3),
        rows=1, calls=1, macs=1,
    )  # fmt: skip
    assert layer_shape(volume) is None


def test_a_kernel_larger_than_its_input_is_an_error():
    with pytest.raises(ValueError, match="'c': shapes give an output of"):
        layer_shape(msgspec.structs.replace(conv("c", 3, 8, 4, 3), input_shape=(3, 2, 2)))
