"""The nets for ImageNet: published counts, closed forms and the tables of their docstrings, mostly without numbers.

Shapes and counts come from meta tensors, which hold no numbers: VGG16 alone would take 550 MB.
"""

from __future__ import annotations

import importlib
import re

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from joulemark.nets import net as nets
from joulemark.nets.builders.googlenet import MODULES, Inception, googlenet
from joulemark.nets.builders.resnet50 import Bottleneck, resnet50
from joulemark.nets.net import Net, builders, usual_input_shape
from joulemark.workloads.recording import record

# Parameters and MACs: of Caffe's deployed nets, of torchvision's models.
PUBLISHED = {
    "alexnet-grouped": (60_965_224, 724.4e6),
    "alexnet-torchvision": (61_100_840, 714.7e6),
    "vgg16": (138_357_544, 15.47e9),
    "googlenet": (6_998_552, 1.58e9),
    "resnet50": (25_557_032, 4.09e9),
}


def without_numbers(builder: str, **options) -> nn.Module:
    with torch.device("meta"):
        return nets.build(builder, options).eval()


def counted(builder: str) -> tuple[nn.Module, dict[str, int]]:
    """The net and the MACs of each module by path; "" is the whole net."""
    net = without_numbers(builder)
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, *usual_input_shape(builder), device="meta"))
    flops = {name: sum(per.values()) for name, per in counter.get_flop_counts().items()}
    return net, {name.partition(".")[2]: count // 2 for name, count in flops.items()}


@pytest.mark.parametrize("builder", PUBLISHED)
def test_published_parameters_and_macs(builder):
    parameters, macs = PUBLISHED[builder]
    net, found = counted(builder)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert found[""] == pytest.approx(macs, rel=3e-3 if macs > 1e9 else 1e-3)


@pytest.mark.parametrize("builder", PUBLISHED)
def test_the_table_in_the_docstring_is_right(builder):
    text = importlib.import_module(builders()[builder].partition(":")[0]).__doc__ or ""
    net, macs = counted(builder)
    rows = {}
    for line in text[text.index("MACs\n") :].splitlines()[1:]:
        if numbers := re.search(r" ([\d,]+) +([\d,]+)$", line):
            rows[line.split()[0].rstrip(",")] = tuple(int(n.replace(",", "")) for n in numbers.groups())
    total = rows.pop("total")
    assert tuple(map(sum, zip(*rows.values(), strict=True))) == total
    assert total == (sum(p.numel() for p in net.parameters()), macs[""])
    rows = {name: row for name, row in rows.items() if name not in ("conv1", "avgpool") or builder != "resnet50"}
    assert len(rows) >= 4
    for name, row in rows.items():
        assert row == (sum(p.numel() for p in net.get_submodule(name).parameters()), macs[name])


@pytest.mark.parametrize(
    ("builder", "places"),
    [
        ("alexnet-grouped", {"pool1": (96, 27, 27), "pool2": (256, 13, 13), "pool5": (256, 6, 6)}),
        ("alexnet-torchvision", {"features": (256, 6, 6), "avgpool": (256, 6, 6)}),
        ("vgg16", {"features": (512, 7, 7)}),
        ("googlenet", {"pool2": (192, 28, 28), "inception3b": (480, 28, 28), "pool3": (480, 14, 14),
                       "inception4e": (832, 14, 14), "pool4": (832, 7, 7), "inception5b": (1024, 7, 7)}),
        ("resnet50", {"maxpool": (64, 56, 56), "layer1": (256, 56, 56), "layer2": (512, 28, 28),
                      "layer3": (1024, 14, 14), "layer4": (2048, 7, 7)}),
    ],
)  # fmt: skip
def test_outputs_of_children(builder, places):
    x = torch.zeros(2, *usual_input_shape(builder), device="meta")
    for name, child in without_numbers(builder).named_children():
        x = child(x)
        assert x.shape[1:] == places.pop(name, x.shape[1:])
    assert not places
    assert x.shape == (2, 1000)


def test_the_published_convolutions_of_vgg16():
    """14.7 million weights and 15.3 billion MACs: Y.-H. Chen et al., ISSCC 2016."""
    net, macs = counted("vgg16")
    assert sum(p.numel() for p in net.features.parameters() if p.dim() > 1) == pytest.approx(14.7e6, rel=2e-3)
    assert macs["features"] == pytest.approx(15.3e9, rel=4e-3)


def test_names_are_those_of_the_published_weights():
    layers = {
        "alexnet-torchvision": ["features.0", "features.10", "classifier.1", "classifier.6"],
        "vgg16": ["features.0", "features.28", "classifier.0", "classifier.6"],
        "resnet50": ["conv1", "layer1.0.downsample.0", "layer3.5.conv3", "layer4.2.conv2", "fc"],
    }
    for builder, paths in layers.items():
        names = without_numbers(builder).state_dict().keys()
        assert {f"{path}.weight" for path in paths} <= names
    norms = {"layer1.0.downsample.1.running_mean", "layer4.2.bn3.num_batches_tracked", "bn1.bias"}
    assert norms <= names
    assert len(names) == 53 * 6 + 2  # a convolution and its batch norm's five, 53 times; the classifier's two


def test_inception_counted_by_hand():
    for sizes in MODULES.values():
        one, reduce3, three, reduce5, five, pool = sizes
        inputs = 7
        weights = inputs * (one + reduce3 + reduce5 + pool) + 9 * reduce3 * three + 25 * reduce5 * five
        with torch.device("meta"):
            module = Inception(inputs, sizes)
            y = module(torch.zeros(2, inputs, 5, 6))
        assert sum(p.numel() for p in module.parameters()) == weights + sum(sizes)
        assert y.shape == (2, one + three + five + pool, 5, 6)


def test_inception_looks_at_its_input_four_ways():
    torch.manual_seed(0)
    module, x = googlenet(width=0.05).inception3a, torch.randn(2, 10, 6, 5)
    relu, conv = torch.relu, nn.functional.conv2d

    def layer(x, one, padding=0):
        return relu(conv(x, one.weight, one.bias, padding=padding))

    expected = [
        layer(x, module.branch1.one),
        layer(layer(x, module.branch3.reduce), module.branch3.three, 1),
        layer(layer(x, module.branch5.reduce), module.branch5.five, 2),
        layer(nn.functional.max_pool2d(x, 3, 1, 1), module.project.one),
    ]
    torch.testing.assert_close(module(x), torch.cat(expected, 1))


@pytest.mark.parametrize(("inputs", "stride", "projects"), [(12, 1, False), (12, 2, True), (5, 1, True)])
def test_a_bottleneck_adds_its_shortcut(inputs, stride, projects):
    torch.manual_seed(0)
    block, x = Bottleneck(inputs, 3, stride).eval(), torch.randn(2, inputs, 7, 6)
    for norm in (m for m in block.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    conv = nn.functional.conv2d
    y = torch.relu(block.bn1(conv(x, block.conv1.weight)))
    y = torch.relu(block.bn2(conv(y, block.conv2.weight, stride=stride, padding=1)))
    y = block.bn3(conv(y, block.conv3.weight))
    assert (block.downsample is not None) == projects
    shortcut = block.downsample[1](conv(x, block.downsample[0].weight, stride=stride)) if projects else x
    torch.testing.assert_close(block(x), torch.relu(y + shortcut))


def test_a_resnet50_has_fifty_layers_with_weights():
    with torch.device("meta"):
        layers = dict(resnet50().named_modules())
    weighty = [name for name, m in layers.items() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len([name for name in weighty if "downsample" not in name]) == 50


def test_local_response_normalisation_is_caffes():
    """y = x / (1 + 1e-4 / 5 sum over 5 channels of x^2)^0.75, written out for the middle of seven channels."""
    norm = without_numbers("alexnet-grouped").norm1
    x = 30 * torch.arange(1.0, 8.0)[None, :, None, None]
    squares = float((x[0, 1:6] ** 2).sum())
    assert float(norm(x)[0, 3]) == pytest.approx(120 / (1 + 1e-4 / 5 * squares) ** 0.75, rel=1e-6)


@pytest.mark.parametrize("builder", PUBLISHED)
def test_width_and_classes(builder):
    shape = usual_input_shape(builder)
    for width in (0.5, 0.001):
        net = without_numbers(builder, width=width, classes=7)
        assert net(torch.zeros(2, *shape, device="meta")).shape == (2, 7)
    least = {"alexnet-grouped": {2}, "resnet50": {1, 4}}.get(
        builder, {1}
    )  # one a group; a bottleneck ends four times as wide
    assert {m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)} == least


@pytest.mark.parametrize("builder", PUBLISHED)
def test_a_reloaded_net_is_equal(builder):
    shape = usual_input_shape(builder)
    net = Net.new(builder, shape, seed=0, width=0.02, classes=3)
    again = Net.from_bytes(net.to_bytes())
    assert again.hash == net.hash
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(again.module()(x), net.module()(x), rtol=0, atol=0)


@pytest.mark.parametrize("builder", ["alexnet-grouped", "googlenet"])
def test_every_operator_has_a_rule(builder):
    net = Net.new(builder, usual_input_shape(builder), seed=0, width=0.02)
    assert record(net.module(), torch.zeros(1, *net.input_shape)).unknown == {}


def test_counting_and_loading_draw_no_random_weights():
    net = Net.new("lenet", (1, 28, 28), seed=3)
    before = torch.get_rng_state()
    assert net.parameters() == 431_080
    module = net.module()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, net.state[name]) for name, value in module.state_dict().items())
    fresh = Net(builder="lenet", input_shape=(1, 28, 28)).module()  # nothing to load: weights are drawn as ever
    assert not torch.equal(torch.get_rng_state(), before)
    assert all(p.isfinite().all() and p.abs().max() < 1 for p in fresh.parameters())
