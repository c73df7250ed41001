"""Power sensors of the hardware monitoring files of Linux, kept open between reads."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from joulemark.meters.scope import title
from joulemark.meters.source import ReadError, SourceLost, number, timed
from joulemark.record import Reading

HWMON = Path("/sys/class/hwmon")


@dataclass(frozen=True)
class Properties:
    """What is known of a sensor beside its files; see :class:`joulemark.meters.source.PowerSensor`."""

    update_seconds: float
    averaging_seconds: float | None
    max_watts: float
    gain_uncertainty: float | None
    citation: str


class HwmonPower:
    """Power in microwatts: the product of the whole numbers in ``files`` (one in uW, or two in mV and mA).

    Several files are read one after another, not at once. Raises ``OSError`` if one cannot be opened.
    """

    unit_watts = 1e-6

    def __init__(self, name: str, path: str, files: Sequence[Path], known: Properties) -> None:
        self.name = name
        self.path = path
        self.scope = title(path)
        self.update_seconds = known.update_seconds
        self.averaging_seconds = known.averaging_seconds
        self.max_watts = known.max_watts
        self.gain_uncertainty = known.gain_uncertainty
        self.citation = known.citation
        self._files: list[int] = []
        try:
            for file in files:
                self._files.append(os.open(file, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            self.close()
            raise

    def read(self) -> Reading:
        """Read the power, in microwatts. Raises :class:`ReadError`; :class:`SourceLost` if the chip is gone."""
        try:
            return timed(self._raw)
        except (OSError, ValueError) as error:
            gone = isinstance(error, OSError) and error.errno == errno.ENODEV
            raise (SourceLost if gone else ReadError)(f"{self.name}: {error}") from error

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.pop())

    def _raw(self) -> int:
        if not self._files:
            raise ValueError("the source is closed")
        microwatts = math.prod(number(os.pread(file, 64, 0)) for file in self._files)
        if microwatts * self.unit_watts > self.max_watts:
            raise ValueError(f"{microwatts * self.unit_watts:.4g} W is more than the part can draw")
        return microwatts


def chips(root: Path, name: str) -> list[Path]:
    """Directories of the chips with this driver name, in the order of their numbers."""
    found = [path for path in root.glob("hwmon[0-9]*") if text(path / "name") == name]
    return sorted(found, key=lambda path: int(path.name.removeprefix("hwmon")))


def text(file: Path) -> str | None:
    """What a file says, without the white space around it; ``None`` if it cannot be read."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return None


def milliseconds(file: Path) -> float | None:
    """Seconds in a file that counts milliseconds; ``None`` if it is not there or holds no number above 0."""
    told = text(file) or ""
    return int(told) / 1000 if told.isdecimal() and int(told) > 0 else None
