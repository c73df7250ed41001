"""What the meter is: fields and limits (V0), update periods (V1), counter against power (V2), plausible watts (V10)."""

from __future__ import annotations

import statistics
from typing import Any

from joulemark.meters.nvml import AVERAGE_FIELD, ENERGY_FIELD, INSTANT_FIELD, processes, throttle_reasons
from joulemark.meters.source import ReadError
from joulemark.selftest.load import CNN, COMPUTE, MEMORY, flops
from joulemark.selftest.outcome import Found, Target, below
from joulemark.selftest.rig import Bench, Trace

DUTIES = (0.0, 0.25, 0.5, 0.75, 1.0)
CYCLE_SECONDS = 0.2
SETTLING_SECONDS = 2.0
"""The average power still remembers what was before: twice its averaging time."""

LONGEST_UPDATE_SECONDS = 0.12
"""Our windows are planned for an update each 0.1 s; ours, with room for jitter."""


def facts(uuid: str) -> dict[str, Any]:
    """What the driver says of the board; what it does not tell is ``None``. ``ReadError`` if the board is gone."""
    import pynvml as nvml

    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise ReadError(f"{uuid}: {error}") from error
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        found: dict[str, Any] = {"driver": _tell(nvml, nvml.nvmlSystemGetDriverVersion)}
        for name, function in (
            ("name", "nvmlDeviceGetName"), ("power_limit_mw", "nvmlDeviceGetEnforcedPowerLimit"),
            ("persistence", "nvmlDeviceGetPersistenceMode"), ("ecc", "nvmlDeviceGetEccMode"),
            ("mig", "nvmlDeviceGetMigMode"),
        ):  # fmt: skip
            found[name] = _tell(nvml, getattr(nvml, function), handle)
        found["temperature_celsius"] = _tell(nvml, nvml.nvmlDeviceGetTemperature, handle, 0)
        found["sm_clock_mhz"] = _tell(nvml, nvml.nvmlDeviceGetClockInfo, handle, 1)
        found["fields"] = {
            f"{field} scope {scope}": _field_code(nvml, handle, field, scope)
            for field in (ENERGY_FIELD, AVERAGE_FIELD, INSTANT_FIELD)
            for scope in (0, 1, 2)  # GPU, module, memory
        }
    except nvml.NVMLError as error:
        raise ReadError(f"{uuid}: {error}") from error
    finally:
        nvml.nvmlShutdown()
    return {**found, "processes": processes(uuid), "throttled_by": throttle_reasons(uuid)}


def dump(bench: Bench) -> Found:
    """V0: what is there."""
    found = facts(bench.board)
    alone = None if found["processes"] is None else float(len(found["processes"]))
    return [below("other programs on the board", alone, 1)], found


def updates(bench: Bench) -> Found:
    """V1: how often counter and power fields change, idle and busy, and how long a read takes."""
    figures: dict[str, Any] = {}
    for state in ("idle", "busy"):
        trace = _spin(bench, 8.0, busy=state == "busy")
        figures[f"{state}_counter_update_seconds"] = trace.period()
        for name, values in trace.watts_read.items():
            figures[f"{state}_{name}_update_seconds"] = trace.period(values)
    reads = []
    for _ in range(50):
        reading = bench.counter.read()
        reads.append((reading.after_ns - reading.before_ns) / 1e9)
    figures["read_seconds"] = statistics.median(reads)
    busy = figures["busy_counter_update_seconds"]
    return [below("update period of the counter, seconds", busy, LONGEST_UPDATE_SECONDS)], figures


def agreement(bench: Bench) -> Found:
    """V2: mean watts by the counter and by both power fields, at five shares of the time busy."""
    rows = []
    for duty in DUTIES:
        trace = duty_cycle(bench, duty, 16.0)
        counter = trace.watts(SETTLING_SECONDS)
        row: dict[str, Any] = {"duty": duty, "counter_watts": counter}
        for name in bench.powers:
            watts = trace.integrated(name, SETTLING_SECONDS)
            row[f"{name}_watts"] = watts
            row[f"counter_over_{name}"] = counter / watts if counter is not None and watts else None
        rows.append(row)
    full = rows[-1]
    names = list(bench.powers) or ["average"]
    ratios = {name: full.get(f"counter_over_{name}") for name in names}
    return [
        below(f"counter / integrated {name} power - 1, busy", None if ratio is None else ratio - 1, 0.01)
        for name, ratio in ratios.items()
    ], {"levels": rows}


def plausibility(bench: Bench) -> Found:
    """V10: no more watts than the limit, and more for arithmetic than for memory than for nothing."""
    idle = bench.idle(8).watts()
    memory, compute = bench.work(MEMORY, 8), bench.work(COMPUTE, 8)
    watts = {"idle_watts": idle, "memory_watts": memory.trace.watts(), "compute_watts": compute.trace.watts()}
    joules, operations = compute.joules_per_step, flops(COMPUTE)
    limit = facts(bench.board)["power_limit_mw"]
    most, share = watts["compute_watts"], None
    if most is not None and limit:
        share = most / (limit * 1e-3)
    known = [one for one in watts.values() if one is not None]
    ordered = known == sorted(known) if len(known) == 3 else None
    return [
        below("compute-bound watts / power limit", share, 1.05),
        Target(name="idle < memory-bound < compute-bound watts", wanted="true", value=None, passed=ordered),
    ], {
        **watts,
        "compute_joules_per_flop": None if joules is None or operations is None else joules / operations,
    }


def duty_cycle(bench: Bench, duty: float, seconds: float) -> Trace:
    """Work a share of each fifth of a second, and watch."""
    if duty in (0.0, 1.0):
        return bench.work(CNN, seconds, powers=True).trace if duty else _spin(bench, seconds, busy=False)
    trace = Trace(bench, powers=True)
    steps = bench.steps(CNN, duty * CYCLE_SECONDS / bench.pace)
    start = bench.clock.now()
    for cycle in range(1, 1 + round(seconds * bench.pace / CYCLE_SECONDS)):
        bench.load.run(CNN, steps, trace.sample)
        while (left := start + cycle * CYCLE_SECONDS - bench.clock.now()) > 0:
            trace.sample()
            bench.clock.sleep(min(left, trace.every / 2))
    return trace


def _spin(bench: Bench, seconds: float, *, busy: bool) -> Trace:
    trace = Trace(bench, powers=True, every=0.002)
    if busy:
        bench.load.run(CNN, bench.steps(CNN, seconds), trace.sample)
        return trace
    end = bench.clock.now() + seconds * bench.pace
    while bench.clock.now() < end:
        trace.sample()
        bench.clock.sleep(trace.every / 2)
    return trace


def _tell(nvml: Any, function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except nvml.NVMLError:
        return None


def _field_code(nvml: Any, handle: Any, field: int, scope: int) -> int:
    """NVML's answer to a field: 0 is a value, 3 is "not supported"."""
    try:
        return int(nvml.nvmlDeviceGetFieldValues(handle, [(field, scope)])[0].nvmlReturn)
    except nvml.NVMLError as error:
        return int(error.value)
