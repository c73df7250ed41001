"""The zones of the Linux powercap tree, and which of them count the same energy.

``package`` zones and the ``dram`` beside them are disjoint and summed. ``core`` and ``uncore`` lie inside their
package, ``psys`` (the platform) contains the packages: they are nested. The zones of ``intel-rapl-mmio`` are the same
packages through another register, and so is any other zone whose scope was seen already: duplicates. AMD's zones carry
the names of Intel's; its ``core`` counts one core only (recalled, not verified), which is no matter while it is nested.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from joulemark.meters.scope import PLATFORM

POWERCAP = Path("/sys/class/powercap")

CONTROLS = ("intel-rapl", "intel-rapl-mmio")
"""Control types with energy counters, the better one first; AMD and TPMI register as ``intel-rapl``, too."""

_PACKAGE = re.compile(r"(package-\d+)(?:-(die-\d+))?")
_DRAM, _PSYS = "dram", "psys"


class Role(StrEnum):
    """What is done with a zone's energy."""

    SUMMED = "summed"
    NESTED = "nested"  # inside or around a summed zone
    DUPLICATE = "duplicate"  # the same energy as another zone
    UNKNOWN = "unknown"  # a name that we do not know


@dataclass(frozen=True)
class Zone:
    """One zone: its directory below the root, the scope path it counts and its role."""

    directory: Path
    name: str  # as its file says: "package-0", "core"
    path: str
    role: Role


def zones(root: Path = POWERCAP) -> list[Zone]:
    """Every RAPL zone under ``root``, in the order of the sockets; the first zone of a scope is the one that counts."""
    names = {path: _name(path) for control in CONTROLS for path in sorted(root.glob(f"{control}:*"), key=_numbers)}
    # Memory that has a zone of its own at the top comes last: beside packages that count theirs it says nothing new.
    ordered = sorted(names, key=lambda path: _top(path) and names[path] == _DRAM)
    found: list[Zone] = []
    for directory in ordered:
        parent = names.get(directory.parent / directory.name.rpartition(":")[0])
        path, role = _place(names[directory], parent, top=_top(directory))
        if path is None:
            found.append(Zone(directory, names[directory], "", Role.UNKNOWN))
            continue
        seen = {zone.path for zone in found}
        if path in seen or (_is_top_dram(directory, names) and any(_is_dram(one) for one in seen)):
            role = Role.DUPLICATE
        found.append(Zone(directory, names[directory], path, role))
    return found


def hidden_zones(root: Path = POWERCAP) -> list[Path]:
    """Zones at the top whose links lead nowhere: a container shows the class, but not the devices of its host."""
    links = [path for name in CONTROLS for path in sorted(root.glob(f"{name}:*"), key=_numbers)]
    return [path for path in links if _top(path) and path.is_symlink() and not path.exists()]


def control(directory: Path) -> str:
    """The control type of a zone, which is the register that it reads.

    >>> control(Path("intel-rapl-mmio:0:1"))
    'intel-rapl-mmio'
    """
    return directory.name.partition(":")[0]


def _place(name: str, parent: str | None, *, top: bool) -> tuple[str | None, Role]:
    """Scope path and role of a zone by its name and its parent's; no path if they mean nothing to us."""
    package = _PACKAGE.fullmatch(name if top else parent or "")
    if package is None:
        if top and name == _PSYS:
            return PLATFORM, Role.NESTED
        return (f"{PLATFORM}/dram-0", Role.SUMMED) if top and name == _DRAM else (None, Role.UNKNOWN)
    parts = [part for part in package.groups() if part]
    if top:
        return "/".join([PLATFORM, *parts]), Role.SUMMED
    if name == _DRAM:
        parts[0] = parts[0].replace("package", _DRAM)
        return "/".join([PLATFORM, *parts]), Role.SUMMED
    return ("/".join([PLATFORM, *parts, name]), Role.NESTED) if name in ("core", "uncore") else (None, Role.UNKNOWN)


def _is_dram(path: str) -> bool:
    return path.startswith(f"{PLATFORM}/{_DRAM}-")


def _is_top_dram(directory: Path, names: dict[Path, str]) -> bool:
    return _top(directory) and names[directory] == _DRAM


def _top(directory: Path) -> bool:
    return directory.name.count(":") == 1


def _numbers(directory: Path) -> list[int]:
    return [int(part) if part.isdigit() else -1 for part in directory.name.split(":")[1:]]


def _name(directory: Path) -> str:
    try:
        return (directory / "name").read_text(errors="replace").strip()
    except OSError:
        return ""
