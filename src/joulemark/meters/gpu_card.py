"""A GPU board held through NVML by its UUID: who reads it shares how it is found, lost and found again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from joulemark.meters.source import ReadError, SourceLost, timed
from joulemark.record import Reading

MAX_WATTS = 2000.0
"""Bound for a board that does not tell its limit: above the largest boards sold."""

LIMIT_MARGIN = 1.5
"""Short peaks pass the power limit before the board throttles; our margin for the average of an interval."""

NOT_SUPPORTED = {3, 13}
"""NVML_ERROR_NOT_SUPPORTED, FUNCTION_NOT_FOUND: this board or this driver will never tell."""

_LOST = {1, 2, 6, 9, 15, 16, 18, 28}
"""UNINITIALIZED, INVALID_ARGUMENT (a handle from before the driver was loaded anew), NOT_FOUND, DRIVER_NOT_LOADED,
GPU_IS_LOST, RESET_REQUIRED, LIB_RM_VERSION_MISMATCH, GPU_NOT_FOUND: no later read on this handle can succeed."""


class NvmlDevice:
    """A GPU board bound by ``uuid``, so that a change of order cannot swap boards; what its readers share.

    ``nvml`` is the module ``pynvml``. The UUID of a MIG slice stands for its board, since slices have no sensor.
    Raises its ``NVMLError`` if the board is unknown.
    """

    def __init__(self, nvml: ModuleType, uuid: str) -> None:
        self._nvml: Any = nvml
        self._open = True
        self._handle: Any = None
        self._held = False
        self._lost: str | None = None
        self._bind(uuid)
        try:
            if uuid.startswith("MIG-"):
                self._handle = self._nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self._handle)
                uuid = self._nvml.nvmlDeviceGetUUID(self._handle)
            self.uuid = uuid
            self.name = f"nvml {self._nvml.nvmlDeviceGetName(self._handle)}"
            self.shared = self._shared()
            self.scope = f"accelerator board {uuid}" + (" (shared by MIG slices)" if self.shared else "")
            self.path = f"wall/board-{uuid}"
            self.max_watts = self._max_watts()
        except self._nvml.NVMLError:
            self.close()
            raise

    def close(self) -> None:
        """Give the library back."""
        self._open = False
        self._release()

    def _read(self, raw: Callable[[], int]) -> Reading:
        """Read once; a lost board is bound anew by its UUID and read again, once for each loss.

        Raises :class:`SourceLost`, now and ever after, if that does not help; :class:`ReadError` for what may pass.
        """
        if not self._open:
            raise ReadError(f"{self.name}: the source is closed")
        if self._lost is not None:
            raise SourceLost(self._lost)
        try:
            return timed(raw)
        except self._nvml.NVMLError as error:
            if error_code(error) not in _LOST:
                raise ReadError(f"{self.name}: {error}") from error
        try:
            self._release()
            self._bind(self.uuid)
            return timed(raw)
        except self._nvml.NVMLError as error:
            if error_code(error) not in _LOST:
                raise ReadError(f"{self.name}: {error}") from error
            self._lost = f"{self.name}: {error}, also after the board was looked up anew by its UUID"
            raise SourceLost(self._lost) from error

    def _bind(self, uuid: str) -> None:
        # NVML counts its users, so every reader holds the library for itself and gives it back in close().
        self._nvml.nvmlInit()
        self._held = True
        try:
            self._handle = self._nvml.nvmlDeviceGetHandleByUUID(uuid)
        except self._nvml.NVMLError:
            self._release()
            raise

    def _release(self) -> None:
        if self._held:
            self._held = False
            with contextlib.suppress(self._nvml.NVMLError):  # a driver that is gone holds nothing of ours
                self._nvml.nvmlShutdown()

    def _field(self, field: int) -> int:
        """The whole number in a field value; scope 0, so that a Grace-Hopper module is never taken for its GPU."""
        (value,) = self._nvml.nvmlDeviceGetFieldValues(self._handle, [(field, 0)])
        if value.nvmlReturn != 0:
            raise self._nvml.NVMLError(value.nvmlReturn)
        if value.valueType not in (1, 3):  # NVML_VALUE_TYPE_UNSIGNED_INT, UNSIGNED_LONG_LONG
            raise self._nvml.NVMLError(3)
        return int(value.value.uiVal if value.valueType == 1 else value.value.ullVal)

    def _shared(self) -> bool:
        try:
            return bool(self._nvml.nvmlDeviceGetMigMode(self._handle)[0])
        except self._nvml.NVMLError:  # boards without MIG answer that they do not support it
            return False

    def _max_watts(self) -> float:
        try:
            _, most_milliwatts = self._nvml.nvmlDeviceGetPowerManagementLimitConstraints(self._handle)
        except self._nvml.NVMLError:
            return MAX_WATTS
        return LIMIT_MARGIN * float(most_milliwatts) * 1e-3


def error_code(error: Exception) -> int | None:
    """NVML's number of an ``NVMLError``."""
    return getattr(error, "value", None)
