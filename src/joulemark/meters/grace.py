"""Power of NVIDIA Grace modules from their ACPI power meters, through hwmon.

``Module Power`` covers the whole module: the Grace processor, its memory and, on Grace Hopper, the GPU. It is called a
module and never a GPU. ``Grace``, ``CPU`` and ``SysIO`` are parts of it and are opened only on request.
"""

from __future__ import annotations

import re
from pathlib import Path

from joulemark.meters.hwmon import HWMON, HwmonPower, Properties, chips, milliseconds, text
from joulemark.meters.scope import contains
from joulemark.meters.source import ReadError, Unavailable

PARTS = {"Module": "", "Grace": "/grace", "CPU": "/grace/cpu", "SysIO": "/grace/sysio"}
"""What the firmware calls the meters, and where they lie in their module (Grace Performance Tuning Guide, "Power
Telemetry": Grace is CPU and SysIO)."""

UPDATE_SECONDS = 0.05
"""Shortest averaging interval of the firmware's meters, 50 ms (the other is 1 s; NVIDIA's EDK II platform code)."""

MAX_WATTS = 5000.0
"""Bound for a module, far above the largest (1 kW). It refuses the firmware's "unknown", 0xffffffff mW = 4.3 MW."""

CITATION = "ACPI power meter through Linux hwmon; scopes: NVIDIA Grace Performance Tuning Guide; gain unknown"

NO_METER_FIX = "nothing, unless this is a Grace machine: then `sudo modprobe acpi_power_meter`"

_METER = re.compile(r"(Module|Grace|CPU|SysIO) Power Socket (\d+)")


def find_grace(root: Path = HWMON, *, nested: bool = False) -> tuple[list[HwmonPower], list[Unavailable]]:
    """Open the outermost meters of every module; with ``nested`` those inside them, too."""
    files: dict[str, tuple[str, Path]] = {}
    for chip in chips(root, "power_meter"):
        for info in sorted([*chip.glob("power*_oem_info"), *chip.glob("device/power*_oem_info")]):
            meter = _METER.fullmatch(text(info) or "")
            if meter:
                path = f"wall/module-{meter[2]}{PARTS[meter[1]]}"
                files.setdefault(path, (meter[0], info.with_name(info.name.replace("oem_info", "average"))))
    if not files:
        return [], [Unavailable("grace", f"no power meter of a Grace module under {root}", NO_METER_FIX)]
    sensors: list[HwmonPower] = []
    unavailable: list[Unavailable] = []
    for path, (meter_name, file) in sorted(files.items()):
        if not nested and any(contains(outer, path) for outer in files if outer != path):
            continue
        opened = _open(f"grace {meter_name}", path, file)
        if isinstance(opened, Unavailable):
            unavailable.append(opened)
        else:
            sensors.append(opened)
    return sensors, unavailable


def _open(name: str, path: str, file: Path) -> HwmonPower | Unavailable:
    seconds = milliseconds(file.with_name(f"{file.name}_interval"))
    known = Properties(
        update_seconds=seconds or UPDATE_SECONDS,
        averaging_seconds=seconds,
        max_watts=MAX_WATTS,
        gain_uncertainty=None,
        citation=CITATION,
    )
    try:
        sensor = HwmonPower(name, path, [file], known)
    except OSError as error:
        return Unavailable(name, str(error), NO_METER_FIX, present=True)
    try:
        sensor.read()
    except ReadError as error:
        sensor.close()
        return Unavailable(name, str(error), NO_METER_FIX, present=True)
    return sensor
