"""Builds fake hwmon trees in the form Linux gives them: links from the class into the devices."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from joulemark.meters.hwmon import HwmonPower


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


def grace(root: Path, number: int, meter: str, microwatts: int, *, milliseconds: int | None = 50) -> Path:
    """An ACPI power meter of a Grace machine, by the name that its firmware gives it."""
    files = {"device/power1_oem_info": meter, "device/power1_average": microwatts}
    if milliseconds is not None:
        files["device/power1_average_interval"] = milliseconds
    return chip(root, number, "power_meter", files)


def close(sensors: Iterable[HwmonPower]) -> None:
    """Close what a search had opened."""
    for sensor in sensors:
        sensor.close()
