"""Profiles against counts by hand: batches, bits, rows that leave, several models, what is left out."""

import io

import msgspec
import pytest
import torch
from rich.console import Console
from small_graphs import SHAPE, build

from joulemark.backends.onnx import export
from joulemark.energy.accelerator import Accelerator
from joulemark.energy.model import energy_model
from joulemark.energy.proxies import proxies
from joulemark.nets.net import Net
from joulemark.profiling.opening import open_net
from joulemark.profiling.profile import Profile, executed, in_batches, profile_net, with_bits
from joulemark.profiling.profile_text import BAR, as_renderables, bar, split
from joulemark.profiling.side_by_side import compare
from joulemark.record import EnergyReport, Kind, LayerEnergy, Quantity
from joulemark.workloads.recording import record

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
    from joulemark.profiling.profile import by_operation

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


def test_side_by_side_names_what_disagrees():
    first, second = (profile_net(open_net(name), MODELS) for name in ("lenet", "convnet"))
    both = compare(first, second)
    lines = {line.figure: line for line in both.lines}
    assert lines["parameters"].ratio == pytest.approx(89_706 / 431_080)
    assert lines["MACs per input"].ratio == pytest.approx(12_298_240 / 2_293_000)
    assert lines["datasheet"].kind == "modelled"
    (told,) = both.contradictions
    assert "less by parameters" in told
    assert "more by MACs per input" in told
    assert compare(first, first).contradictions == ()


def test_operators_without_macs_are_summed_and_nothing_is_lost():
    layers = profile_net(open_net("lenet"), MODELS).layers
    listed, rest = split(layers)
    for model in ("row-stationary", "microcontroller"):
        total = sum(sum(one.joules.get(model, {}).values()) for one in layers)
        assert sum(sum(one.joules.get(model, {}).values()) for one in (*listed, *rest)) == pytest.approx(total)
    assert {one.layer for one in rest} == {"(2 x max_pool)", "(1 x relu)"}
    assert split(layers, everything=True) == (list(layers), [])


def test_a_stacked_bar_is_as_long_as_its_sum():
    parts = {"a": 1.0, "b": 1.0, "c": 1.0}
    assert len(bar(parts, ("a", "b", "c"), 3.0)) == BAR
    assert len(bar(parts, ("a", "b", "c"), 6.0)) == BAR // 2
    assert bar({}, ("a",), 1.0) == bar(parts, ("a",), 0.0) == ""


def test_a_model_of_times_alone_is_drawn_in_seconds():
    class Clockwork:
        name, sources = "clockwork", ("invented for this test",)

        def estimate(self, workload):
            layers = tuple(
                LayerEnergy(layer=one.layer, operator=one.operator, joules={}, macs=one.macs, seconds=2e-6)
                for one in workload.operations
            )
            unknown = Quantity(value=None, unit="J/input", kind=Kind.MODELLED, method="m", scope="s", source="t",
                               reason="no power")  # fmt: skip
            seconds = msgspec.structs.replace(unknown, value=2e-6 * len(layers), unit="s/input", reason=None)
            return EnergyReport(model=self.name, joules=unknown, layers=layers, coverage=1.0, assumptions=(),
                                sources=self.sources, seconds=seconds)  # fmt: skip

    profile = profile_net(open_net("lenet"), [Clockwork()])
    assert all(layer.seconds == {"clockwork": 2e-6} and not layer.joules for layer in profile.layers)
    assert profile.warnings == ()
    screen = Console(width=160, record=True, file=io.StringIO())
    for one in as_renderables(profile):
        screen.print(one)
    shown = screen.export_text()
    assert "modelled s" in shown and "2.00 µs" in shown
    assert "per input; no power" in shown


def test_a_layer_that_fits_no_mapping_is_a_warning_that_names_the_constraint():
    eyeriss = Accelerator().description
    tiny = Accelerator(msgspec.structs.replace(eyeriss, name="tiny", register_words=8))
    warnings = profile_net(open_net("lenet"), [tiny]).warnings
    assert any(one.startswith("tiny does not describe conv, ") for one in warnings)
    assert any("needs 11 words of registers in an element (p q R + q R + p) and there are 8" in one for one in warnings)
