"""LeNet of 1989 against the totals and the table of its paper."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark.backends.onnx import OnnxRuntime
from joulemark.nets.builders.lenet1989 import INPUT_SHAPE, Squash, lenet1989
from joulemark.nets.net import Net
from joulemark.workloads.recording import record

READS = [{0}, {1}, {2}, {3}, {0, 1}, {0, 1}, {0, 1}, {0, 1}, {2, 3}, {2, 3}, {2, 3}, {2, 3}]
"""Table 1 of the paper: 1, 2, 7 and 10 read one map of H2, the others two; here in the order of our twelve."""


def outputs_of(net: nn.Module) -> dict[str, torch.Tensor]:
    seen: dict[str, torch.Tensor] = {}
    for path in ("stage1.conv", "stage1.squash2", "stage2.conv", "stage2.squash2", "classifier.output"):
        net.get_submodule(path).register_forward_hook(lambda _m, _x, y, path=path: seen.update({path: y}))
    net(torch.zeros(1, *INPUT_SHAPE))
    return seen


def test_units_connections_and_parameters_are_those_of_the_paper():
    net = lenet1989()
    seen = outputs_of(net)
    sizes = {path: y[0].numel() for path, y in seen.items()}
    assert sizes == {
        "stage1.conv": 4 * 24 * 24,
        "stage1.squash2": 4 * 12 * 12,
        "stage2.conv": 12 * 8 * 8,
        "stage2.squash2": 12 * 4 * 4,
        "classifier.output": 10,
    }
    assert 28 * 28 + sum(sizes.values()) + 1 == 4635  # with the unit for biases
    into = {"stage1.conv": 25, "stage1.squash2": 4, "stage2.squash2": 4, "classifier.output": 192}
    connections = sum(sizes[path] * (1 + number) for path, number in into.items())
    connections += 8 * 8 * sum(1 + 25 * len(maps) for maps in READS)
    assert connections == 98_442
    assert sum(p.numel() for p in net.parameters()) == 2_578
    assert [sum(p.numel() for p in child.parameters()) for child in net] == [112, 536, 1930]


def test_which_map_reads_which():
    conv = lenet1989().stage2.conv
    x = torch.randn(1, 4, 12, 12)
    before = conv(x)
    for source in range(4):
        other = x.clone()
        other[:, source] += 1.0
        changed = ((conv(other) - before).abs().amax((0, 2, 3)) > 1e-6).tolist()
        assert changed == [source in maps for maps in READS]


def test_subsampling_starts_as_the_mean_of_four():
    stage = lenet1989().stage1
    x = torch.randn(2, 4, 24, 24)
    mean = x.view(2, 4, 12, 2, 12, 2).mean((3, 5))
    torch.testing.assert_close(stage.scale(stage.pool(x)), mean)


def test_the_squash_maps_one_to_one_and_saturates_beyond():
    squash = Squash()
    ends = squash(torch.tensor([-1.0, 0.0, 1.0, 1e6]))
    assert ends.tolist() == pytest.approx([-1.0, 0.0, 1.0, 1.7159], abs=1e-3)
    a = torch.tensor(0.0, requires_grad=True)
    (slope,) = torch.autograd.grad(squash(a), a)
    assert float(slope) == pytest.approx(1.7159 * 2 / 3)


def test_it_is_counted_exported_and_saved():
    net = Net.new("lenet1989", INPUT_SHAPE, seed=0)
    work = record(net.module(), torch.zeros(1, *INPUT_SHAPE))
    # each product of a connection, and a scale instead of four equal weights a mean; biases are no product
    assert work.macs_per_input == 4 * 576 * 25 + 4 * 144 + 64 * 20 * 25 + 12 * 16 + 1920
    assert work.unknown == {}
    images = torch.randn(3, *INPUT_SHAPE)
    exported = OnnxRuntime().compile(net, threads=1).run(images.numpy())
    torch.testing.assert_close(torch.from_numpy(exported), net.module()(images).detach(), rtol=1e-4, atol=1e-5)
    assert torch.equal(Net.from_bytes(net.to_bytes()).module()(images), net.module()(images))
