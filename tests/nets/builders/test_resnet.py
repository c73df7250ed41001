"""The residual net against the paper's counts, a second way of writing it and published weights."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from joulemark.backends.eager import Eager
from joulemark.backends.onnx import OnnxRuntime
from joulemark.nets.builders.resnet import INPUT_SHAPE, Block, resnet, resnet20
from joulemark.nets.net import Net


@pytest.mark.parametrize(
    ("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)]
)  # He et al. 2016, Table 6
def test_parameters_of_the_paper(depth, millions):
    net = resnet(depth=depth)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(
        millions, abs=0.03 if depth == 110 else 0.005
    )
    weights = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weights) == depth


def test_names_are_those_of_the_published_weights():
    names = {name for name in resnet20().state_dict() if not name.endswith("num_batches_tracked")}
    assert len(names) == 19 * 5 + 2
    assert {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer3.2.bn2.bias", "linear.bias"} <= names


def test_children_run_in_order():
    net, x = resnet20().eval(), torch.randn(2, *INPUT_SHAPE)
    assert [name for name, _ in net.named_children()] == [
        "conv1", "bn1", "relu", "layer1", "layer2", "layer3", "pool", "flatten", "linear",
    ]  # fmt: skip
    with torch.no_grad():
        assert net[:4](x).shape == (2, 16, 32, 32)
        assert net[:5](x).shape == (2, 32, 16, 16)
        assert net[:6](x).shape == (2, 64, 8, 8)


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 8, 2), (3, 8, 2), (4, 4, 2), (2, 5, 1)])
def test_block_adds_a_shortcut_of_every_second_pixel_and_zero_channels(inputs, outputs, stride):
    torch.manual_seed(0)
    block, x = Block(inputs, outputs, stride).eval(), torch.randn(2, inputs, 7, 6)
    for norm in (block.bn1, block.bn2):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    shortcut = torch.zeros(2, outputs, -(-7 // stride), -(-6 // stride))
    before = (outputs - inputs) // 2
    for channel in range(inputs):
        for row in range(shortcut.shape[2]):
            shortcut[:, before + channel, row] = x[:, channel, row * stride][:, ::stride]
    y = torch.relu(block.bn1(nn.functional.conv2d(x, block.conv1.weight, stride=stride, padding=1)))
    y = torch.relu(block.bn2(nn.functional.conv2d(y, block.conv2.weight, padding=1)) + shortcut)
    torch.testing.assert_close(block(x), y)


def test_other_depths_are_refused():
    with pytest.raises(ValueError, match=r"6n \+ 2 layers deep \(8, 14, 20, ...\), not 18"):
        resnet(depth=18)
    with pytest.raises(ValueError, match="not 2"):
        resnet(depth=2)


def published() -> Path:
    return Path(os.environ.get("JOULEMARK_DATA", "nowhere")) / "weights" / "resnet20-cifar10-akamaster.safetensors"


@pytest.mark.skipif(not published().is_file(), reason=f"needs {published()}")
@pytest.mark.parametrize("backend", [Eager(), OnnxRuntime()], ids=["eager", "onnxruntime"])
def test_published_weights_score_what_they_are_published_with(backend):
    """91.73 % on the test set by Y. Idelbayev's ResNet-20: a check of reader, net and backends, never a baseline."""
    from joulemark.data.cifar10 import read

    images, labels = read().test
    state = safetensors.torch.load_file(published())
    net = Net(builder="resnet20", input_shape=INPUT_SHAPE, state=state)
    mean, deviation = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])  # of ImageNet, as it was trained
    scaled = (images / np.float32(255) - np.float32(mean)[:, None, None]) / np.float32(deviation)[:, None, None]
    run = backend.compile(net, threads=1).run
    right = sum(
        int((run(scaled[start : start + 250]).argmax(1) == labels[start : start + 250]).sum())
        for start in range(0, len(labels), 250)
    )
    assert (right, len(labels)) == (9_173, 10_000)
