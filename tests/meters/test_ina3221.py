"""Power sensors of Jetson and Grace on fake hwmon trees; powers are computed by hand."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from joulemark.meters.grace import find_grace
from joulemark.meters.hwmon import HwmonPower
from joulemark.meters.ina3221 import UPDATE_SECONDS, find_ina3221
from joulemark.meters.probe import probe_power
from joulemark.meters.scope import overlap
from joulemark.meters.source import ReadError, SourceLost

ORIN_NX = {1: ("VDD_IN", 5_000, 1_200), 2: ("VDD_CPU_GPU_CV", 5_000, 400), 3: ("VDD_SOC", 5_000, 300)}
AGX_ORIN = {1: ("VDD_GPU_SOC", 12_000, 900), 2: ("VDD_CPU_CV", 12_000, 500), 3: ("VIN_SYS_5V0", 5_000, 600)}


def chip(root: Path, number: int, name: str, files: dict[str, Any]) -> Path:
    """``hwmonN`` as a link into a device, with the driver's name."""
    device = root.parent.parent / f"devices/chip-{number}/hwmon/hwmon{number}"
    for file, value in {"name": name, **files}.items():
        (device / file).parent.mkdir(parents=True, exist_ok=True)
        (device / file).write_text(f"{value}\n")
    root.mkdir(parents=True, exist_ok=True)
    (root / device.name).symlink_to(os.path.relpath(device, root))
    return root / device.name


def jetson(root: Path, rails: dict[int, tuple[str, int, int]], number: int = 1, **more: Any) -> Path:
    """An INA3221 with its rails: label, millivolts, milliamperes."""
    files: dict[str, Any] = {"in7_label": "sum of shunt voltages", "in7_input": 9, "curr4_input": 2_000, **more}
    for channel, (label, millivolts, milliamperes) in rails.items():
        files |= {f"in{channel}_label": label, f"in{channel}_input": millivolts, f"curr{channel}_input": milliamperes}
    return chip(root, number, "ina3221", files)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "class/hwmon"


def close(sensors: list[HwmonPower]) -> None:
    for sensor in sensors:
        sensor.close()


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


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EIO, ReadError), (errno.ENODATA, ReadError), (errno.ENODEV, SourceLost)]
)
def test_a_dead_chip_is_lost_and_a_hiccup_is_not(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[ReadError]
) -> None:
    jetson(root, ORIN_NX)
    (sensor,), _ = find_ina3221(root)

    def pread(*_: Any) -> bytes:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(os, "pread", pread)
        with pytest.raises(ReadError, match="VDD_IN") as caught:
            sensor.read()
    assert type(caught.value) is kind
    assert sensor.read().raw == 6_000_000
    sensor.close()
    with pytest.raises(ReadError, match="closed"):
        sensor.read()


def grace(root: Path, number: int, meter: str, microwatts: int, *, milliseconds: int | None = 50) -> None:
    files = {"device/power1_oem_info": meter, "device/power1_average": microwatts}
    if milliseconds is not None:
        files["device/power1_average_interval"] = milliseconds
    chip(root, number, "power_meter", files)


@pytest.fixture
def grace_hopper(root: Path) -> Path:
    """Two modules as DCGM and the firmware name them."""
    for socket in (0, 1):
        grace(root, 4 * socket + 1, f"Module Power Socket {socket}", 600_000_000 + socket)
        grace(root, 4 * socket + 2, f"Grace Power Socket {socket}", 150_000_000)
        grace(root, 4 * socket + 3, f"CPU Power Socket {socket}", 110_000_000)
        grace(root, 4 * socket + 4, f"SysIO Power Socket {socket}", 40_000_000)
    return root


def test_a_grace_hopper_module_is_a_module_and_never_a_gpu(grace_hopper: Path) -> None:
    sensors, unavailable = find_grace(grace_hopper)
    assert unavailable == []
    assert [(s.path, s.scope, s.read().raw) for s in sensors] == [
        ("wall/module-0", "module-0", 600_000_000),
        ("wall/module-1", "module-1", 600_000_001),
    ]
    assert {(s.update_seconds, s.averaging_seconds) for s in sensors} == {(0.05, 0.05)}
    words = " ".join(f"{s.name} {s.scope}".lower() for s in sensors)
    assert not any(word in words for word in ("gpu", "hopper", "board", "accelerator"))
    assert overlap(sensors[0].path, "wall/board-GPU-aa")  # so that a window refuses both
    close(sensors)


def test_parts_of_a_module_come_on_request(grace_hopper: Path) -> None:
    sensors, _ = find_grace(grace_hopper, nested=True)
    inner = ["", "/grace", "/grace/cpu", "/grace/sysio"]
    assert [s.path for s in sensors] == [f"wall/module-{m}{part}" for m in (0, 1) for part in inner]
    close(sensors)


def test_without_a_module_meter_the_outermost_part_is_read(root: Path) -> None:
    grace(root, 1, "Grace Power Socket 0", 150_000_000, milliseconds=None)
    grace(root, 2, "CPU Power Socket 0", 110_000_000)
    (sensor,), _ = find_grace(root)
    assert (sensor.path, sensor.averaging_seconds) == ("wall/module-0/grace", None)
    sensor.close()


def test_unknown_power_of_the_firmware_is_no_power(root: Path) -> None:
    grace(root, 1, "Module Power Socket 0", 0xFFFFFFFF * 1000)  # 0xffffffff milliwatts, as the driver shows it
    sensors, (missing,) = find_grace(root)
    assert sensors == []
    assert "more than the part can draw" in missing.reason


def test_other_power_meters_are_not_taken_for_modules(root: Path) -> None:
    grace(root, 1, "Chassis", 500_000_000)
    sensors, (missing,) = find_grace(root)
    assert sensors == []
    assert missing.name == "grace"


def test_probing_power_joins_both_and_their_reasons(grace_hopper: Path) -> None:
    sensors, unavailable = probe_power(grace_hopper)
    assert [sensor.path for sensor in sensors] == ["wall/module-0", "wall/module-1"]
    assert [missing.name for missing in unavailable] == ["ina3221"]
    for sensor in sensors:
        sensor.close()
