"""A stand-in for ``pynvml`` with boards by UUID, for which no compiler is needed."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

UNSIGNED_INT, UNSIGNED_LONG_LONG = 1, 3


class NVMLError(Exception):
    """The words of an error and its number, or, as the real one, the number alone."""

    def __init__(self, words: str | int, value: int | None = None) -> None:
        super().__init__(words)
        self.value = words if isinstance(words, int) else value


@dataclass(frozen=True)
class Handle:
    """Of a board, or of a MIG slice; worth nothing once the driver is loaded anew."""

    uuid: str
    generation: int


class FakeNvml(ModuleType):
    """Driver with boards by UUID; a board's millijoules may be an error, which is then raised.

    ``fields`` of a board are value type and value by number; ``loaded`` counts how often the driver was loaded.
    """

    NVMLError = NVMLError

    def __init__(self, boards: dict[str, dict[str, Any]]) -> None:
        super().__init__("pynvml")
        self.boards = boards
        self.users = 0
        self.driver = True
        self.loaded = 1

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.driver:
            raise NVMLError("NVML Shared Library Not Found", 12)
        self.users += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        if not self.driver:
            raise NVMLError("Uninitialized", 1)
        self.users -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        assert self.users > 0
        return len(self.boards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Handle:  # noqa: N802
        return Handle(list(self.boards)[index], self.loaded)

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Handle:  # noqa: N802
        assert self.users > 0
        if uuid.removeprefix("MIG-") not in self.boards:
            raise NVMLError("Not Found", 6)
        return Handle(uuid, self.loaded)

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: Handle) -> Handle:  # noqa: N802
        assert handle.uuid.startswith("MIG-")
        return Handle(handle.uuid.removeprefix("MIG-"), handle.generation)

    def nvmlDeviceGetUUID(self, handle: Handle) -> str:  # noqa: N802
        return handle.uuid

    def nvmlDeviceGetName(self, handle: Handle) -> str:  # noqa: N802
        return str(self._told(handle, "name"))

    def nvmlDeviceGetMigMode(self, handle: Handle) -> list[int]:  # noqa: N802
        return [self._told(handle, "mig"), 0]

    def nvmlDeviceGetPowerManagementLimitConstraints(self, handle: Handle) -> list[int]:  # noqa: N802
        return list(self._told(handle, "limits"))

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Handle) -> int:  # noqa: N802
        return int(self._told(handle, "millijoules"))

    def nvmlDeviceGetFieldValues(self, handle: Handle, wanted: list[tuple[int, int]]) -> list[Any]:  # noqa: N802
        fields, ((number, scope),) = self._told(handle, "fields"), wanted
        kind, value = fields.get(number, (UNSIGNED_INT, 0))
        told = {UNSIGNED_INT: "uiVal", UNSIGNED_LONG_LONG: "ullVal"}.get(kind, "dVal")
        known = number in fields and scope == 0  # scope 1 is the module, 2 the memory
        return [SimpleNamespace(nvmlReturn=0 if known else 3, valueType=kind,
                                value=SimpleNamespace(**{told: value}))]  # fmt: skip

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.1"

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Handle) -> int:  # noqa: N802
        return int(self._told(handle, "enforced"))

    def nvmlDeviceGetPersistenceMode(self, handle: Handle) -> int:  # noqa: N802
        return int(self._told(handle, "persistence"))

    def nvmlDeviceGetEccMode(self, handle: Handle) -> list[int]:  # noqa: N802
        return list(self._told(handle, "ecc"))

    def nvmlDeviceGetTemperature(self, handle: Handle, sensor: int) -> int:  # noqa: N802
        return int(self._told(handle, "celsius"))

    def nvmlDeviceGetClockInfo(self, handle: Handle, clock: int) -> int:  # noqa: N802
        return int(self._told(handle, "megahertz"))

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: Handle) -> int:  # noqa: N802
        return int(self._told(handle, "throttle"))

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Handle) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=pid) for pid in self._told(handle, "pids")]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Handle) -> list[Any]:  # noqa: N802
        raise NVMLError("Not Supported", 3)

    def nvmlSystemGetProcessName(self, pid: int) -> str:  # noqa: N802
        return f"/usr/bin/program{pid}"

    def _told(self, handle: Handle, what: str) -> Any:
        assert self.users > 0
        if handle.generation != self.loaded:
            raise NVMLError("Invalid Argument", 2)
        if what not in self.boards[handle.uuid]:
            raise NVMLError("Not Supported", 3)
        value = self.boards[handle.uuid][what]
        if isinstance(value, Exception):
            raise value
        return value


def two_boards() -> FakeNvml:
    """A board with its limits and one that tells none."""
    return FakeNvml(
        {
            "GPU-aa": {"name": "NVIDIA H100", "limits": [200_000, 700_000], "millijoules": 1_000_000},
            "GPU-bb": {"name": "NVIDIA L4", "millijoules": 5_000},
        }
    )
