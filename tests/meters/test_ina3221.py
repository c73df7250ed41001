"""Rails of a Jetson's INA3221 on fake hwmon trees; powers are computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hwmon_tree import chip, close, jetson

from joulemark.meters.ina3221 import UPDATE_SECONDS, find_ina3221

ORIN_NX = {1: ("VDD_IN", 5_000, 1_200), 2: ("VDD_CPU_GPU_CV", 5_000, 400), 3: ("VDD_SOC", 5_000, 300)}
AGX_ORIN = {1: ("VDD_GPU_SOC", 12_000, 900), 2: ("VDD_CPU_CV", 12_000, 500), 3: ("VIN_SYS_5V0", 5_000, 600)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "class/hwmon"


def test_the_rail_of_the_whole_module_is_the_only_one(root: Path) -> None:
    chip(root, 0, "nvme", {"temp1_input": 40_000})
    jetson(root, ORIN_NX, update_interval=18)
    sensors, unavailable = find_ina3221(root)
    assert unavailable == []
    (sensor,) = sensors
    assert (sensor.name, sensor.path, sensor.scope) == ("ina3221 VDD_IN", "wall/module-0", "module-0")
    assert sensor.read().raw * sensor.unit_watts == pytest.approx(6.0)  # 5 V x 1.2 A
    assert (sensor.update_seconds, sensor.averaging_seconds, sensor.gain_uncertainty) == (0.018, 0.018, None)
    close(sensors)


def test_a_rail_is_found_on_whichever_chip_and_channel(root: Path) -> None:
    jetson(root, {1: ("NC", 0, 0), 2: ("VDDQ", 5_000, 1)}, number=2)
    jetson(root, {3: ("POM_5V_IN", 4_900, 2_000)}, number=10)
    (sensor,), _ = find_ina3221(root)
    assert sensor.read().raw == 9_800_000  # 4.9 V x 2 A in microwatts
    assert (sensor.update_seconds, sensor.averaging_seconds) == (UPDATE_SECONDS, None)
    close([sensor])


def test_rails_that_are_not_the_module_are_never_called_it(root: Path) -> None:
    jetson(root, AGX_ORIN)
    sensors, (missing,) = find_ina3221(root)
    assert sensors == []
    assert missing.reason == "no rail of the whole module; its rails are VDD_CPU_CV, VDD_GPU_SOC, VIN_SYS_5V0"
    assert "wall meter" in missing.fix


@pytest.mark.parametrize("files", [{}, {"in1_input": "", "curr1_input": 1}])
def test_a_rail_that_cannot_be_read_is_told(root: Path, files: dict[str, Any]) -> None:
    chip(root, 1, "ina3221", {"in1_label": "VDD_IN", **files})
    sensors, (missing,) = find_ina3221(root)
    assert sensors == []
    assert missing.name == "ina3221 VDD_IN"
