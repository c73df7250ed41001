"""One tool under faults that this program makes itself: prints what it said as one line of JSON.

`python subject.py TOOL rapl` must run in a mount namespace of its own (compare.py starts it so), because it builds a
powercap tree over /sys/class: the tool reads its usual files, unmodified. This program moves the counter itself, so
the true joules are exact whatever the machine is busy with. `python subject.py TOOL nvml` needs the stub of
libnvidia-ml.so.1 on LD_LIBRARY_PATH; there power is constant and the truth is watts times the seconds between edges.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
DEVICES = Path("/sys/class/powercap-devices")
RANGE_UJ = 262_143_328_850
SETTLE_SECONDS = 2.5  # zeus looks for wraps once a second, also between windows
PAIRS = 50

J = 1_000_000
RAPL = {
    # name: (raw start, steps of (seconds before, raw then; None: it answers nothing more), true joules)
    "plain": (10_000 * J, [(0.5, 10_050 * J), (0.5, 10_100 * J), (0.5, 10_200 * J)], 200.0),
    "wrap, closed at once": (RANGE_UJ - 100 * J, [(0.6, RANGE_UJ - 50 * J), (0.6, 50 * J)], 150.0),
    "wrap, closed 3 s later": (RANGE_UJ - 100 * J, [(0.6, RANGE_UJ - 50 * J), (0.6, 50 * J), (3.0, 350 * J)], 450.0),
    "reset": (150_000 * J, [(1.2, 150_100 * J), (1.2, 0), (1.2, 100 * J)], 200.0),
    "dip and return": (150_000 * J, [(1.2, 150_100 * J), (0.0, 0), (2.4, 150_300 * J)], 300.0),
    "short window, 20 ms": (20_000 * J, [(0.02, 20_002 * J)], 2.0),
    "lost device": (150_000 * J, [(1.2, 150_100 * J), (0.6, None)], 100.0),  # last: it ends zeus's own watcher
}
WATTS = 200.0
NVML = {
    # name: (lines of the stub's control file at times from the opening edge, seconds of the window)
    "plain": ([], 3.0),
    "reset": (["reset {1.5}"], 3.0),
    "dip and return": (["dip {1.0} {2.2} 300000"], 3.0),
    "short window, 130 ms": ([], 0.13),
    "lost device": (["error {1.5} {999} 15"], 3.0),  # NVML_ERROR_GPU_IS_LOST
}


class Joulemark:
    """Ours: the window of the meters, counters read at the edges."""

    name = "joulemark"

    def __init__(self, meter: str) -> None:
        from joulemark.meters.nvml import find_nvml
        from joulemark.meters.rapl import find_rapl
        from joulemark.meters.window import Window

        self.sources, _ = find_rapl() if meter == "rapl" else find_nvml()
        self.window = Window(self.sources)

    def open(self) -> None:
        """Open a window."""
        self.window.__enter__()

    def close(self) -> tuple[float | None, str]:
        """Close it; joules or None, and what the tool says with them."""
        self.window.__exit__(None, None, None)
        joules = self.window.joules
        return joules.value, "; ".join(filter(None, [joules.reason or "", ", ".join(joules.flags)]))


class Zeus:
    """zeus: one monitor, a window each time."""

    name = "zeus"

    def __init__(self, meter: str) -> None:
        from zeus.monitor import ZeusMonitor

        self.meter = meter
        indices = (
            {"gpu_indices": [], "cpu_indices": [0]} if meter == "rapl" else {"gpu_indices": [0], "cpu_indices": []}
        )
        self.monitor = ZeusMonitor(**indices)
        self.count = 0

    def open(self) -> None:
        """Open a window of a new name, since a lost device leaves the old one open."""
        self.count += 1
        self.monitor.begin_window(str(self.count), sync_execution=False)

    def close(self) -> tuple[float | None, str]:
        """Close it; joules or None."""
        told = self.monitor.end_window(str(self.count), sync_execution=False)
        energy = told.cpu_energy if self.meter == "rapl" else told.gpu_energy
        return (sum(energy.values()) if energy else None), ""


class Codecarbon:
    """codecarbon: a tracker each time, sampling once a second (its default is 15 s), nothing sent or saved."""

    name = "codecarbon"

    def __init__(self, meter: str) -> None:
        from codecarbon import OfflineEmissionsTracker

        self.meter = meter
        self.make = lambda: OfflineEmissionsTracker(
            country_iso_code="FRA",
            save_to_file=False,
            log_level="error",
            measure_power_secs=1,
            allow_multiple_runs=True,
        )
        self.make()  # hardware is detected once and cached

    def open(self) -> None:
        """Start a tracker."""
        self.tracker = self.make()
        self.tracker.start()

    def close(self) -> tuple[float | None, str]:
        """Stop it; joules of the part that the fault is in."""
        self.tracker.stop()
        told = self.tracker.final_emissions_data
        return (told.cpu_energy if self.meter == "rapl" else told.gpu_energy) * 3.6e6, ""


TOOLS = {tool.name: tool for tool in (Joulemark, Zeus, Codecarbon)}
MODULES = {"joulemark": "joulemark.meters.window", "zeus": "zeus.monitor", "codecarbon": "codecarbon"}


def build_tree() -> int:
    """A powercap tree with one package, in the kernel's form; returns its open counter."""
    subprocess.run(["mount", "-t", "tmpfs", "none", "/sys/class"], check=True)  # noqa: S607
    zone = DEVICES / "intel-rapl" / "intel-rapl:0"
    zone.mkdir(parents=True)
    POWERCAP.mkdir()
    files = {
        "name": "package-0", "energy_uj": "0", "max_energy_range_uj": str(RANGE_UJ), "enabled": "1",
        "constraint_0_name": "long_term", "constraint_0_power_limit_uw": "150000000",
        "constraint_0_max_power_uw": "150000000",
    }  # fmt: skip
    for name, text in files.items():
        (zone / name).write_text(f"{text}\n")
    (DEVICES / "intel-rapl" / "subsystem").symlink_to(POWERCAP)
    (POWERCAP / "intel-rapl").symlink_to(DEVICES / "intel-rapl")
    (POWERCAP / "intel-rapl:0").symlink_to(zone)
    return os.open(zone / "energy_uj", os.O_WRONLY)


def put(counter: int, raw: int | None) -> None:
    """Write the counter in one piece, padded so that no reader sees half a number; None: it answers nothing."""
    if raw is None:
        os.ftruncate(counter, 0)
    else:
        os.pwrite(counter, f"{raw:<20}\n".encode(), 0)


def rapl(tool: object, counter: int) -> dict[str, dict[str, object]]:
    """All faults of the powercap tree, one window each."""
    found = {}
    for name, (start, steps, truth) in RAPL.items():
        put(counter, start)
        time.sleep(SETTLE_SECONDS)
        found[name] = told(tool, lambda steps=steps: _walk(counter, steps), truth)
    return found


def _walk(counter: int, steps: list[tuple[float, int | None]]) -> None:
    for seconds, raw in steps:
        time.sleep(seconds)
        put(counter, raw)


def nvml(tool: object, control: Path) -> dict[str, dict[str, object]]:
    """All faults of the stub, one window each."""
    found = {}
    for name, (lines, seconds) in NVML.items():
        stub(control)
        time.sleep(1.0)
        tool.open()
        start = time.monotonic()
        stub(control, [_shifted(line, start) for line in lines])
        time.sleep(seconds)
        truth = WATTS * (time.monotonic() - start)
        found[name] = told(tool, None, truth)
    return found


def stub(control: Path, lines: list[str] = ()) -> None:
    """Write the stub's control file at once: one GPU, its counter refreshed each 100 ms, constant power."""
    text = "\n".join(["gpu GPU-aaaa", "update 0.1", "limit 700000", f"power 0 {WATTS}", *lines, ""])
    fresh = control.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(control)


def _shifted(line: str, start: float) -> str:
    """Times in braces count from the opening edge."""
    word, *rest = line.split()
    return " ".join([word, *(str(start + float(one.strip("{}"))) if one.startswith("{") else one for one in rest)])


def told(tool: object, during: object, truth: float) -> dict[str, object]:
    """What the tool says of one window (already open if nothing is to be done ``during`` it)."""
    try:
        if during is not None:
            tool.open()
            during()
        joules, words = tool.close()
    except Exception as error:  # noqa: BLE001  (an answer of the tool, whatever it is)
        joules, words = None, f"raised {type(error).__name__}: {error}"
    return {"joules": joules, "true_joules": truth, "says": words[:200]}


def main(name: str, meter: str) -> None:
    """Import, start, open and close, faults; CPU-seconds, because the machine may be busy with other work."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    counter, control = (build_tree() if meter == "rapl" else None), Path(os.environ.get("NVML_STUB", "/nonexistent"))
    if counter is None:
        stub(control)
    else:
        put(counter, 1_000 * J)
    before = time.process_time()
    __import__(MODULES[name])
    imported = time.process_time()
    tool = TOOLS[name](meter)
    tool.open()
    tool.close()
    started = time.process_time()
    pairs = []
    for _ in range(PAIRS if name != "codecarbon" else 5):
        one = time.process_time_ns()
        tool.open()
        tool.close()
        pairs.append((time.process_time_ns() - one) / 1e3)
    faults = nvml(tool, control) if counter is None else rapl(tool, counter)
    costs = {
        "import_cpu_seconds": imported - before,
        "start_cpu_seconds": started - imported,
        "open_close_cpu_microseconds": statistics.median(pairs),
    }
    packages = {"joulemark": []}.get(name, [name])
    versions = {package: version(package) for package in packages}
    print(json.dumps({"tool": name, "meter": meter, "versions": versions, "costs": costs, "faults": faults}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
