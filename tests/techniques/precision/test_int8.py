"""Ranges from calibration, scales and integers by hand."""

import dataclasses

import msgspec
import pytest
import torch
from torch import nn

from joulemark import testing
from joulemark.nets.header import Exit, Route
from joulemark.nets.net import Net
from joulemark.techniques.precision import int8 as module_of_int8
from joulemark.techniques.precision.int8 import int8
from joulemark.techniques.technique import TechniqueError
from joulemark.workloads.recording import record

LAYERS = {"stage1.conv", "stage2.conv", "classifier.hidden", "classifier.output"}


@dataclasses.dataclass
class Calibration:
    images: torch.Tensor
    handed: int = 0

    def batches(self, split, *, batch_size=64):
        assert split == "calibration"
        for batch in self.images.split(batch_size):
            self.handed += len(batch)
            yield batch, torch.zeros(len(batch), dtype=torch.int64)


def test_every_layer_gets_the_range_of_what_it_saw():
    net, images = testing.baseline(), torch.from_numpy(testing.generated()["train"].images[:100])
    quantised = int8(net, Calibration(images), images=70)
    assert set(quantised.formats) == LAYERS
    assert dict(quantised.state) == dict(net.state)  # nothing is retrained
    module = net.module()
    with torch.no_grad():
        seen = {"stage1.conv": images[:70], "stage2.conv": module.get_submodule("stage1.conv")(images[:70])}
    for layer, x in seen.items():  # the second layer reads behind a pooling: the scale is that of what is pooled
        form = quantised.formats[layer]
        assert (form.weight_bits, form.activation_bits) == (8, 8)
        assert form.low == pytest.approx(min(0.0, float(x.min())), abs=1e-5)
        assert form.high == pytest.approx(max(0.0, float(x.max())), abs=1e-5)
    assert quantised.formats["classifier.output"].low == 0.0  # after ReLU; zero stays in the range


def test_zero_is_always_in_the_range():
    for sign in (1.0, -1.0):
        form = int8(testing.baseline(), Calibration(sign * (0.2 + 0.1 * torch.rand(16, 1, 28, 28))), images=16).formats
        low, high = form["stage1.conv"].low, form["stage1.conv"].high
        assert (low if sign > 0 else high) == 0.0
        assert 0.29 < (high if sign > 0 else -low) <= 0.3


@pytest.mark.parametrize(("images", "handed"), [(16, 64), (64, 64), (65, 128), (1000, 200)])
def test_no_more_images_are_asked_for_than_needed(images, handed):
    bench = Calibration(torch.randn(200, 1, 28, 28))
    int8(testing.baseline(), bench, images=images)
    assert bench.handed == handed


def test_weights_and_inputs_become_eight_bit_integers():
    net = int8(testing.baseline(), Calibration(torch.from_numpy(testing.generated()["train"].images[:64])), images=64)
    layer, weight = net.module().get_submodule("classifier.hidden"), net.state["classifier.hidden.weight"]
    scale = weight.abs().amax(1) / 127
    integers = (weight / scale[:, None]).round()
    assert int(integers.abs().max()) == 127
    form = net.formats["classifier.hidden"]
    step = (form.high - form.low) / 255
    x = torch.linspace(form.low, form.high, 3 * weight.shape[1]).view(3, -1)
    zero = round(-form.low / step)
    rounded = ((x / step).round() + zero).clamp(0, 255) - zero
    with torch.no_grad():
        expected = rounded * step @ (integers * scale[:, None]).T + net.state["classifier.hidden.bias"]
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_workload_has_eight_bits():
    net = int8(testing.baseline(), Calibration(torch.randn(32, 1, 28, 28)), images=32)
    found = record(net.module(), torch.zeros(1, 1, 28, 28), formats=net.formats)
    bits = {o.layer: (o.weight_bits, o.activation_bits) for o in found.operations if o.macs}
    assert bits == dict.fromkeys(LAYERS, (8, 8))


def routed(threshold):
    exits = (Exit(after="stage1", router="exactly-one", threshold=threshold, features=576, classes=10),)
    net = testing.baseline()
    head = {"exits.stage1.1.weight": torch.zeros(10, 576), "exits.stage1.1.bias": torch.eye(10)[0]}
    return net.replace(route=Route(kind="exits", exits=exits), state={**net.state, **head})


def test_dynamic_nets_are_calibrated_on_the_way_that_rows_really_take():
    nobody = int8(routed(2.0), Calibration(torch.randn(20, 1, 28, 28)), images=20)
    assert set(nobody.formats) == {*LAYERS, "exits.stage1.1"}
    everybody = int8(routed(0.5), Calibration(torch.randn(20, 1, 28, 28)), images=20)
    assert set(everybody.formats) == {"stage1.conv", "exits.stage1.1"}  # the rest has no range: it stays in float
    assert everybody.module().run(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_a_net_without_layers_is_refused(monkeypatch):
    monkeypatch.setattr(Net, "module", lambda self, **_: nn.Flatten())
    with pytest.raises(TechniqueError, match="no convolution or linear layer"):
        module_of_int8.int8(testing.baseline(), Calibration(torch.zeros(1, 1, 28, 28)), images=16)


def test_batch_norm_is_folded_and_outputs_that_are_added_have_a_range_too():
    net, images = Net.new("resnet", (3, 32, 32), seed=0, depth=8, width=0.25), torch.randn(32, 3, 32, 32)
    quantised = int8(net, Calibration(images), images=32)
    layers = {path for path, m in net.module().named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    rounded = {"relu", "layer1.0.relu2", "layer2.0.relu2", "layer3.0.relu2", "pool"}
    assert {path: form.kind for path, form in quantised.formats.items()} == {
        **dict.fromkeys(layers, "int"), **dict.fromkeys(rounded, "rounded")
    }  # fmt: skip
    assert not any(isinstance(m, nn.BatchNorm2d) for m in quantised.module().modules())
    ranged = {path: form.output for path, form in quantised.formats.items() if form.output is not msgspec.UNSET}
    assert set(ranged) == {"layer1.0.conv2", "layer2.0.conv2", "layer3.0.conv2"} | rounded
    module = net.module()
    with torch.no_grad():
        stem = module[:3](images)
        block = module.get_submodule("layer1.0")
        added = block.bn2(block.conv2(block.relu1(block.bn1(block.conv1(stem)))))
    assert ranged["relu"] == (0.0, pytest.approx(float(stem.max()), rel=1e-4))  # read by two
    first = quantised.formats["layer1.0.conv1"]
    assert (first.low, first.high) == ranged["relu"]  # the same scale: nothing is rounded twice
    assert ranged["layer1.0.conv2"] == pytest.approx((float(added.min()), float(added.max())), rel=1e-4)


def test_what_is_pooled_is_rounded_before_and_what_only_one_layer_reads_is_not_rounded_twice():
    formats = int8(testing.baseline(), Calibration(torch.randn(32, 1, 28, 28)), images=32).formats
    outputs = {path: form.output for path, form in formats.items()}
    for layer, behind in (("stage1.conv", "stage2.conv"), ("stage2.conv", "classifier.hidden")):
        assert outputs.pop(layer) == (formats[behind].low, formats[behind].high)
    assert set(outputs.values()) == {msgspec.UNSET}
