"""What this machine is, and whether it is quiet enough to measure on.

Two records may be compared only if their ``hardware_class`` is the same. The class is made of what decides speed and
energy of a network and stays the same between runs: processor, widest vector and matrix instructions, usable cores,
accelerator. Everything is read from files below ``root`` (Linux); what cannot be read is ``None``, never a guess.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path

from joulemark.record import Check, Conditions, Machine, content_key

ROOT = Path("/")

QUIET_LOAD = 0.25
"""Runnable programs per core, averaged over one minute, above which a machine is not quiet (ours)."""

BUSY_SHARE = 0.1
"""A program that takes more than this share of one core is busy (ours; the clock ticks below allow steps of 0.05)."""

SAMPLE_SECONDS = 0.2

PACKAGES = ("joulemark", "torch", "numpy", "onnx", "onnxruntime", "onnxscript", "openvino")

_VENDORS = {"GenuineIntel": "intel", "AuthenticAMD": "amd", "HygonGenuine": "hygon"}

_VECTORS = ("avx512f", "avx2", "avx", "sse4_2", "sve2", "sve", "asimd")  # widest first, x86 then Arm
_MATRICES = ("amx_tile", "sme")
_EXTENSION_NAMES = {"avx512f": "avx512", "sse4_2": "sse4", "asimd": "neon", "amx_tile": "amx"}

INSTRUCTIONS = {
    "bf16": frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"}),
    "int8": frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}),
}
"""Precision -> instructions that compute products of it, as Linux names them on x86 and on Arm: one of them will do."""


@dataclass(frozen=True)
class Activity:
    """What the machine has done up to now; two of them make :class:`joulemark.record.Conditions`."""

    seconds: float  # monotonic
    own_cpu_seconds: float
    busy_cpu_seconds: float | None
    stolen_seconds: float | None
    throttles: int | None


def this_machine(root: Path = ROOT) -> Machine:
    """Describe this machine from the files below ``root``; what they do not tell comes from :mod:`platform`."""
    cpu = _cpuinfo(root)
    flags = _flags(cpu)
    processor = cpu.get("model name") or platform.processor() or platform.machine() or "unknown"
    vendor = _VENDORS.get(cpu.get("vendor_id", ""), "")
    accelerator = _nvml_accelerator() or _proc_accelerator(root)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(
        hardware_class=hardware_class(processor, vendor, flags, cores, accelerator),
        processor=processor,
        cores=cores,
        memory_bytes=_memory_bytes(root),
        accelerator=accelerator,
        system=f"{platform.system()} {platform.release()}",
        virtual="hypervisor" in flags if "flags" in cpu else None,
        governor=_governor(root),
    )


def hardware_class(processor: str, vendor: str, flags: set[str], cores: int, accelerator: str | None) -> str:
    """Readable name of the class of machines that may be compared.

    >>> hardware_class("Intel(R) Xeon(R) Processor", "intel", {"avx2", "avx512f", "amx_tile"}, 2, None)
    'intel-xeon-avx512-amx-2core'
    >>> hardware_class("AMD EPYC 7B13 64-Core Processor", "amd", {"avx2"}, 8, "NVIDIA H100 80GB HBM3")
    'amd-epyc-7b13-avx2-8core-nvidia-h100-80gb-hbm3'
    """
    # Trade marks, generation, marketing core count and clock say nothing that the rest of the name does not.
    noise = r"\((r|tm)\)|\d+(st|nd|rd|th) gen|\d+-core|\b(processor|cpu)\b|@.*"
    model = _slug(re.sub(noise, " ", processor.lower()))
    if vendor and vendor not in model:
        model = f"{vendor}-{model}".rstrip("-")
    extensions = [next((name for name in names if name in flags), None) for names in (_VECTORS, _MATRICES)]
    parts = [model, *(_EXTENSION_NAMES.get(name, name) for name in extensions if name), f"{cores}core"]
    if accelerator:
        parts.append(_slug(accelerator))
    return "-".join(parts)


def computed_by_detours(precision: str, root: Path = ROOT) -> str | None:
    """That this processor has no instructions for products of a precision, in words.

    ``None`` if it has some, if the precision needs none, or where nothing tells.
    """
    flags = _flags(_cpuinfo(root))
    if not flags or precision not in INSTRUCTIONS or flags & INSTRUCTIONS[precision]:
        return None
    return f"this processor has no {precision} instructions and computes it by detours, slower than it could be"


def boot(root: Path = ROOT) -> str | None:
    """Eight hex digits that name the time since this machine was started; ``None`` where nothing tells.

    Of the kernel's random boot_id (random(4)) a hash is kept, since systemd's machine-id(5) asks for such names not to
    be published as they are.
    """
    name = _read(root / "proc/sys/kernel/random/boot_id")
    return content_key("boot", name)[:8] if name else None


def quiet_checks(root: Path = ROOT) -> list[Check]:
    """Check what disturbs a measurement; takes 0.2 s, during which the caller should be idle."""
    return [
        _check_load(root),
        _check_processes(root),
        _check_governor(root),
        _check_battery(root),
        _check_virtual(root),
    ]


def activity(root: Path = ROOT) -> Activity:
    """Read the counters of CPU time and of slow-downs because of heat, as they stand now."""
    total = (_read(root / "proc/stat") or "").partition("\n")[0].split()
    # proc(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are in user and nice already.
    ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in total[1:9]] if total[:1] == ["cpu"] else []
    heat = root.glob("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count")
    counts = [_read(path) for path in heat]
    known = [int(count) for count in counts if count is not None]
    return Activity(
        seconds=time.monotonic(),
        own_cpu_seconds=time.process_time(),
        busy_cpu_seconds=sum(ticks[:3]) + sum(ticks[5:7]) if len(ticks) >= 7 else None,
        stolen_seconds=ticks[7] if len(ticks) == 8 else None,
        throttles=sum(known) if known else None,
    )


def conditions(before: Activity, after: Activity) -> Conditions:
    """Say what happened between two readings; what was unknown at either edge is ``None``."""

    def rise(one: float | None, other: float | None) -> float | None:
        return None if one is None or other is None else max(0.0, other - one)

    throttles = rise(before.throttles, after.throttles)
    return Conditions(
        seconds=after.seconds - before.seconds,
        cores=os.cpu_count() or 1,
        own_cpu_seconds=after.own_cpu_seconds - before.own_cpu_seconds,
        busy_cpu_seconds=rise(before.busy_cpu_seconds, after.busy_cpu_seconds),
        stolen_seconds=rise(before.stolen_seconds, after.stolen_seconds),
        throttles=None if throttles is None else int(throttles),
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages a result depends on, without importing them; absent ones are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _check_load(root: Path) -> Check:
    text = _read(root / "proc/loadavg")
    if text is None:
        return Check("load", None, "no load average here")
    load, cores = float(text.split()[0]), os.cpu_count() or 1
    return Check("load", load <= QUIET_LOAD * cores, f"load average {load:g} over one minute on {cores} cores")


def _check_processes(root: Path) -> Check:
    before = _cpu_ticks(root)
    time.sleep(SAMPLE_SECONDS)
    after = _cpu_ticks(root)
    if not after:
        return Check("processes", None, "no process list here")
    limit = BUSY_SHARE * SAMPLE_SECONDS * os.sysconf("SC_CLK_TCK")
    busy = sorted(
        f"{name} ({pid})"
        for pid, (name, ticks) in after.items()
        if pid != os.getpid() and pid in before and ticks - before[pid][1] > limit
    )
    return Check("processes", not busy, f"busy: {', '.join(busy)}" if busy else "no other busy process in sight")


def _check_governor(root: Path) -> Check:
    governor = _governor(root)
    if governor is None:
        return Check("governor", None, "the clock governor cannot be seen here")
    return Check("governor", governor == "performance", f"clock governor {governor}")


def _check_battery(root: Path) -> Check:
    supplies = [path for path in root.glob("sys/class/power_supply/*") if _read(path / "type") == "Battery"]
    batteries = [path for path in supplies if _read(path / "scope") != "Device"]  # of a mouse or a keyboard
    states = [_read(path / "status") or "unknown" for path in batteries]
    # A charging battery draws power of its own and may change the clocks, but only a draining one caps them.
    return Check("battery", "Discharging" not in states, f"battery: {', '.join(states)}" if states else "no battery")


def _check_virtual(root: Path) -> Check:
    cpu = _cpuinfo(root)
    if "flags" not in cpu:
        return Check("virtual machine", None, "the processor does not tell whether this is a virtual machine")
    if "hypervisor" in _flags(cpu):
        return Check("virtual machine", False, "a virtual machine: neighbours on the same host cannot be seen")
    return Check("virtual machine", True, "no hypervisor")


def _cpuinfo(root: Path) -> dict[str, str]:
    """Fields of the first processor in ``/proc/cpuinfo``; empty where there is none."""
    first = (_read(root / "proc/cpuinfo") or "").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _flags(cpu: dict[str, str]) -> set[str]:
    return set(cpu.get("flags", cpu.get("Features", "")).split())  # x86, Arm


def _governor(root: Path) -> str | None:
    return _read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def _memory_bytes(root: Path) -> int | None:
    match = re.search(r"^MemTotal:\s+(\d+) kB", _read(root / "proc/meminfo") or "", re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _cpu_ticks(root: Path) -> dict[int, tuple[str, int]]:
    """Name and clock ticks used so far (user and system) of every process in sight."""
    ticks = {}
    for path in root.glob("proc/[0-9]*/stat"):
        # The name is in parentheses and may hold spaces and parentheses itself; user and system time are fields 14, 15.
        match = re.fullmatch(r"\d+ \((.*)\) \S+(?: \S+){10} (\d+) (\d+) .*", _read(path) or "", re.DOTALL)
        if match:
            ticks[int(path.parent.name)] = (match[1], int(match[2]) + int(match[3]))
    return ticks


def _nvml_accelerator() -> str | None:
    try:
        import pynvml as nvml

        nvml.nvmlInit()
    except ImportError:
        return None
    except nvml.NVMLError:
        return None
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        return _together([nvml.nvmlDeviceGetName(handle) for handle in handles])
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()


def _proc_accelerator(root: Path) -> str | None:
    """Read the driver's own files, so that the class does not depend on whether the extra ``nvml`` is installed."""
    texts = (_read(path) or "" for path in sorted(root.glob("proc/driver/nvidia/gpus/*/information")))
    models = (re.search(r"^Model:\s*(.+?)\s*$", text, re.MULTILINE) for text in texts)
    return _together([model[1] for model in models if model])


def _together(names: list[str]) -> str | None:
    """Equal boards are counted, different ones listed: "NVIDIA A100 x2", "NVIDIA A100 + NVIDIA T4"."""
    counts = {name: names.count(name) for name in names}
    return " + ".join(name if count == 1 else f"{name} x{count}" for name, count in counts.items()) or None


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _read(path: Path) -> str | None:
    """Text of a file without the white space around it; ``None`` if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
