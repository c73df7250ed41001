"""Convnet, AlexNet and VGG against the tables of their docstrings, and what all builders have in common."""

from __future__ import annotations

import importlib
import re

import pytest
import torch
from torch import nn

from joulemark.nets.builders.stages import classifier, scaled, stage
from joulemark.nets.net import Net, builders, usual_input_shape
from joulemark.workloads.recording import record

OURS = ("convnet", "alexnet", "vgg", "resnet20")
ALL = ("lenet", *OURS)


def test_a_stage_is_convolution_norm_and_relu_repeated_then_a_pooling():
    torch.manual_seed(0)
    net, x = stage(3, [4, 6], kernel=5, pool=nn.MaxPool2d(2)).eval(), torch.randn(2, 3, 8, 8)
    y = torch.relu(net.bn1(nn.functional.conv2d(x, net.conv1.weight, padding=2)))
    y = torch.relu(net.bn2(nn.functional.conv2d(y, net.conv2.weight, padding=2)))
    torch.testing.assert_close(net(x), nn.functional.max_pool2d(y, 2))
    assert all(layer.bias is None for layer in (net.conv1, net.conv2))


def test_a_classifier_has_relu_between_its_layers_and_none_at_the_end():
    torch.manual_seed(0)
    net, x = classifier(6, [5, 4], 3), torch.randn(7, 2, 3, 1)
    y = torch.relu(net.hidden2(torch.relu(net.hidden1(x.flatten(1)))))
    torch.testing.assert_close(net(x), y @ net.output.weight.T + net.output.bias)
    assert [name for name, _ in classifier(6, [], 3).named_children()] == ["flatten", "output"]


def test_scaled_sizes_are_never_zero():
    assert scaled([32, 64, 3], 0.01) == [1, 1, 1]
    assert scaled([32, 64, 3], 1.5) == [48, 96, 4]


def rows_of(builder: str) -> dict[str, tuple[int, int]]:
    """Parameters and MACs of each child in the table of a builder's module: the two last numbers of its rows."""
    text = importlib.import_module(builders()[builder].partition(":")[0]).__doc__ or ""
    found: dict[str, tuple[int, int]] = {}
    child = ""
    for line in text[text.index("MACs\n") :].splitlines()[1:]:
        numbers = [
            int(word.replace(",", "")) for word in re.findall(r"\S+", line)[-2:] if re.fullmatch(r"[\d,]+", word)
        ]
        if len(numbers) == 2:
            child = line.split()[0] if line[4] != " " else child
            before = found.get(child, (0, 0))
            found[child] = (before[0] + numbers[0], before[1] + numbers[1])
    return found


@pytest.mark.parametrize("builder", ["convnet", "alexnet", "vgg"])
def test_the_table_in_the_docstring_is_right(builder):
    net = Net.new(builder, (3, 32, 32), seed=0)
    work = record(net.module(), torch.zeros(1, 3, 32, 32))
    expected = {}
    for name, child in net.module().named_children():
        macs = sum(o.macs for o in work.operations if o.layer.split(".")[0] == name)
        expected[name] = (sum(p.numel() for p in child.parameters()), macs)
    assert work.macs_per_input <= 60e6
    assert rows_of(builder) == {**expected, "total": (net.parameters(), work.macs_per_input)}


@pytest.mark.parametrize(
    ("builder", "stages"),
    [
        ("convnet", {"stage1": (32, 16, 16), "stage2": (32, 8, 8), "stage3": (64, 4, 4)}),
        ("alexnet", {"stage1": (32, 16, 16), "stage2": (64, 8, 8), "stage3": (64, 4, 4)}),
        ("vgg", {"stage1": (32, 16, 16), "stage2": (64, 8, 8), "stage3": (128, 4, 4), "stage4": (256, 2, 2)}),
    ],
)
def test_outputs_of_stages(builder, stages):
    x = torch.zeros(2, 3, 32, 32)
    for name, child in Net.new(builder, (3, 32, 32), seed=0).module().named_children():
        x = child(x)
        assert name == "classifier" or x.shape[1:] == stages[name]
    assert x.shape == (2, 10)


@pytest.mark.parametrize("builder", ALL)
def test_width_and_classes_of_every_builder(builder):
    shape = usual_input_shape(builder)
    full, half, least = (Net.new(builder, shape, seed=0, width=w, classes=7) for w in (1.0, 0.5, 0.001))
    for net in (half, least):
        assert net.module()(torch.zeros(2, *shape)).shape == (2, 7)
    assert 0.2 < half.parameters() / full.parameters() < 0.35  # a quarter, but for the first and last layer
    assert {m.out_channels for m in least.module().modules() if isinstance(m, nn.Conv2d)} == {1}


@pytest.mark.parametrize("builder", OURS)
def test_a_step_of_training_lowers_the_loss_in_both_precisions(builder):
    torch.manual_seed(0)
    net = Net.new(builder, (3, 32, 32), seed=0, width=0.25)
    x, y = torch.randn(16, 3, 32, 32).contiguous(memory_format=torch.channels_last), torch.arange(16) % 10
    for bf16 in (False, True):
        module = net.module().to(memory_format=torch.channels_last).train()
        optimiser = torch.optim.SGD(module.parameters(), 0.02)
        losses = []
        for _ in range(4):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = nn.functional.cross_entropy(module(x).float(), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < losses[0]
