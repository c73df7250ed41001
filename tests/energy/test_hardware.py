"""Descriptions of accelerators: what the shipped ones rest on, and what is refused."""

from __future__ import annotations

import math
from importlib.resources import files

import msgspec
import pytest

from joulemark.energy.accelerator import Accelerator, accelergy, from_file, horowitz
from joulemark.energy.hardware import Description
from joulemark.energy.model import energy_model
from joulemark.energy.row_stationary import Costs
from joulemark.workloads.workload import Operation, Workload

EYERISS = (files("joulemark.energy") / "eyeriss.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dram = 200.0", "dram = -1.0"),
        ("dram = 200.0", "dram = { weights = 1.0, inputs = 1.0 }"),
        ("dram = 200.0", "dram = { weights = -1.0, inputs = 1.0, sums = 1.0 }"),
        ("rows = 12", "rowz = 12"),
        ("rows = 12", "rows = 0"),
        ("run_bits = 5", ""),
    ],
)
def test_a_wrong_description_is_refused(old, new):
    assert old in EYERISS
    assert Description.read(EYERISS) == Description.shipped("eyeriss")
    with pytest.raises(msgspec.ValidationError):
        Description.read(EYERISS.replace(old, new))


def test_the_three_differ_in_nothing_but_costs():
    tables = [Description.shipped(name) for name in ("eyeriss", "horowitz", "accelergy")]
    sizes = ("rows", "columns", "buffer_words", "register_words", "word_bits", "run_bits")
    assert len({tuple(getattr(table, size) for size in sizes) for table in tables}) == 1
    assert len({table.name for table in tables}) == 3
    assert (tables[0].rows * tables[0].columns, tables[0].buffer_words, tables[0].register_words) == (168, 55_296, 256)


def test_the_ratios_of_eyeriss():
    chip = Description.shipped("eyeriss")
    assert (chip.mac, chip.register, chip.array, chip.buffer, chip.dram) == (1, 1, 2, 6, 200)


def test_horowitz_is_interpolated_as_the_file_says():
    """From 0.2 and 3.1 pJ (multiplying 8 and 32 bit), 0.03 and 0.1 (adding), 10, 20 and 100 pJ (8, 32 KB, 1 MB)."""
    chip = Description.shipped("horowitz")
    assert chip.mac == pytest.approx(4 * 0.2 + 0.03 + (0.1 - 0.03) / 3, abs=0.005)  # linear from 8 to 32 bit
    assert chip.register == pytest.approx(10 / 4 * (0.5 / 8) ** (math.log(20 / 10) / math.log(32 / 8)))
    assert chip.array == 2 * chip.register
    exponent = math.log(100 / 20) / math.log(1024 / 32)
    assert chip.buffer == pytest.approx(20 / 4 * (108 / 32) ** exponent, rel=1e-3)
    assert chip.dram == 1300 / 4
    assert horowitz().description.unit_joules == 1e-12


def test_accelergy_is_what_an_action_costs_over_the_words_it_moves():
    chip = Description.shipped("accelergy")
    read, write = 18.183829 / 4, 14.137929 / 4
    assert chip.register == Costs(weights=1.976602, inputs=0.202442, sums=pytest.approx((0.2513 + 0.2191) / 2))
    assert chip.buffer == Costs(
        weights=pytest.approx(read), inputs=pytest.approx(read), sums=pytest.approx((read + write) / 2)
    )
    assert chip.array == pytest.approx(0.2513 + 0.2191)
    assert chip.dram == 512 / 4


def test_an_8_bit_mac_costs_what_accelergy_lists():
    layer = Operation(
        layer="fc", operator="linear", input_shape=(10,), output_shape=(7,), weight_shape=(7, 10), rows=1, calls=1,
        macs=70, weight_bits=8, activation_bits=8,
    )  # fmt: skip
    report = accelergy().estimate(Workload(inputs=1, batch_size=1, operations=(layer,)))
    assert report.layers[0].joules["MAC"] == pytest.approx(70 * 0.207692e-12)
    assert set(accelergy().description.assumptions) <= set(report.assumptions)


def test_an_accelerator_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(EYERISS.replace('name = "row-stationary"', 'name = "mine"').replace("dram = 200.0", "dram = 20.0"))
    model = energy_model(str(path))
    assert isinstance(model, Accelerator)
    assert (model.name, model.description.dram) == ("mine", 20.0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", "takes the name 'row-stationary' of a model that is there"),
        ("rows = 12", "rows = many", "does not describe an accelerator"),
        ("rows = 12", "rows = 0", "does not describe an accelerator: Expected `int` >= 1"),
        ("array = 2.0", "array = 0.5", "does not describe an accelerator: costs of partial sums must not fall"),
    ],
)
def test_an_accelerator_that_cannot_be_used_is_refused(tmp_path, old, new, said):
    path = tmp_path / "mine.toml"
    path.write_text(EYERISS.replace(old, new))
    with pytest.raises(ValueError, match=r"mine\.toml") as error:
        energy_model(str(path))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        from_file(tmp_path / "none.toml")
