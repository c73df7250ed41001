"""Board energy of NVIDIA GPUs from the counter that the driver keeps (Volta and newer), and power as a cross-check.

The counter covers the whole board with its memory, whoever uses it: MIG slices and other programs are in it. Needs
nvidia-ml-py (extra ``nvml``), which is imported only when asked for. Which other programs use a board, and what slows
it down, tell :func:`processes` and :func:`throttle_reasons`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from joulemark.meters.gpu_card import NOT_SUPPORTED, NvmlDevice, error_code
from joulemark.meters.source import Unavailable
from joulemark.record import Reading

UNIT_JOULES = 1e-3
"""``nvmlDeviceGetTotalEnergyConsumption`` counts millijoules since the driver was loaded (NVML API reference)."""

UNIT_WATTS = 1e-3
"""Power fields are in milliwatts (NVML API reference, ``NVML_FI_DEV_POWER_AVERAGE``)."""

UPDATE_SECONDS = 0.1
"""Update period of the power sensor on A100 and H100 (arXiv 2312.02741)."""

GAIN_UNCERTAINTY = 0.05
"""Sensor error is proportional, about +-5 % by board (arXiv 2312.02741).

Taken as one standard uncertainty, not narrowed to 5 % / sqrt(3), since single boards of that study read 6 % low. It is
shared by all windows on one board, so it cancels in a ratio.
"""

ENERGY_FIELD = 83
AVERAGE_FIELD = 185
INSTANT_FIELD = 186
"""Numbers of NVML field values: ``NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION``, ``..._POWER_AVERAGE``, ``..._INSTANT``."""

AVERAGING_SECONDS: dict[int, float | None] = {AVERAGE_FIELD: 1.0, INSTANT_FIELD: None}
"""The average is over one second (NVML API reference). ``None``: the instant power is an average over 25 ms on A100 and
H100 and over 100 ms on other boards (arXiv 2312.02741), and the driver does not say which."""

CITATION = "NVML total energy counter; gain and update period: Yang, Adamek and Armour 2024, arXiv 2312.02741"
POWER_CITATION = "NVML power fields 185 and 186; gain and update period: Yang, Adamek and Armour 2024, arXiv 2312.02741"

BOARDS = Path("/proc/driver/nvidia/gpus")
"""A folder for each board, made by the driver."""

THROTTLES = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x10: "sync boost",
    0x20: "thermal slowdown by the driver",
    0x40: "thermal slowdown by the hardware",
    0x80: "power brake",
}
"""Bits of ``nvmlClocksEventReasons`` (nvml.h) that hold the clocks down."""

DRIVER_FIX = "install the NVIDIA driver; in a container start it with the GPU passed through (`--gpus all`)"
COUNTER_FIX = "energy counters exist on Volta and newer; a vGPU of a virtual machine has none"
POWER_FIX = "power fields 185 and 186 need a driver of 530 or newer (recalled); the energy counter needs neither"
FAULT_FIX = "see what `nvidia-smi` says of this GPU; a lost one comes back with a restart"

T = TypeVar("T")
Reader = TypeVar("Reader", bound=NvmlDevice)


class NvmlBoard(NvmlDevice):
    """The energy counter of one GPU board; where its own function is missing, field value 83, which is the same.

    Raises pynvml's ``NVMLError`` if the board is unknown or has no energy counter.
    """

    unit_joules = UNIT_JOULES
    modulus = None  # 64 bits of millijoules
    update_seconds = UPDATE_SECONDS
    gain_uncertainty = GAIN_UNCERTAINTY
    citation = CITATION

    def __init__(self, nvml: ModuleType, uuid: str) -> None:
        super().__init__(nvml, uuid)
        self._raw = self._total
        try:
            self._choose()
        except self._nvml.NVMLError:
            self.close()
            raise

    def read(self) -> Reading:
        """Read the counter, in millijoules.

        Raises :class:`SourceLost` if the board is gone, :class:`ReadError` if this read failed or the source is closed.
        """
        return self._read(self._raw)

    def _choose(self) -> None:
        try:
            self._total()
        except self._nvml.NVMLError as error:
            if error_code(error) not in NOT_SUPPORTED:
                raise
            try:
                self._energy_field()
            except self._nvml.NVMLError:
                raise error from None  # the words about the counter itself say more
            self._raw = self._energy_field

    def _total(self) -> int:
        return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))

    def _energy_field(self) -> int:
        return self._field(ENERGY_FIELD)


class NvmlPower(NvmlDevice):
    """Power of one GPU board, a cross-check of its counter: ``field`` 185 is the average, 186 the instant power.

    Raises pynvml's ``NVMLError`` if the board is unknown or has no such field.
    """

    unit_watts = UNIT_WATTS
    update_seconds = UPDATE_SECONDS
    gain_uncertainty = GAIN_UNCERTAINTY
    citation = POWER_CITATION

    def __init__(self, nvml: ModuleType, uuid: str, field: int) -> None:
        super().__init__(nvml, uuid)
        self.field = field
        self.averaging_seconds = AVERAGING_SECONDS[field]
        self.kind = "average" if field == AVERAGE_FIELD else "instant"
        self.name = f"{self.name} {self.kind} power"
        try:
            self._raw()
        except self._nvml.NVMLError:
            self.close()
            raise

    def read(self) -> Reading:
        """Read the power, in milliwatts. Raises as :meth:`NvmlBoard.read`."""
        return self._read(self._raw)

    def _raw(self) -> int:
        return self._field(self.field)


def find_nvml() -> tuple[list[NvmlBoard], list[Unavailable]]:
    """Open the counter of every board of this machine; what cannot be opened is told with the reason and the fix.

    All boards are read, whatever ``CUDA_VISIBLE_DEVICES`` says: it numbers boards in another order than the driver.
    """
    return _find(lambda nvml, uuid: [NvmlBoard(nvml, uuid)], "no energy counter", COUNTER_FIX)


def find_nvml_power() -> tuple[list[NvmlPower], list[Unavailable]]:
    """Open the average and the instant power of every board, as :func:`find_nvml`."""

    def both(nvml: ModuleType, uuid: str) -> list[NvmlPower]:
        average = NvmlPower(nvml, uuid, AVERAGE_FIELD)
        try:
            return [average, NvmlPower(nvml, uuid, INSTANT_FIELD)]
        except nvml.NVMLError:
            average.close()
            raise

    return _find(both, "no power fields", POWER_FIX)


def _find(
    opened: Callable[[ModuleType, str], list[Reader]], missing: str, fix: str
) -> tuple[list[Reader], list[Unavailable]]:
    try:
        import pynvml as nvml
    except ImportError:
        there = any(BOARDS.glob("*"))
        return [], [
            Unavailable("nvml", "nvidia-ml-py is not installed", 'pip install "joulemark[nvml]"', present=there)
        ]
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return [], [Unavailable("nvml", f"no NVIDIA driver answers: {error}", DRIVER_FIX)]
    sources: list[Reader] = []
    unavailable: list[Unavailable] = []
    try:
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                sources += opened(nvml, nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index)))
            except nvml.NVMLError as error:
                known = error_code(error) is None or error_code(error) in NOT_SUPPORTED
                reason = f"{missing}: {error}" if known else f"the GPU does not answer: {error}"
                unavailable.append(Unavailable(f"nvml gpu {index}", reason, fix if known else FAULT_FIX, present=True))
    except nvml.NVMLError as error:
        unavailable.append(Unavailable("nvml", f"the GPUs cannot be counted: {error}", DRIVER_FIX))
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
    if not sources and not unavailable:
        unavailable.append(Unavailable("nvml", "the NVIDIA driver sees no GPU", DRIVER_FIX))
    return sources, unavailable


def processes(uuid: str) -> tuple[str, ...] | None:
    """Other programs that hold the board, "python (1234)"; ``None`` if nothing tells.

    In a container the numbers may be those of the host, where this program has another one.
    """

    def question(nvml: Any, handle: Any) -> tuple[str, ...]:
        return tuple(f"{_name(nvml, pid)} ({pid})" for pid in _process_ids(nvml, handle) if pid != os.getpid())

    return _ask(uuid, question)


def process_ids(uuid: str) -> tuple[int, ...] | None:
    """Numbers of all programs that hold the board, this one included; ``None`` if nothing tells."""
    return _ask(uuid, _process_ids)


def _process_ids(nvml: Any, handle: Any) -> tuple[int, ...]:
    found = [*nvml.nvmlDeviceGetComputeRunningProcesses(handle)]
    with contextlib.suppress(nvml.NVMLError):  # boards without a display
        found += nvml.nvmlDeviceGetGraphicsRunningProcesses(handle)
    return tuple(sorted({one.pid for one in found}))


def throttle_reasons(uuid: str) -> tuple[str, ...] | None:
    """What holds the clocks of the board down now, in words; empty if nothing does, ``None`` if nothing tells.

    Idle, and clocks that someone has set, are no throttling.
    """

    def question(nvml: Any, handle: Any) -> tuple[str, ...]:
        bits = int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
        return tuple(words for bit, words in THROTTLES.items() if bits & bit)

    return _ask(uuid, question)


def _ask(uuid: str, question: Callable[[Any, Any], T]) -> T | None:
    """The answer to a question about a board (library, handle); ``None`` if package, driver or board do not answer."""
    try:
        import pynvml as nvml

        nvml.nvmlInit()
    except ImportError:
        return None
    except nvml.NVMLError:
        return None
    try:
        return question(nvml, nvml.nvmlDeviceGetHandleByUUID(uuid))
    except nvml.NVMLError:
        return None
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _name(nvml: Any, pid: int) -> str:
    try:
        return str(nvml.nvmlSystemGetProcessName(pid)).rpartition("/")[2]
    except nvml.NVMLError:  # of another user, or outside this container
        return "process"
