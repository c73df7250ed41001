"""Power of NVIDIA Jetson modules from their INA3221 chips (Texas Instruments), through hwmon.

Only the rail that feeds the whole module is read: the other rails are parts of it, or side by side with parts that no
chip measures, so no sum of them is the module. Boards differ; AGX Xavier and AGX Orin have no such rail (the
``VIN_SYS_5V0`` of AGX Orin is a 5 V supply beside ``VDD_GPU_SOC`` and ``VDD_CPU_CV``, not their input).
"""

from __future__ import annotations

from pathlib import Path

from joulemark.meters.hwmon import HWMON, HwmonPower, Properties, chips, milliseconds, text
from joulemark.meters.source import ReadError, Unavailable

TOTAL_RAILS = ("VDD_IN", "POM_5V_IN")
"""Labels of the input of a whole module: TX2, Xavier NX, Orin NX and Nano; Nano and TX1 (as jetson_stats has them)."""

MODULE = "wall/module-0"

UPDATE_SECONDS = 6.6e-3
"""Without ``update_interval``: 3 channels, each 1.1 ms for its bus and 1.1 ms for its shunt voltage, the chip's default
(TI data sheet SBOS576; recalled, not verified)."""

MAX_WATTS = 300.0
"""Bound for a module: above the largest sold (AGX Thor, 130 W; recalled), with our margin."""

CITATION = (
    "INA3221 through Linux hwmon, bus voltage times current; update period: Documentation/hwmon/ina3221.rst; the gain "
    "depends on the board's shunt resistor, for which no bound is published"
)

NO_CHIP_FIX = "nothing, unless this is a Jetson: then use NVIDIA's kernel, JetPack 5 or newer"

NO_RAIL_FIX = "measure at the plug with a wall meter"


def find_ina3221(root: Path = HWMON) -> tuple[list[HwmonPower], list[Unavailable]]:
    """Open the rail of the whole module; if there is none, say which rails there are."""
    found = chips(root, "ina3221")
    if not found:
        return [], [Unavailable("ina3221", f"no INA3221 chip under {root}: not a Jetson", NO_CHIP_FIX)]
    rails = {text(chip / f"in{n}_label") or "": (chip, n) for chip in found for n in (1, 2, 3)}
    label = next((label for label in TOTAL_RAILS if label in rails), None)
    if label is None:
        others = ", ".join(sorted(rails.keys() - {"", "NC"})) or "none with a label"
        return [], [Unavailable("ina3221", f"no rail of the whole module; its rails are {others}", NO_RAIL_FIX)]
    chip, channel = rails[label]
    name = f"ina3221 {label}"
    try:
        sensor = HwmonPower(
            name, MODULE, [chip / f"in{channel}_input", chip / f"curr{channel}_input"], _properties(chip)
        )
    except OSError as error:
        return [], [Unavailable(name, str(error), NO_CHIP_FIX, present=True)]
    try:
        sensor.read()
    except ReadError as error:
        sensor.close()
        return [], [
            Unavailable(
                name, str(error), f"enable the channel: `echo 1 | sudo tee {chip}/in{channel}_enable`", present=True
            )
        ]
    return [sensor], []


def _properties(chip: Path) -> Properties:
    seconds = milliseconds(chip / "update_interval")
    return Properties(
        update_seconds=seconds or UPDATE_SECONDS,
        averaging_seconds=seconds,  # the samples of an interval are spread over all of it
        max_watts=MAX_WATTS,
        gain_uncertainty=None,
        citation=CITATION,
    )
