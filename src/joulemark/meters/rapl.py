"""Processor and memory energy from RAPL, through the powercap files of Linux (Intel since Sandy Bridge, AMD since Zen).

Package zones and the ``dram`` zones beside them are read, one source each: they are disjoint, so their joules may be
added. Zones inside or around them (``core``, ``uncore``, ``psys``) are opened only on request. Where no ``dram`` zone
exists, memory is not covered.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from joulemark.meters.filtering import FLAG, MSR, energy_filtered
from joulemark.meters.powercap import POWERCAP, Role, Zone, control, hidden_zones, zones
from joulemark.meters.scope import PLATFORM, title
from joulemark.meters.source import ReadError, SourceLost, Unavailable, number, timed
from joulemark.record import Reading

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

DRAM_CITATION = (
    "Linux powercap; update period: Intel SDM volume 3, RAPL interfaces; no bound on the gain is published: offset on "
    "Haswell clients, better on servers that measure at the regulator, worst when idle (Desrochers et al. 2016)"
)

NO_ZONE_FIX = (
    "run on the machine itself instead of a virtual machine; on Intel or AMD load the driver with "
    "`sudo modprobe intel_rapl_msr`"
)

BROKEN_ZONE_FIX = "load the driver again: `sudo modprobe -r intel_rapl_msr && sudo modprobe intel_rapl_msr`"

PERMISSION_FIX = """let one group read the counters, and nobody else:
  sudo groupadd --system energy && sudo usermod --append --groups energy "$USER"
  printf '%s\\n' 'SUBSYSTEM=="powercap", KERNEL=="intel-rapl*:*", \
RUN+="/bin/chgrp energy /sys%p/energy_uj", RUN+="/bin/chmod 0440 /sys%p/energy_uj"' \
| sudo tee /etc/udev/rules.d/70-energy.rules
  sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=powercap
then log in again. Energy counters leak secrets of other programs (PLATYPUS, CVE-2020-8694): the group gets that power \
too, so do not open the files to everyone."""

UNKNOWN_FIX = "nothing needs to be done; a zone with a name that we do not know is left out rather than counted twice"

DUPLICATE_FIX = "nothing needs to be done; it is counted once"

TWIN_FIX = "nothing needs to be done; the other zone counts the same"

HIDDEN_FIX = (
    "start the container with the host's folder: `--volume "
    "/sys/devices/virtual/powercap:/sys/devices/virtual/powercap:ro`; Docker and Podman mask it unless told "
    "`--security-opt systempaths=unconfined` (Podman: `unmask=/sys/devices/virtual/powercap`)"
)
"""Container engines hide these files since 2023, because they leak secrets of other programs."""


class RaplCounter:
    """The energy counter of one powercap zone, kept open between reads.

    ``flags`` go with every result. Raises ``PermissionError`` if ``energy_uj`` may not be read, ``OSError`` or
    ``ValueError`` if a file is missing or holds no number.
    """

    unit_joules = UNIT_JOULES
    update_seconds = UPDATE_SECONDS
    gain_uncertainty = None

    def __init__(self, zone: Zone, *, flags: tuple[str, ...] = ()) -> None:
        self.zone, self.path = zone, zone.path
        self.scope = title(zone.path)
        self.name = f"rapl {self.scope.partition(' ')[2]}"
        self.citation = DRAM_CITATION if zone.name == "dram" else CITATION
        self.flags = flags
        self.modulus = _modulus(zone)
        self.max_watts = max_watts(zone.directory)
        self._root = zone.directory.parent
        # Kept open: reading costs one system call, and the file read at the end is the one read at the start.
        self._file: int | None = _opened(zone)

    def read(self) -> Reading:
        """Read the counter, in microjoules.

        Raises :class:`ReadError` if that fails this time or the file holds no number, :class:`SourceLost` if the zone
        is gone for good.
        """
        try:
            try:
                return timed(self._raw)
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise
                self._open_again()
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
        return number(os.pread(self._file, 64, 0))

    def _open_again(self) -> None:
        """Find the zone of this scope again after its driver was unloaded (the kernel answers ENODEV from then on).

        The register itself goes on counting. A new load may number zones otherwise, so the scope decides.
        """
        for zone in zones(self._root):
            same = (zone.path, control(zone.directory)) == (self.path, control(self.zone.directory))
            if same and _modulus(zone) == self.modulus:
                file = _opened(zone)
                self.close()
                self._file = file
                return
        raise SourceLost(f"{self.name}: its powercap zone is gone; load its driver: `sudo modprobe intel_rapl_msr`")


def _opened(zone: Zone) -> int:
    return os.open(zone.directory / "energy_uj", os.O_RDONLY | os.O_CLOEXEC)


def _modulus(zone: Zone) -> int:
    file = zone.directory / "max_energy_range_uj"
    modulus = number(file.read_bytes())
    if modulus == 0:
        raise ValueError(f"{file} says 0, so a turn of the counter cannot be told from a reset")
    return modulus


def max_watts(zone: Path) -> float:
    """Most watts a zone can draw on average, from its long- and short-term limits; 1000 W if it tells none.

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


def find_rapl(
    root: Path = POWERCAP, *, nested: bool = False, msr: Path = MSR
) -> tuple[list[RaplCounter], list[Unavailable]]:
    """Open the zones under ``root``; what cannot be opened and read once is told with the reason and the fix.

    The summed zones come first; in the place of one that cannot be read, another zone of the same scope is. With
    ``nested``, those inside or around them follow, which must never be added to them, and the zones that are left out
    for good are told, too.
    """
    found = zones(root)
    hidden = [_hidden(directory) for directory in hidden_zones(root)]
    if not any(zone.role is Role.SUMMED for zone in found):
        return [], hidden or [_no_package(root, found)]
    flags = (FLAG,) if energy_filtered(msr) else ()
    sources: list[RaplCounter] = []
    unavailable: list[Unavailable] = []
    for role in (Role.SUMMED, Role.NESTED) if nested else (Role.SUMMED,):
        for zone in found:
            if zone.role is role:
                twins = [one for one in found if one.role is Role.DUPLICATE and one.path == zone.path]
                source, told = _open_one_of([zone, *twins], flags)
                unavailable += told
                sources += [source] if source is not None else []
    return sources, unavailable + hidden + (_left_out(found, sources) if nested else [])


def _open_one_of(same: Sequence[Zone], flags: tuple[str, ...]) -> tuple[RaplCounter | None, list[Unavailable]]:
    """Open the first readable of some zones of one scope, and tell of those before it; of none, of the first alone."""
    failed: list[Unavailable] = []
    for zone in same:
        opened = _open(zone, flags)
        if not isinstance(opened, Unavailable):
            instead = f"; {zone.directory.name} is read instead"
            return opened, [Unavailable(one.name, one.reason + instead, TWIN_FIX) for one in failed]
        failed.append(opened)
    return None, failed[:1]


def _no_package(root: Path, found: Sequence[Zone]) -> Unavailable:
    """Why there is no zone of a package, where none is hidden."""
    if any(zone.path == PLATFORM for zone in found):
        reason = f"no RAPL package under {root}, though the platform around it (psys) is there: it is hidden"
        return Unavailable("rapl", reason, HIDDEN_FIX, present=True)
    reason = (
        f"no RAPL package under {root}: a virtual machine, a processor that is neither Intel nor AMD, a system "
        "other than Linux, or a driver that is not loaded"
    )
    return Unavailable("rapl", reason, NO_ZONE_FIX)


def _hidden(directory: Path) -> Unavailable:
    reason = f"{directory} is a link to {directory.readlink()}, which a container does not show: the counter is hidden"
    return Unavailable(f"rapl {directory.name}", reason, HIDDEN_FIX, present=True)


def _open(zone: Zone, flags: tuple[str, ...]) -> RaplCounter | Unavailable:
    """Open a zone and read it once."""
    name = f"rapl {zone.directory.name}"
    try:
        source = RaplCounter(zone, flags=flags)
    except PermissionError:
        return Unavailable(
            name,
            f"no permission to read {zone.directory / 'energy_uj'} ({title(zone.path)})",
            PERMISSION_FIX,
            present=zone.role is Role.SUMMED,
        )
    except (OSError, ValueError) as error:
        return Unavailable(name, str(error), BROKEN_ZONE_FIX, present=zone.role is Role.SUMMED)
    try:
        source.read()
    except ReadError as error:
        source.close()
        return Unavailable(name, str(error), BROKEN_ZONE_FIX, present=zone.role is Role.SUMMED)
    return source


def _left_out(found: list[Zone], sources: Sequence[RaplCounter]) -> list[Unavailable]:
    """Why some zones are not opened."""
    missing = []
    for zone in found:
        name = f"rapl {zone.directory.name}"
        if zone.role is Role.DUPLICATE and not any(source.zone == zone for source in sources):
            missing.append(Unavailable(name, f"counts {title(zone.path)} once more", DUPLICATE_FIX))
        elif zone.role is Role.UNKNOWN:
            missing.append(Unavailable(name, f"a zone of unknown name {zone.name!r}", UNKNOWN_FIX))
    return missing
