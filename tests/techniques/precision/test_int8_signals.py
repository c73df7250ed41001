"""A 1-D convolution in integers, computed again by numpy in integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from joulemark.backends.onnx import OnnxRuntime
from joulemark.nets.net import Net
from joulemark.techniques.precision.int8 import int8
from joulemark.vocabulary import TABLES

STRIDE, DILATION, PADDING, GROUPS = 2, 2, 3, 2


def line() -> nn.Module:
    """One convolution of windows of six channels, with a batch norm that scales and shifts."""
    net = nn.Sequential(
        nn.Conv1d(6, 4, 5, STRIDE, PADDING, DILATION, GROUPS, bias=False), nn.BatchNorm1d(4), nn.Flatten()
    )
    net[1].running_mean.normal_()
    net[1].running_var.uniform_(0.3, 2.0)
    nn.init.normal_(net[1].bias)
    return net


class Calibration:
    def __init__(self, windows: torch.Tensor) -> None:
        self.windows = windows

    def batches(self, split, *, batch_size=64):
        yield self.windows, torch.zeros(len(self.windows))


def test_a_convolution_of_signals_is_that_of_integers(monkeypatch):
    monkeypatch.setitem(TABLES["builder"], "line", f"{__name__}:line")
    net = Net.new("line", (6, 40), seed=0)
    windows = torch.randn(32, 6, 40, generator=torch.Generator().manual_seed(0))
    quantised = int8(net, Calibration(windows), images=32)
    state = {name: tensor.double().numpy() for name, tensor in net.state.items()}
    gain = state["1.weight"] / np.sqrt(state["1.running_var"] + 1e-5)
    weight = state["0.weight"] * gain[:, None, None]
    bias = state["1.bias"] - state["1.running_mean"] * gain

    x = windows.double().numpy()
    step = (x.max() - x.min()) / 255
    zero = round(-x.min() / step)
    integers = np.clip(np.rint(x / step) + zero, 0, 255).astype(np.int64)
    scale = np.abs(weight).max((1, 2)) / 127
    filters = np.rint(weight / scale[:, None, None]).astype(np.int64)
    padded = np.pad(integers, ((0, 0), (0, 0), (PADDING, PADDING)), constant_values=zero) - zero
    places = (40 + 2 * PADDING - DILATION * 4 - 1) // STRIDE + 1
    sums = np.zeros((32, 4, places), np.int64)
    for filter_, place, tap in np.ndindex(4, places, 5):
        first = 3 * (filter_ // (4 // GROUPS))  # of a group's three channels
        read = padded[:, first : first + 3, place * STRIDE + tap * DILATION]
        sums[:, filter_, place] += read @ filters[filter_, :, tap]
    by_hand = sums * (scale * step)[:, None] + bias[:, None]

    (form,) = quantised.formats.values()
    low, high = by_hand.min(), by_hand.max()
    assert form.output == pytest.approx((low, high), rel=0.02)  # outputs of the net: in integers, too
    simulated = quantised.module()(windows).detach().numpy().reshape(by_hand.shape)
    one = (form.output[1] - form.output[0]) / 255
    # The outputs are rounded to one of 255 steps, and what float puts on the edge of two may go either way.
    assert np.abs(simulated - by_hand.clip(*form.output)).max() < 1.01 * one
    assert np.mean(np.abs(simulated - by_hand.clip(*form.output)) <= 0.501 * one) > 0.99
    ran = OnnxRuntime().compile(quantised, threads=1).run(windows.numpy()).reshape(by_hand.shape)
    assert np.abs(ran - by_hand.clip(*form.output)).max() < 1.01 * one
