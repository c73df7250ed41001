"""Processor energy from RAPL, through the powercap files of Linux (Intel since Sandy Bridge, AMD since Zen).

Only package zones are read, one source each. ``core`` and ``uncore`` lie inside their package, ``psys`` (the platform)
contains the packages, and the zones of ``intel-rapl-mmio`` are the same packages seen through another register: adding
any of them would count energy twice. ``dram`` lies beside the package and is not read, so memory is not covered.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from joulemark.meters.source import ReadError, Unavailable, timed
from joulemark.record import Reading

POWERCAP = Path("/sys/class/powercap")

UNIT_JOULES = 1e-6
"""``energy_uj`` and ``max_energy_range_uj`` are in microjoules (Documentation/power/powercap/powercap.rst)."""

UPDATE_SECONDS = 1e-3
"""RAPL energy registers are refreshed about every millisecond (Intel SDM volume 3, "RAPL Interfaces")."""

MAX_WATTS = 1000.0
"""Bound for a package that does not tell its limits: about twice the largest packages sold (500 W)."""

LIMIT_MARGIN = 1.5
"""A package can draw more than its limit for a moment before RAPL acts; our margin for the average of an interval."""

CITATION = (
    "Linux powercap; update period: Intel SDM volume 3, RAPL interfaces; no bound on the gain is published for every "
    "part, it follows plug power closely (Khan et al. 2018, doi:10.1145/3177754)"
)

NO_ZONE_FIX = (
    "run on the machine itself instead of a virtual machine; on Intel or AMD load the driver with "
    "`sudo modprobe intel_rapl_msr`"
)

BROKEN_ZONE_FIX = "load the driver again: `sudo modprobe -r intel_rapl_msr && sudo modprobe intel_rapl_msr`"

PERMISSION_FIX = """let one group read the counters, and nobody else:
  sudo groupadd --system energy && sudo usermod --append --groups energy "$USER"
  printf '%s\\n' 'SUBSYSTEM=="powercap", KERNEL=="intel-rapl:*", \
RUN+="/bin/chgrp energy /sys%p/energy_uj", RUN+="/bin/chmod 0440 /sys%p/energy_uj"' \
| sudo tee /etc/udev/rules.d/70-energy.rules
  sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=powercap
then log in again. Energy counters leak secrets of other programs (PLATYPUS, CVE-2020-8694): the group gets that power \
too, so do not open the files to everyone."""

_PACKAGE = re.compile(r"package-\d+(-die-\d+)?")


class RaplPackage:
    """The energy counter of one processor package (or of one die of it), kept open between reads.

    ``zone`` is its powercap directory. Raises ``PermissionError`` if ``energy_uj`` may not be read, ``OSError`` or
    ``ValueError`` if a file is missing or holds no number.
    """

    unit_joules = UNIT_JOULES
    update_seconds = UPDATE_SECONDS
    gain_uncertainty = None
    citation = CITATION

    def __init__(self, zone: Path) -> None:
        package = (zone / "name").read_text().strip()
        self.name = f"rapl {package}"
        self.scope = f"processor {package}"
        self.modulus = int((zone / "max_energy_range_uj").read_text())
        self.max_watts = max_watts(zone)
        # Kept open: reading costs one system call, and the file read at the end is the one read at the start.
        self._file: int | None = os.open(zone / "energy_uj", os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> Reading:
        """Read the counter, in microjoules. Raises :class:`ReadError` if the file is gone or holds no number."""
        try:
            return timed(self._raw)
        except (OSError, ValueError) as error:
            raise ReadError(f"{self.name}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _raw(self) -> int:
        if self._file is None:
            raise ValueError("the source is closed")
        return int(os.pread(self._file, 64, 0))


def max_watts(zone: Path) -> float:
    """Most watts a package can draw on average, from its long- and short-term limits; 1000 W if it tells none.

    Both the rated and the set limits count, since boards are often set above the rating; some are set to "unlimited"
    (4 kW), which the general bound cuts.
    """
    limits_uw = []
    for constraint in ("constraint_0", "constraint_1"):
        for limit in ("max_power_uw", "power_limit_uw"):
            with contextlib.suppress(OSError, ValueError):
                limits_uw.append(int((zone / f"{constraint}_{limit}").read_text()))
    watts = LIMIT_MARGIN * max(limits_uw, default=0) * 1e-6
    return min(watts, MAX_WATTS) if watts > 0 else MAX_WATTS


def package_zones(root: Path = POWERCAP) -> list[Path]:
    """Directories of the package zones under ``root``, each package once, in the order of the sockets."""
    zones: dict[str, Path] = {}
    by_number = sorted(root.glob("intel-rapl:*"), key=lambda zone: [int(part) for part in zone.name.split(":")[1:]])
    for zone in by_number:
        with contextlib.suppress(OSError):
            name = (zone / "name").read_text().strip()
            if _PACKAGE.fullmatch(name):
                zones.setdefault(name, zone)
    return list(zones.values())


def find_rapl(root: Path = POWERCAP) -> tuple[list[RaplPackage], list[Unavailable]]:
    """Open every package under ``root``; what cannot be opened and read once is told with the reason and the fix."""
    zones = package_zones(root)
    if not zones:
        reason = (
            f"no RAPL package under {root}: a virtual machine, a processor that is neither Intel nor AMD, a system "
            "other than Linux, or a driver that is not loaded"
        )
        return [], [Unavailable("rapl", reason, NO_ZONE_FIX)]
    sources: list[RaplPackage] = []
    unavailable: list[Unavailable] = []
    for zone in zones:
        try:
            source = RaplPackage(zone)
        except PermissionError:
            reason = f"no permission to read {zone / 'energy_uj'}"
            unavailable.append(Unavailable(f"rapl {zone.name}", reason, PERMISSION_FIX))
            continue
        except (OSError, ValueError) as error:
            unavailable.append(Unavailable(f"rapl {zone.name}", str(error), BROKEN_ZONE_FIX))
            continue
        try:
            source.read()
        except ReadError as error:
            source.close()
            unavailable.append(Unavailable(f"rapl {zone.name}", str(error), BROKEN_ZONE_FIX))
        else:
            sources.append(source)
    return sources, unavailable
