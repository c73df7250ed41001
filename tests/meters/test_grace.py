"""Power meters of Grace modules on fake hwmon trees, named as DCGM and the firmware name them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hwmon_tree import chip, close, grace

from joulemark.meters.grace import MAX_WATTS, UPDATE_SECONDS, find_grace
from joulemark.meters.probe import probe_power
from joulemark.meters.scope import overlap


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "class/hwmon"


@pytest.fixture
def grace_hopper(root: Path) -> Path:
    """Two modules."""
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
    assert (sensor.path, sensor.update_seconds, sensor.averaging_seconds) == (
        "wall/module-0/grace", UPDATE_SECONDS, None,
    )  # fmt: skip
    sensor.close()


def test_parts_beside_each_other_are_both_read_and_a_module_of_another_socket_hides_none(root: Path) -> None:
    grace(root, 1, "Module Power Socket 10", 500_000_000)
    grace(root, 2, "SysIO Power Socket 0", 40_000_000)
    grace(root, 3, "CPU Power Socket 0", 110_000_000)
    sensors, _ = find_grace(root)
    assert [s.path for s in sensors] == ["wall/module-0/grace/cpu", "wall/module-0/grace/sysio", "wall/module-10"]
    close(sensors)


def test_a_meter_is_found_beside_its_chips_name_and_under_any_number(root: Path) -> None:
    chip(root, 3, "power_meter", {"power2_oem_info": "Module Power Socket 0", "power2_average": 7_000_000,
                                  "power2_average_interval": 1000})  # fmt: skip
    (sensor,), _ = find_grace(root)
    assert (sensor.name, sensor.read().raw) == ("grace Module Power Socket 0", 7_000_000)
    assert (sensor.update_seconds, sensor.averaging_seconds) == (1.0, 1.0)
    sensor.close()


def test_the_chip_of_the_lower_number_is_read_where_two_name_one_meter(root: Path) -> None:
    grace(root, 10, "Module Power Socket 0", 10)
    grace(root, 9, "Module Power Socket 0", 9)
    (sensor,), unavailable = find_grace(root)
    assert (sensor.read().raw, unavailable) == (9, [])
    sensor.close()


@pytest.mark.parametrize(("microwatts", "read"), [(MAX_WATTS * 1e6, True), (0xFFFFFFFF * 1000, False)])
def test_unknown_power_of_the_firmware_is_no_power(root: Path, microwatts: float, read: bool) -> None:
    grace(root, 1, "Module Power Socket 0", int(microwatts))  # 0xffffffff milliwatts, as the driver shows it
    sensors, unavailable = find_grace(root)
    assert (len(sensors), len(unavailable)) == (read, not read)
    assert all("more than the part can draw" in one.reason and one.present for one in unavailable)
    close(sensors)


@pytest.mark.parametrize("text", [None, "", "none"])
def test_a_meter_that_cannot_be_read_is_named_as_present_and_hides_no_other(root: Path, text: str | None) -> None:
    broken = grace(root, 1, "Module Power Socket 0", 0) / "device/power1_average"
    broken.unlink() if text is None else broken.write_text(text)
    grace(root, 2, "Module Power Socket 1", 5)
    (sensor,), (missing,) = find_grace(root)
    assert sensor.path == "wall/module-1"
    assert (missing.name, missing.present) == ("grace Module Power Socket 0", True)
    assert missing.reason
    sensor.close()


@pytest.mark.parametrize(
    "meter", ["Chassis", "Module Power Socket", "Module Power Socket 0 (spare)", "GPU Power Socket 0"]
)
def test_other_power_meters_are_not_taken_for_modules(root: Path, meter: str) -> None:
    grace(root, 1, meter, 500_000_000)
    chip(root, 2, "acpi_fan", {"device/power1_oem_info": "Module Power Socket 0", "device/power1_average": 1})
    sensors, (missing,) = find_grace(root)
    assert sensors == []
    assert (missing.name, missing.present) == ("grace", False)
    assert str(root) in missing.reason


def test_probing_power_joins_both_and_their_reasons(grace_hopper: Path) -> None:
    sensors, unavailable = probe_power(grace_hopper)
    assert [sensor.path for sensor in sensors] == ["wall/module-0", "wall/module-1"]
    assert [missing.name for missing in unavailable] == ["ina3221"]
    for sensor in sensors:
        sensor.close()
