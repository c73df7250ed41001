"""The learned model against sums worked out by hand from a profile whose numbers are planted."""

from __future__ import annotations

import pytest
from profiles import planted_profile

from joulemark.energy.features import Layer
from joulemark.energy.learned import Learned, device_model, median_net_error, net_error
from joulemark.energy.model import EnergyModel
from joulemark.record import Kind
from joulemark.workloads.workload import Operation, Workload

FC = Operation(
    layer="fc", operator="linear", input_shape=(20,), output_shape=(10,), weight_shape=(10, 20), rows=8, calls=2,
    macs=1600,
)  # fmt: skip
RELU = Operation(layer="relu", operator="relu", input_shape=(1000,), output_shape=(1000,), rows=8, calls=2, macs=0)
UP = Operation(
    layer="up", operator="conv_transpose", input_shape=(2, 4, 4), output_shape=(2, 8, 8), weight_shape=(2, 2, 2, 2),
    rows=8, calls=2, macs=400,
)  # fmt: skip


def workload(*operations: Operation) -> Workload:
    return Workload(inputs=8, batch_size=4, operations=operations)


def test_a_net_is_the_sum_of_its_layers():
    report = Learned(planted_profile()).estimate(workload(FC, RELU))
    fc, relu = (1e-3 + 4 * 10 * 1e-6) / 4, (2e-6 + 4000 * 1e-9) / 4  # one call has four rows
    assert [layer.seconds for layer in report.layers] == pytest.approx([fc, relu])
    assert report.seconds.value == pytest.approx(fc + relu)
    assert (report.seconds.unit, report.seconds.kind) == ("s/input", Kind.MODELLED)
    assert report.coverage == 1.0


def test_without_watts_there_are_no_joules_and_the_reason_says_so():
    report = Learned(planted_profile()).estimate(workload(FC, RELU))
    assert report.joules.value is None
    assert "power is missing" in report.joules.reason
    assert [layer.joules for layer in report.layers] == [{}, {}]


def test_with_watts_energy_is_time_times_power_layer_by_layer():
    report = Learned(planted_profile(watts=True)).estimate(workload(FC, RELU))
    fc, relu = (layer.seconds for layer in report.layers)
    assert report.joules.value == pytest.approx(50.0 * fc + 20.0 * relu)
    assert report.layers[0].joules == pytest.approx({"device": 50.0 * fc})
    assert (report.joules.unit, report.joules.kind, report.joules.reason) == ("J/input", Kind.MODELLED, None)


def test_a_layer_without_fitted_watts_leaves_the_joules_unknown():
    profile = planted_profile(watts=True)
    profile = planted_profile(fits=profile.fits[:3])  # none of ReLU's watts
    report = Learned(profile).estimate(workload(FC, RELU))
    assert report.joules.value is None
    assert report.joules.reason == "some layers of this net have no fitted power"


def test_what_is_not_described_lowers_the_coverage_and_is_named():
    report = Learned(planted_profile()).estimate(workload(FC, UP))
    assert report.coverage == pytest.approx(1600 / 2000)
    assert any("not described: conv_transpose of 'up'" in note for note in report.assumptions)


def test_a_net_without_any_described_layer_is_unknown():
    report = Learned(planted_profile()).estimate(workload(UP))
    assert (report.seconds.value, report.seconds.reason) == (None, "no layer has a fit")


def test_what_a_call_costs_is_counted_once_a_net():
    profile = planted_profile(call_seconds=1e-6)
    report = Learned(profile).estimate(workload(FC, RELU))
    plain = Learned(planted_profile()).estimate(workload(FC, RELU))
    assert report.seconds.value == pytest.approx(plain.seconds.value - 1e-6 / 4)  # two layers less, one net more


def test_what_is_fused_costs_nothing():
    report = Learned(planted_profile(free=("relu",))).estimate(workload(FC, RELU))
    assert [layer.seconds for layer in report.layers] == pytest.approx([(1e-3 + 4e-5) / 4, 0.0])


def test_rows_that_fewer_inputs_reach_count_for_fewer():
    rare = Operation(
        layer="fc", operator="linear", input_shape=(20,), output_shape=(10,), weight_shape=(10, 20), rows=2, calls=2,
        macs=400,
    )  # fmt: skip
    report = Learned(planted_profile()).estimate(workload(rare))
    assert report.seconds.value == pytest.approx(2 * (1e-3 + 1e-5) / 8)  # two calls of one row for eight inputs


def test_groups_are_convolutions_side_by_side():
    from profiles import line

    conv = line("conv", "seconds", 1e-6, (120, 1e-11))
    model = Learned(planted_profile(fits=(conv,)))
    one = Layer(type="conv", batch=1, input=(8, 4, 4), output=(8, 4, 4), groups=2)
    assert model.seconds_of(one) == pytest.approx(2 * (1e-6 + 4 * 4 * 4 * 4 * 1e-11))


def test_errors_of_judged_nets():
    profile = planted_profile()
    assert net_error(profile, profile.nets[0]) == pytest.approx(0.1)
    assert median_net_error(profile) == pytest.approx(0.1)
    assert median_net_error(profile, "joules") is None
    assert median_net_error(planted_profile(nets=())) is None


def test_the_first_assumption_tells_what_is_predicted_and_its_error():
    told = Learned(planted_profile()).estimate(workload(FC)).assumptions[0]
    assert told.startswith("seconds predicted for eager, modelled, not measured")
    assert "10.0% off" in told


def test_it_is_a_model_and_a_workload_without_inputs_is_refused(tmp_path):
    from joulemark.energy.device import write_profile

    write_profile(tmp_path / "p.json", planted_profile())
    model = device_model(tmp_path / "p.json")
    assert isinstance(model, EnergyModel)
    assert model.name == "learned"
    with pytest.raises(ValueError, match="need inputs"):
        model.estimate(Workload(inputs=0, batch_size=1, operations=()))
