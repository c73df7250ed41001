"""Energy of Apple's chips from the counters that macOS keeps, without root.

Needs zeus-apple-silicon (extra ``apple``), which is imported only when asked for.

The system calls the group of these counters its "Energy Model"; Apple publishes neither update period nor error. So
every result carries the flag ``system_model``: good for ratios on one machine, not for absolute joules.
"""

from __future__ import annotations

import platform
import sys
from typing import Any

from joulemark.meters.scope import title
from joulemark.meters.source import ReadError, Unavailable, timed
from joulemark.record import Reading

CHANNELS = {
    "cpu_total_mj": "wall/platform/package-0/cpu",
    "gpu_mj": "wall/platform/package-0/gpu",
    "ane_mj": "wall/platform/package-0/ane",
    "dram_mj": "wall/platform/dram-0",
}
"""Fields of ``AppleEnergyMetrics`` and what they cover, disjoint. Cores and clusters lie inside ``cpu_total_mj``;
``gpu_sram_mj`` is left out, since nobody says whether the GPU has it already."""

UPDATE_SECONDS = 0.1
"""Ours, cautious: Apple publishes none."""

MAX_WATTS = 500.0
"""Bound for one part: above the largest machine's whole supply (Mac Studio, 480 W; recalled)."""

CITATION = 'IOReport "Energy Model" through zeus-apple-silicon; neither update period nor gain is published'


class AppleCounter:
    """One energy channel of an Apple chip. ``monitor`` is an ``AppleEnergyMonitor``."""

    unit_joules = 1e-3
    modulus = None
    max_watts = MAX_WATTS
    update_seconds = UPDATE_SECONDS
    gain_uncertainty = None
    citation = CITATION
    flags = ("system_model",)

    def __init__(self, monitor: Any, channel: str) -> None:
        self.path = CHANNELS[channel]
        self.scope = title(self.path)
        self.name = f"apple {self.path.rpartition('/')[2]}"
        self._monitor = monitor
        self._channel = channel

    def read(self) -> Reading:
        """Read the counter, in millijoules. Raises :class:`ReadError` if the channel is not there or closed."""
        try:
            return timed(self._raw)
        except (RuntimeError, ValueError) as error:
            raise ReadError(f"{self.name}: {error}") from error

    def close(self) -> None:
        """Let go of the monitor."""
        self._monitor = None

    def _raw(self) -> int:
        if self._monitor is None:
            raise ValueError("the source is closed")
        millijoules = getattr(self._monitor.get_cumulative_energy(), self._channel)
        if millijoules is None:
            raise ValueError("this chip does not tell it")
        return int(millijoules)


def on_apple() -> bool:
    """Whether this is a Mac with Apple's own chip."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def find_apple() -> tuple[list[AppleCounter], list[Unavailable]]:
    """Open every channel of the chip; what cannot be opened is told with the reason and the fix."""
    if not on_apple():
        return [], [Unavailable("apple", "not a Mac with an Apple chip", "nothing needs to be done")]
    try:
        import zeus_apple_silicon as library
    except ImportError:
        return [], [Unavailable("apple", "zeus-apple-silicon is not installed", 'pip install "joulemark[apple]"')]
    try:
        monitor = library.AppleEnergyMonitor()
    except RuntimeError as error:
        return [], [
            Unavailable("apple", f"macOS gives no energy counters: {error}", "run on the Mac itself, not in a VM")
        ]
    sources: list[AppleCounter] = []
    unavailable: list[Unavailable] = []
    for channel in CHANNELS:
        source = AppleCounter(monitor, channel)
        try:
            source.read()
        except ReadError as error:
            unavailable.append(Unavailable(source.name, str(error), "nothing can be done on this chip"))
        else:
            sources.append(source)
    return sources, unavailable
