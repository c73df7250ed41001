"""Board energy of NVIDIA GPUs from the counter that the driver keeps (Volta and newer).

The counter covers the whole board with its memory, whoever uses it: MIG slices and other programs are in it. Needs
nvidia-ml-py (extra ``nvml``), which is imported only when asked for.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from joulemark.meters.source import ReadError, Unavailable, timed
from joulemark.record import Reading

UNIT_JOULES = 1e-3
"""``nvmlDeviceGetTotalEnergyConsumption`` counts millijoules since the driver was loaded (NVML API reference)."""

UPDATE_SECONDS = 0.1
"""Update period of the power sensor on A100 and H100 (arXiv 2312.02741)."""

GAIN_UNCERTAINTY = 0.05
"""Sensor error is proportional, about +-5 % by board (arXiv 2312.02741).

Taken as one standard uncertainty, not narrowed to 5 % / sqrt(3), since single boards of that study read 6 % low. It is
shared by all windows on one board, so it cancels in a ratio.
"""

MAX_WATTS = 2000.0
"""Bound for a board that does not tell its limit: above the largest boards sold."""

LIMIT_MARGIN = 1.5
"""Short peaks pass the power limit before the board throttles; our margin for the average of an interval."""

CITATION = "NVML total energy counter; gain and update period: Yang, Adamek and Armour 2024, arXiv 2312.02741"

DRIVER_FIX = "install the NVIDIA driver; in a container start it with the GPU passed through (`--gpus all`)"


class NvmlBoard:
    """The energy counter of one GPU board, bound by ``uuid`` so that a change of order cannot swap boards.

    ``nvml`` is the module ``pynvml``. Raises its ``NVMLError`` if the board is unknown or has no energy counter.
    """

    unit_joules = UNIT_JOULES
    modulus = None  # 64 bits of millijoules
    update_seconds = UPDATE_SECONDS
    gain_uncertainty = GAIN_UNCERTAINTY
    citation = CITATION

    def __init__(self, nvml: ModuleType, uuid: str) -> None:
        self._nvml: Any = nvml
        self._open = False
        # NVML counts its users, so every board holds the library for itself and gives it back in close().
        self._nvml.nvmlInit()
        self._open = True
        try:
            self._handle = self._nvml.nvmlDeviceGetHandleByUUID(uuid)
            self.name = f"nvml {self._nvml.nvmlDeviceGetName(self._handle)}"
            self.path = f"wall/board-{uuid}"
            self.scope = f"accelerator board {uuid}"
            self.max_watts = self._max_watts()
            self._raw()
        except self._nvml.NVMLError:
            self.close()
            raise

    def read(self) -> Reading:
        """Read the counter, in millijoules. Raises :class:`ReadError` if the board is lost or the source closed."""
        try:
            return timed(self._raw)
        except self._nvml.NVMLError as error:
            raise ReadError(f"{self.name}: {error}") from error

    def close(self) -> None:
        """Give the library back."""
        if self._open:
            self._open = False
            self._nvml.nvmlShutdown()

    def _raw(self) -> int:
        if not self._open:
            raise ReadError(f"{self.name}: the source is closed")
        return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))

    def _max_watts(self) -> float:
        try:
            _, most_milliwatts = self._nvml.nvmlDeviceGetPowerManagementLimitConstraints(self._handle)
        except self._nvml.NVMLError:
            return MAX_WATTS
        return LIMIT_MARGIN * float(most_milliwatts) * 1e-3


def find_nvml() -> tuple[list[NvmlBoard], list[Unavailable]]:
    """Open every board of this machine; what cannot be opened is told with the reason and the fix.

    All boards are read, whatever ``CUDA_VISIBLE_DEVICES`` says: it numbers boards in another order than the driver.
    """
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return [], [Unavailable("nvml", "nvidia-ml-py is not installed", 'pip install "joulemark[nvml]"')]
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return [], [Unavailable("nvml", f"no NVIDIA driver answers: {error}", DRIVER_FIX)]
    try:
        return _open_boards(nvml)
    finally:
        nvml.nvmlShutdown()


def _open_boards(nvml: Any) -> tuple[list[NvmlBoard], list[Unavailable]]:
    sources: list[NvmlBoard] = []
    unavailable: list[Unavailable] = []
    for index in range(nvml.nvmlDeviceGetCount()):
        name = f"nvml gpu {index}"
        try:
            uuid = nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index))
            sources.append(NvmlBoard(nvml, uuid))
        except nvml.NVMLError as error:
            fix = "energy counters exist on Volta and newer; a vGPU of a virtual machine has none"
            unavailable.append(Unavailable(name, f"no energy counter: {error}", fix))
    if not sources and not unavailable:
        unavailable.append(Unavailable("nvml", "the NVIDIA driver sees no GPU", DRIVER_FIX))
    return sources, unavailable
