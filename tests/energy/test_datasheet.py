"""The data-sheet model against arithmetic by hand and the figure that the literature prints."""

import pytest

from joulemark.energy.datasheet import DataSheet, devices
from joulemark.energy.model import energy_model
from joulemark.record import Kind
from joulemark.workloads.workload import Operation, Workload


def workload(macs, *, inputs=1, rows=None, **more):
    layer = Operation(
        layer="fc", operator="linear", input_shape=(10,), output_shape=(10,), weight_shape=(10, 10),
        rows=inputs if rows is None else rows, calls=1, macs=macs, **more,
    )  # fmt: skip
    return Workload(inputs=inputs, batch_size=1, operations=(layer,))


def resnet50_macs():
    """Multiply-accumulates of ResNet-50 (stride in the 3 x 3 convolutions) at 224 x 224, by hand."""
    macs = 112 * 112 * 64 * 3 * 49
    before = 64
    for blocks, width, size, wide in ((3, 64, 56, 56), (4, 128, 28, 56), (6, 256, 14, 28), (3, 512, 7, 14)):
        for block in range(blocks):
            first = wide if block == 0 else size  # the first 1 x 1 convolution comes before the stride
            macs += first * first * before * width + size * size * (width * width * 9 + width * 4 * width)
            if block == 0:
                macs += size * size * before * 4 * width
            before = 4 * width
    return macs + 2048 * 1000


def test_resnet50_beside_the_published_figure():
    macs = resnet50_macs()
    assert macs == 4_089_184_256  # torchvision's documentation: 4.09 G
    model = energy_model("datasheet")
    report = model.estimate(workload(macs))
    assert report.joules.value == pytest.approx(0.152, abs=5e-4)  # 8.18 GFLOP / (53.8 GFLOPS/W)
    (figure,) = model.published
    assert (figure.net, figure.input_shape, figure.joules) == ("resnet50", (3, 224, 224), 0.19)
    assert report.joules.value / figure.joules == pytest.approx(0.80, abs=0.005)  # "about 80 % of the peak"
    assert "not measured" in figure.remark


def test_peaks_are_those_of_cores_and_clocks():
    for name, cores, hertz in (
        ("rtx-2080-ti", 4352, 1.545e9),
        ("rtx-2080-ti-founders", 4352, 1.635e9),
        ("tesla-t4", 2560, 1.59e9),
        ("a100-pcie", 6912, 1.41e9),
    ):
        assert devices()[name].peak_flops.value == pytest.approx(2 * cores * hertz, rel=1e-3)


def test_every_device_can_be_asked_for_and_says_where_its_figures_are_from():
    for name in devices():
        model = DataSheet().variant(name)
        assert model.estimate(workload(10**9)).joules.value > 0
        for word in ("peak", "power"):
            (source,) = [one for one in model.sources if one.startswith(word)]
            assert "seen" in source or "transcribed" in source or "derived" in source or "recalled" in source


def test_rows_that_leave_early_cost_nothing_later():
    half = DataSheet().estimate(workload(500, inputs=10, rows=5))
    assert half.joules.value == pytest.approx(50 * DataSheet().device.joules_per_mac)
    assert half.joules.kind is Kind.MODELLED
    assert half.joules.value == pytest.approx(sum(sum(one.joules.values()) for one in half.layers))


def test_without_products_it_is_unknown_not_zero():
    report = DataSheet().estimate(Workload(inputs=1, batch_size=1, operations=()))
    assert report.joules.value is None
    assert report.joules.reason
    with pytest.raises(ValueError, match="without inputs"):
        DataSheet().estimate(Workload(inputs=0, batch_size=1, operations=()))


def test_an_unknown_device_is_one_sentence():
    with pytest.raises(ValueError, match="did you mean 'tesla-t4'"):
        DataSheet("tesla-t44")
