"""Machine: its class and its quietness, read from fake /proc and /sys trees."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from joulemark.machine.machine import (
    activity,
    computed_by_detours,
    conditions,
    hardware_class,
    quiet_checks,
    this_machine,
    versions,
)
from joulemark.record import Check

XEON = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Processor
flags\t\t: fpu sse4_2 avx avx2 avx512f hypervisor{more}

processor\t: 1
vendor_id\t: GenuineIntel
model name\t: another
flags\t\t: fpu
"""


class Tree:
    """Writes files below a root that stands for ``/``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def process(self, pid: int, name: str, user: int, system: int) -> None:
        fields = f"S 1 1 1 0 -1 4194560 100 0 0 0 {user} {system} 9999 9999 20 0 1 0 5"
        self.write(f"proc/{pid}/stat", f"{pid} ({name}) {fields}\n")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return Tree(tmp_path)


def check(tree: Tree, name: str) -> Check:
    return {found.name: found for found in quiet_checks(tree.root)}[name]


def test_a_machine_is_described_from_its_files(tree: Tree) -> None:
    tree.write("proc/cpuinfo", XEON.format(more=" amx_tile"))
    tree.write("proc/meminfo", "MemTotal:        2048 kB\nMemFree: 1 kB\n")
    tree.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
    machine = this_machine(tree.root)
    assert machine.hardware_class == "intel-xeon-avx512-amx-2core"
    assert machine.processor == "Intel(R) Xeon(R) Processor"
    assert (machine.cores, machine.memory_bytes) == (2, 2_097_152)
    assert (machine.virtual, machine.governor, machine.accelerator) == (True, "powersave", None)
    assert machine == this_machine(tree.root)


def test_what_cannot_be_read_is_none(tree: Tree) -> None:
    machine = this_machine(tree.root)
    assert (machine.memory_bytes, machine.virtual, machine.governor) == (None, None, None)
    assert machine.processor == (platform.processor() or platform.machine())
    assert machine.hardware_class.endswith("-2core")


@pytest.mark.parametrize(
    ("processor", "vendor", "flags", "slug"),
    [
        ("13th Gen Intel(R) Core(TM) i7-1365U", "intel", "avx avx2", "intel-core-i7-1365u-avx2-4core"),
        ("Intel(R) Xeon(R) CPU E5-2670 0 @ 2.60GHz", "intel", "avx", "intel-xeon-e5-2670-0-avx-4core"),
        ("AMD Ryzen 9 7950X 16-Core Processor", "amd", "avx2 avx512f", "amd-ryzen-9-7950x-avx512-4core"),
        ("QEMU Virtual CPU version 2.5+", "amd", "sse4_2", "amd-qemu-virtual-version-2-5-sse4-4core"),
        ("aarch64", "", "asimd sve", "aarch64-sve-4core"),
        ("aarch64", "", "asimd", "aarch64-neon-4core"),
        ("i386", "", "", "i386-4core"),
    ],
)
def test_hardware_class_names_model_widest_extensions_and_cores(
    processor: str, vendor: str, flags: str, slug: str
) -> None:
    assert hardware_class(processor, vendor, set(flags.split()), 4, None) == slug


def test_arm_features_are_read(tree: Tree) -> None:
    tree.write("proc/cpuinfo", "processor\t: 0\nFeatures\t: fp asimd sve sve2 sme\nCPU implementer\t: 0x41\n")
    machine = this_machine(tree.root)
    assert machine.hardware_class.endswith("-sve2-sme-2core")
    assert machine.virtual is None


def test_accelerators_come_from_the_drivers_files_without_the_extra(tree: Tree) -> None:
    tree.write("proc/cpuinfo", XEON.format(more=""))
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        tree.write(f"proc/driver/nvidia/gpus/{bus}/information", "Model: \t\t NVIDIA L4\nIRQ:   \t\t 55\n")
    machine = this_machine(tree.root)
    assert machine.accelerator == "NVIDIA L4 x2"
    assert machine.hardware_class == "intel-xeon-avx512-2core-nvidia-l4-x2"


def test_accelerators_come_from_nvml_where_it_answers(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    users: list[int] = []
    nvml = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: users.append(1),
        nvmlShutdown=users.pop,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: ("NVIDIA H100 80GB HBM3", "NVIDIA T4")[handle],
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert this_machine(tree.root).accelerator == "NVIDIA H100 80GB HBM3 + NVIDIA T4"
    assert users == []


@pytest.mark.parametrize(("load", "ok"), [("0.99", True), ("1.01", False)])
def test_load_is_judged_against_cores(tree: Tree, load: str, ok: bool) -> None:
    tree.write("proc/loadavg", f"{load} 9.0 9.0 1/80 1234\n")
    assert check(tree, "load").ok is ok  # a quarter of four cores


def test_a_busy_process_is_named_and_a_quiet_one_is_not(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    tree.process(11, "chrome (web) 2", 500, 50)
    tree.process(12, "editor", 500, 50)
    tree.process(os.getpid(), "python", 0, 0)

    def work(seconds: float) -> None:
        tree.process(11, "chrome (web) 2", 502, 51)  # 3 ticks in 0.2 s: 15 % of a core
        tree.process(12, "editor", 501, 51)  # 10 %
        tree.process(os.getpid(), "python", 20, 0)

    monkeypatch.setattr(time, "sleep", work)
    assert check(tree, "processes") == Check("processes", False, "busy: chrome (web) 2 (11)")


@pytest.mark.parametrize(("governor", "ok"), [("performance", True), ("powersave", False)])
def test_only_the_performance_governor_is_quiet(tree: Tree, governor: str, ok: bool) -> None:
    tree.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", f"{governor}\n")
    assert check(tree, "governor").ok is ok


@pytest.mark.parametrize(("status", "ok"), [("Discharging", False), ("Full", True)])
def test_a_draining_battery_is_not_quiet(tree: Tree, status: str, ok: bool) -> None:
    tree.write("sys/class/power_supply/AC/type", "Mains\n")
    tree.write("sys/class/power_supply/BAT0/type", "Battery\n")
    tree.write("sys/class/power_supply/BAT0/status", f"{status}\n")
    assert check(tree, "battery").ok is ok


def test_the_battery_of_a_mouse_does_not_count(tree: Tree) -> None:
    for file, text in {"type": "Battery", "status": "Discharging", "scope": "Device"}.items():
        tree.write(f"sys/class/power_supply/hidpp_battery_0/{file}", f"{text}\n")
    assert check(tree, "battery") == Check("battery", True, "no battery")


@pytest.mark.parametrize(("flags", "ok"), [("fpu hypervisor", False), ("fpu", True)])
def test_a_virtual_machine_is_not_quiet(tree: Tree, flags: str, ok: bool) -> None:
    tree.write("proc/cpuinfo", f"processor\t: 0\nflags\t\t: {flags}\n")
    assert check(tree, "virtual machine").ok is ok


def test_what_cannot_be_checked_is_none(tree: Tree) -> None:
    checks = {found.name: found.ok for found in quiet_checks(tree.root)}
    assert checks == {"load": None, "processes": None, "governor": None, "battery": True, "virtual machine": None}


def test_this_very_machine_answers() -> None:
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.hardware_class.split("-")[0]
    assert len(quiet_checks()) == 5


@pytest.mark.parametrize(
    ("flags", "lacking"),
    [
        ("avx2", {"bf16", "int8"}),
        ("avx512f avx512_vnni", {"bf16"}),
        ("avx512f avx512_vnni avx512_bf16", set()),
        ("amx_tile amx_int8 amx_bf16", set()),
    ],
)
def test_what_a_processor_computes_by_detours(tree: Tree, flags: str, lacking: set[str]) -> None:
    tree.write("proc/cpuinfo", f"processor\t: 0\nflags\t\t: {flags}\n")
    told = {precision: computed_by_detours(precision, tree.root) for precision in ("fp32", "bf16", "int8")}
    assert {precision for precision, sentence in told.items() if sentence} == lacking
    assert all(f"no {precision} instructions" in (told[precision] or "") for precision in lacking)


def test_where_nothing_tells_nothing_is_said(tree: Tree) -> None:
    assert computed_by_detours("bf16", tree.root) is None


def test_versions_leave_out_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package == "onnxruntime":
            raise importlib.metadata.PackageNotFoundError(package)
        return f"1.0+{package}"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert versions() == {
        "python": platform.python_version(),
        "joulemark": "1.0+joulemark",
        "onnx": "1.0+onnx",
        "onnxscript": "1.0+onnxscript",
        "openvino": "1.0+openvino",
        "torch": "1.0+torch",
        "numpy": "1.0+numpy",
    }


STAT = "cpu  {user} 10 {system} 5000 40 6 7 {steal} 90 9\ncpu0 1 2 3 4\n"


def test_conditions_are_what_rose_between_two_readings(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    heat = "sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count"
    clock = iter((5.0, 15.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(time, "process_time", lambda: 3.0)
    tree.write("proc/stat", STAT.format(user=1000, system=200, steal=30))
    for core, count in ((0, 4), (1, 1)):
        tree.write(heat.format(core), f"{count}\n")
    before = activity(tree.root)
    assert before.busy_cpu_seconds == 12.23  # user, nice, system, irq, softirq: guests are in user already
    tree.write("proc/stat", STAT.format(user=1900, system=300, steal=80))
    tree.write(heat.format(1), "3\n")
    seen = conditions(before, activity(tree.root))
    assert (seen.seconds, seen.cores, seen.own_cpu_seconds) == (10.0, 4, 0.0)
    assert (seen.busy_cpu_seconds, seen.stolen_seconds) == (pytest.approx(10.0), pytest.approx(0.5))
    assert seen.throttles == 2


def test_conditions_that_cannot_be_seen_are_none(tree: Tree) -> None:
    seen = conditions(activity(tree.root), activity(tree.root))
    assert (seen.busy_cpu_seconds, seen.stolen_seconds, seen.throttles) == (None, None, None)


def test_a_kernel_without_steal_still_tells_the_rest(tree: Tree) -> None:
    tree.write("proc/stat", "cpu 100 0 100 5000 40 0 0\n")
    now = activity(tree.root)
    assert now.stolen_seconds is None
    assert now.busy_cpu_seconds is not None
