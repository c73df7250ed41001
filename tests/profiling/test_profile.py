"""Profiles against counts by hand: batches, bits, rows that leave, several models, what is left out."""

import msgspec
import pytest
import torch
from made_profile import quantity
from small_graphs import SHAPE, build

from joulemark.backends.onnx_exporter import export
from joulemark.energy.accelerator import Accelerator
from joulemark.energy.model import Published, energy_model
from joulemark.energy.proxies import proxies
from joulemark.nets.net import Net
from joulemark.profiling.opening import Opened, open_net
from joulemark.profiling.profile import Profile, by_operation, executed, in_batches, profile_net, with_bits
from joulemark.record import EnergyReport, LayerEnergy
from joulemark.workloads.recording import record
from joulemark.workloads.workload import Operation, Workload

MODELS = tuple(energy_model(name) for name in ("row-stationary", "datasheet", "microcontroller"))
HAND = 8 * 36 * 27 + 8 * 36 * 9 + 72 * 5  # MACs of small_graphs.build


def test_layers_sum_to_the_net_in_every_model():
    found = profile_net(open_net("small_graphs:build"), MODELS)
    assert sum(layer.macs for layer in found.layers) == HAND == found.proxies["macs_per_input"]
    for model in found.models:
        parts = [sum(layer.joules.get(model.model, {}).values()) for layer in found.layers]
        assert sum(parts) == pytest.approx(model.joules.value) == pytest.approx(sum(model.components.values()))
        assert model.coverage == 1.0
        assert not model.missing
    assert found.warnings == ()
    assert msgspec.json.decode(msgspec.json.encode(found), type=Profile) == found


def test_a_layer_that_runs_in_two_shapes_keeps_its_own_joules():
    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(4, 1, 3, 3))

        def forward(self, x):
            conv = torch.nn.functional.conv2d
            return conv(x, self.weight).sum() + conv(x[:, :, :4], self.weight).sum()

    work = record(Twice(), torch.randn(1, 1, 8, 8))
    report = MODELS[0].estimate(work)
    parts = by_operation(report, work)
    assert [one for one in parts if one is not None] == list(report.layers)
    assert report.layers[0].joules != report.layers[1].joules


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_one_input_stands_for_a_batch_of_its_likes(batch):
    module = build()
    image = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    truly = record(module, image.repeat(batch, 1, 1, 1), batch_size=batch)
    work, count, _ = executed(open_net("small_graphs:build"), batch, 1)
    assert count == 1
    assert work == truly
    for model in MODELS:
        assert model.estimate(work).joules.value == pytest.approx(model.estimate(truly).joules.value)
    assert proxies(work, parameters=1, nonzeros=1) == proxies(truly, parameters=1, nonzeros=1)


def test_a_batch_that_inputs_do_not_fill_is_said():
    one = profile_net(open_net("lenet"), MODELS[:1], batch_size=64, inputs=16)
    assert one.batch_size == 64
    assert one.inputs == 16
    assert any("16 inputs make no batch of 64" in note for note in one.notes)
    other = profile_net(open_net("lenet"), MODELS[:1], batch_size=4, inputs=6)
    assert other.inputs == 8
    assert any("8 were run" in note for note in other.notes)
    dynamic = profile_net(open_net("exits:build"), MODELS[:1], batch_size=16, inputs=3)
    assert dynamic.inputs == 16


def test_rows_that_leave_are_averaged():
    found = profile_net(open_net("exits:build"), MODELS, inputs=200, batch_size=20)
    images = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    share = float((images[:, 0] <= 0).double().mean())
    assert 0.3 < share < 0.7
    assert found.dynamic
    first, second = (layer for layer in found.layers if layer.macs)  # `le` and `nonzero` route
    assert (first.rows, second.rows) == (1.0, pytest.approx(share))
    assert found.proxies["macs_per_input"] == pytest.approx(36 + share * 3600)
    sheet = found.models[1].joules.value
    assert sheet == pytest.approx((36 + share * 3600) * 2 * 250 / 13.45e12)


def test_assumed_bits_are_those_of_every_layer():
    plain, narrow = (profile_net(open_net("lenet"), MODELS, bits=bits) for bits in (None, (4, 8)))
    assert narrow.bits == (4, 8)
    assert narrow.proxies["weight_bytes"] == plain.proxies["weight_bytes"] / 8
    assert narrow.models[0].joules.value < plain.models[0].joules.value
    assert narrow.models[1].joules.value == plain.models[1].joules.value  # a data sheet knows no bits
    work, _, _ = executed(open_net("lenet"), 1, 1)
    assert with_bits(work, (8, 8)).peak_activation_bytes == work.peak_activation_bytes / 4
    assert in_batches(work, 5).peak_activation_bytes == work.peak_activation_bytes * 5


def test_what_a_model_does_not_describe_is_told_with_its_share_of_the_macs():
    found = profile_net(open_net("small_graphs:build_attention"), MODELS)
    linear, attention = 4 * 64, 2 * 4 * 4 * 8
    share = attention / (linear + attention)
    assert found.models[0].missing == {"attention": pytest.approx(share)}
    assert found.models[0].coverage == pytest.approx(1 - share)
    assert not found.models[1].missing
    assert found.warnings == (f"row-stationary does not describe attention, {share:.1%} of the MACs",)


def test_an_operator_without_a_rule_is_told():
    found = profile_net(open_net("small_graphs:build_fourier"), MODELS)
    assert any("fft" in name for name in found.unknown)
    assert any("no rule for aten._fft" in warning for warning in found.warnings)


def test_an_onnx_file_is_profiled_as_its_module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.onnx").write_bytes(export(build(), (torch.zeros(2, *SHAPE),)))
    module, file = (profile_net(open_net(name), MODELS) for name in ("small_graphs:build", "net.onnx"))
    assert file.proxies["macs_per_input"] == HAND
    assert file.proxies["parameters"] == module.proxies["parameters"] == sum(p.numel() for p in build().parameters())
    for one, other in zip(file.models[:2], module.models[:2], strict=True):
        assert one.joules.value == pytest.approx(other.joules.value, rel=1e-5)


def test_a_saved_net_is_opened_with_its_weights(tmp_path):
    net = Net.new("lenet", (1, 28, 28), seed=3, width=0.5)
    path = tmp_path / "net.safetensors"
    path.write_bytes(net.to_bytes())
    found = profile_net(open_net(str(path)), MODELS[:1])
    assert found.proxies["parameters"] == net.parameters()


def test_the_published_figure_stands_beside_its_net_only():
    sheet = MODELS[1]
    (beside,) = profile_net(open_net("resnet50"), [sheet]).models[0].published
    assert beside.joules == 0.19
    assert beside.ratio == pytest.approx(0.80, abs=0.005)
    assert profile_net(open_net("lenet"), [sheet]).models[0].published == ()


def test_a_layer_that_fits_no_mapping_is_a_warning_that_names_the_constraint():
    eyeriss = Accelerator().description
    tiny = Accelerator(msgspec.structs.replace(eyeriss, name="tiny", register_words=8))
    warnings = profile_net(open_net("lenet"), [tiny]).warnings
    assert any(one.startswith("tiny does not describe conv, ") for one in warnings)
    assert any("needs 11 words of registers in an element (p q R + q R + p) and there are 8" in one for one in warnings)


CONV = Operation(layer="c", operator="conv", input_shape=(1, 4, 4), output_shape=(2, 4, 4), weight_shape=(2, 1, 3, 3),
                 rows=1, calls=1, macs=288)  # fmt: skip
RELU = Operation(layer="", operator="relu", input_shape=(2, 4, 4), output_shape=(2, 4, 4), rows=1, calls=1, macs=0)
ODD = Operation(layer="o", operator="odd", input_shape=(), output_shape=(2,), rows=1, calls=1, macs=96)


def opened(*operations, **changes):
    """A net that says it executed these operations once a row, and never runs."""
    unknown = changes.pop("unknown", {})

    def runs(images, size):
        rows = len(images)
        done = [msgspec.structs.replace(o, rows=o.rows * rows, macs=o.macs * rows) for o in operations]
        return Workload(inputs=rows, batch_size=size, operations=tuple(done), unknown=unknown)

    known = {"name": "hand", "kind": "hand", "shape": (1, 4, 4), "parameters": 18, "nonzeros": 9, "dynamic": False,
             "batch": None}  # fmt: skip
    return Opened(**{**known, **changes}, runs=runs)


class Picojoule:
    """A picojoule a MAC, in a convolution alone."""

    name, sources = "pico", ("invented for this test",)
    published = (Published(net="hand", input_shape=(1, 4, 4), joules=144e-12, source="a table", remark="a chip"),)

    def estimate(self, workload):
        each = workload.inputs
        layers = [
            LayerEnergy(layer=one.layer, operator=one.operator, joules={"MAC": one.macs * 1e-12 / each}, macs=one.macs)
            for one in workload.operations
            if one.operator == "conv"
        ]
        joules = sum(one.joules["MAC"] for one in layers)
        covered = sum(one.macs for one in workload.operations if one.operator == "conv")
        return EnergyReport(
            model=self.name, layers=tuple(layers), assumptions=("no leakage",), sources=self.sources,
            coverage=covered / sum(one.macs for one in workload.operations),
            joules=quantity(joules or None),
        )  # fmt: skip


def test_a_profile_by_hand():
    found = profile_net(opened(CONV, RELU, ODD), [Picojoule()], inputs=4)
    first, second, third = found.layers
    assert (first.layer, first.input, first.output, first.weights) == ("c", "1x4x4", "2x4x4", "2x1x3x3")
    assert (first.macs, first.rows, first.joules) == (288.0, 1.0, {"pico": {"MAC": pytest.approx(288e-12)}})
    assert first.bytes == 4 * (16 + 32) + 4 * 18 / 4  # weights once for four inputs
    assert (second.layer, second.weights, second.joules) == ("(the net itself)", None, {})
    assert (third.input, third.output) == ("1", "2")  # a number
    (model,) = found.models
    assert model.missing == {"odd": pytest.approx(0.25)}
    assert (model.coverage, model.components) == (pytest.approx(0.75), {"MAC": pytest.approx(288e-12)})
    assert found.warnings == ("pico does not describe odd, 25.0% of the MACs",)
    assert (found.proxies["parameters"], found.proxies["nonzero_parameters"]) == (18.0, 9.0)


@pytest.mark.parametrize(("changes", "known"), [({}, True), ({"kind": "other"}, False), ({"shape": (1, 5, 5)}, False)])
def test_a_published_figure_is_of_one_net_on_one_shape(changes, known):
    (model,) = profile_net(opened(CONV, **changes), [Picojoule()]).models
    assert [one.ratio for one in model.published] == ([pytest.approx(2.0)] if known else [])


def test_nothing_published_stands_beside_joules_that_are_not_known():
    (model,) = profile_net(opened(ODD), [Picojoule()]).models
    assert model.joules.value is None
    assert model.published == ()


def test_operators_without_a_rule_are_a_warning_of_the_net_and_not_of_a_model():
    found = profile_net(opened(CONV, unknown={"aten.fft": 0.125}), [])
    assert found.unknown == {"aten.fft": 0.125}
    assert found.warnings == (
        "no rule for aten.fft, 12.5% of all output elements: the multiplications in it, if any, are in no figure",
    )
    assert found.models == ()


def test_assumed_bits_are_noted_as_assumed():
    found = profile_net(opened(CONV), [], bits=(8, 4))
    assert found.notes[-1] == "Bits are assumed: 8 for weights, 4 for activations; nobody quantised the net."
    assert found.layers[0].bytes == (16 + 32) * 4 / 8 + 18
    assert profile_net(opened(CONV), []).bits is None


def test_activations_that_were_narrow_already_keep_their_peak():
    narrow = Workload(inputs=1, batch_size=1, operations=(msgspec.structs.replace(CONV, activation_bits=8),),
                      peak_activation_bytes=48.0)  # fmt: skip
    assert with_bits(narrow, (8, 8)).peak_activation_bytes == 48.0
    assert with_bits(msgspec.structs.replace(narrow, peak_activation_bytes=None), (8, 8)).peak_activation_bytes is None


def test_a_dynamic_net_is_run_on_many_inputs_and_one_with_a_fixed_batch_on_whole_ones():
    for net, given, ran in [
        (opened(CONV), {}, (1, 1)),
        (opened(CONV, dynamic=True), {}, (64, 1)),
        (opened(CONV, dynamic=True), {"batch_size": 48}, (96, 48)),
        (opened(CONV, batch=4), {}, (4, 4)),
        (opened(CONV, batch=4), {"inputs": 5}, (8, 4)),
        (opened(CONV), {"inputs": 6, "batch_size": 4}, (8, 4)),
        (opened(CONV), {"inputs": 3, "batch_size": 4}, (3, 4)),
    ]:
        found = profile_net(net, [], **given)
        assert (found.inputs, found.batch_size) == ran
        assert found.layers[0].macs == 288.0


def test_a_report_that_leaves_operations_out_keeps_the_order_of_the_rest():
    def energy(layer, joules):
        return LayerEnergy(layer=layer, operator="conv", joules={"MAC": joules}, macs=1.0)

    twice = (CONV, RELU, CONV, msgspec.structs.replace(CONV, layer="d"))
    report = msgspec.structs.replace(
        Picojoule().estimate(Workload(inputs=1, batch_size=1, operations=twice)),
        layers=(energy("d", 3.0), energy("c", 1.0), energy("c", 2.0)),
    )
    found = by_operation(report, Workload(inputs=1, batch_size=1, operations=twice))
    assert [one and one.joules["MAC"] for one in found] == [1.0, None, 2.0, 3.0]
