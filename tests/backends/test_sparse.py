"""Sparse PyTorch: agrees with the dense module, really leaves zeros out, says what it only simulates."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from small_nets import FORM, NETS
from torch import nn

from joulemark.backends.backend import backend, precision_of
from joulemark.backends.sparse import Sparse, SparseConvolution, SparseLinear, sparse_rows
from joulemark.nets.net import Net
from joulemark.techniques.pruning.magnitude import prune
from joulemark.vocabulary import TABLES


def pruned(layer, kept):
    """A layer of which a random share of the weights is left."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        layer.weight.mul_(torch.rand(layer.weight.shape, generator=generator) < kept)
    return layer


def images(*shape):
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": 1},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": (3, 2), "stride": (1, 2), "padding": (2, 1), "dilation": (2, 3)},
        {"kernel_size": 5, "stride": 3, "padding": 2, "bias": False},
    ],
)
@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("kept", [0.0, 0.1, 1.0])
def test_convolutions_agree_with_dense_ones(options, rows, kept):
    layer = pruned(nn.Conv2d(4, 6, **options), kept)
    x = images(rows, 4, 11, 12)
    with torch.inference_mode():
        found, expected = SparseConvolution(layer)(x), layer(x)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"stride": 3, "padding": 2, "dilation": 2, "bias": False}])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_convolutions_of_signals_agree_with_dense_ones(options, rows):
    layer, x = pruned(nn.Conv1d(4, 6, 5, **options), 0.1), images(rows, 4, 30)
    with torch.inference_mode():
        torch.testing.assert_close(SparseConvolution(layer)(x), layer(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5])
def test_what_is_behind_may_flatten_by_a_view(rows):
    made = SparseConvolution(pruned(nn.Conv2d(4, 6, 3), 0.1))(images(rows, 4, 8, 8))
    assert made.view(rows, 6 * 6 * 6).shape == (rows, 216)


@pytest.mark.parametrize("shape", [(0, 20), (1, 20), (7, 20), (2, 3, 20)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_agree_with_dense_ones(shape, bias):
    layer = pruned(nn.Linear(20, 9, bias=bias), 0.2)
    with torch.inference_mode():
        torch.testing.assert_close(SparseLinear(layer)(images(*shape)), layer(images(*shape)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("builder", "shape"), [("lenet", (1, 28, 28)), ("resnet20", (3, 32, 32))])
def test_pruned_nets_agree_with_their_module(builder, shape):
    net = prune(Net.new(builder, shape, seed=0), 0.9)
    x = images(5, *shape)
    with torch.no_grad():
        expected = net.module()(x).numpy()
    compiled = Sparse().compile(net, threads=1)
    np.testing.assert_allclose(compiled.run(x.numpy()), expected, atol=1e-4, rtol=1e-4)
    assert Sparse().simulated(net) is None
    left = [layer.weight for layer in compiled.module.modules() if isinstance(layer, SparseConvolution | SparseLinear)]
    assert len(left) == sum(not mask.all() for mask in net.masks.values())
    assert sum(weight.values().numel() for weight in left) == sum(int(mask.sum()) for mask in net.masks.values())


@pytest.mark.parametrize("kind", list(NETS))
def test_nets_without_masks_run_as_in_eager(kind):
    x = np.random.default_rng(1).standard_normal((4, 1, 28, 28), dtype=np.float32)
    mine, eager = (backend(name).compile(NETS[kind], threads=1).run(x) for name in ("sparse", "eager"))
    np.testing.assert_array_equal(mine, eager)
    reasons = [one.simulated(NETS[kind]) for one in (Sparse(), backend("eager"))]
    assert reasons[0] == (reasons[1] and reasons[1].replace("PyTorch eager", "PyTorch sparse"))


def test_exits_and_parts_are_sparse_inside():
    x = np.random.default_rng(1).standard_normal((9, 1, 28, 28), dtype=np.float32)
    parts = {name: prune(part, 0.5) for name, part in NETS["cascade"].parts.items()}
    for net in (NETS["cascade"].replace(parts=parts), prune(NETS["dynamic"], 0.5)):
        assert Sparse().simulated(net) is None
        compiled = Sparse().compile(net, threads=1)
        assert any(isinstance(layer, SparseConvolution) for layer in compiled.module.modules())
        np.testing.assert_allclose(compiled.run(x), backend("eager").compile(net, threads=1).run(x), atol=1e-5)


def test_what_is_simulated_has_its_reason(monkeypatch):
    net = prune(NETS["static"], 0.5)
    quantised = net.replace(formats={"stage1.conv": FORM})
    assert "no int8 kernel" in Sparse().simulated(quantised)
    assert precision_of(quantised, Sparse()) == "fp32"
    monkeypatch.setitem(TABLES["builder"], "in-groups", f"{__name__}:in_groups")
    grouped = Net.new("in-groups", (4, 8, 8), seed=0)
    mask = torch.arange(36) % 2 == 0
    masked = grouped.replace(masks={"grouped.weight": mask.view(4, 1, 3, 3)})
    reason = "zeros of grouped are multiplied like any number: no sparse kernel for a convolution in groups"
    assert Sparse().simulated(masked) == f"{reason} (PyTorch sparse)"
    x = images(2, 4, 8, 8)
    np.testing.assert_array_equal(Sparse().compile(masked, threads=1).run(x.numpy()), masked.module()(x).detach())
    for name, said in (("circular.weight", "padding is not zeros"), ("same.weight", "padding is not zeros")):
        weight = grouped.state[name]
        assert said in Sparse().simulated(grouped.replace(masks={name: torch.zeros_like(weight, dtype=torch.bool)}))


def in_groups():
    """Convolutions that have no sparse kernel."""
    net = nn.Sequential()
    net.add_module("grouped", nn.Conv2d(4, 4, 3, groups=4))
    net.add_module("circular", nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"))
    net.add_module("same", nn.Conv2d(4, 4, 3, padding="same"))
    return net


def test_masks_that_keep_all_and_zero_biases_change_nothing():
    net = NETS["static"]
    whole = {name: torch.ones_like(w, dtype=torch.bool) for name, w in net.state.items()}
    bias = {"classifier.output.bias": torch.zeros(10, dtype=torch.bool)}
    for masks in (whole, bias):
        compiled = Sparse().compile(net.replace(masks=masks), threads=1)
        assert not any(isinstance(layer, SparseConvolution | SparseLinear) for layer in compiled.module.modules())
        assert Sparse().simulated(net.replace(masks=masks)) is None


def test_time_falls_with_the_weights_that_are_left():
    """A kernel that multiplied zeros would take as long; this one does a fiftieth of the work."""
    torch.set_num_threads(1)
    x = images(1000, 64).t()
    generator = torch.Generator().manual_seed(0)
    dense = torch.rand(1000, 1000, generator=generator)
    few, all_ = sparse_rows(torch.where(dense < 0.02, dense, 0.0)), sparse_rows(dense)

    def seconds(matrix):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            torch.mm(matrix, x.t())
            times.append(time.perf_counter() - start)
        return min(times)

    assert seconds(few) < seconds(all_) / 3
