"""The same faults fed to Joulemark, zeus and codecarbon, and the error of each side by side.

Development only; Linux, as root (a mount namespace of its own puts a made-up powercap tree over /sys/class, so that
every tool runs unmodified). The NVIDIA half needs a C compiler and the stub's source (tests/meters/stub_nvml.c). Other
tools go into an environment of their own, several hundred MB, without torch:

    python3 -m venv /tmp/compare
    /tmp/compare/bin/pip install zeus codecarbon nvidia-ml-py msgspec numpy
    /tmp/compare/bin/python benchmarks/meters/compare.py

Writes results.json (all answers, versions) and results.md (the table) beside itself. Takes some minutes. The faults
are in subject.py. Errors are told minus true joules. "Unknown" is an answer: the tool said that it does not know and
why, instead of a number. Costs are CPU-seconds, since the machine may be busy with other work meanwhile.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TOOLS = ("joulemark", "zeus", "codecarbon")
TITLES = {"rapl": "RAPL, made-up powercap tree", "nvml": "NVML, stub of libnvidia-ml.so.1 at 200 W"}
COSTS = {
    "import_cpu_seconds": "import, CPU-seconds",
    "start_cpu_seconds": "start and first window, CPU-seconds without child processes",
    "open_close_cpu_microseconds": "one window opened and closed, CPU-microseconds",
}
NOTES = (
    "Told joules minus true joules (in brackets), made by `compare.py`, which says how. Joulemark's window reads the",
    "counters at its edges only, without the sampler. The stub counts every 100 ms: 20 J is one period.",
    "Its truth is watts times the time between the calls, so time that a tool's own calls take is in its error; the",
    "machine was busy, which makes that long for codecarbon.",
)


def run(tool: str, meter: str, environment: dict[str, str], seconds: float) -> dict[str, object]:
    """One tool in a process of its own; on failure a record that says why there is none."""
    space = ["unshare", "--mount", "--propagation", "private"] if meter == "rapl" else []
    command = [*space, sys.executable, str(HERE / "subject.py"), tool, meter]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"tool": tool, "meter": meter, "failed": str(error)[:200]}
    for line in reversed(done.stdout.splitlines()):
        if line.startswith('{"tool"'):
            return json.loads(line)
    last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
    return {"tool": tool, "meter": meter, "failed": last[:200]}


def build_stub(source: Path, folder: Path) -> str | None:
    """Compile the stub; in words why that cannot be done, or None."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not source.exists():
        return f"no C compiler or no {source}"
    command = [compiler, "-shared", "-fPIC", "-o", str(folder / "libnvidia-ml.so.1"), str(source)]
    command += [str(HERE / "more_nvml.c"), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip()[:200] or "the compiler failed" if done.returncode else None


def cell(fault: dict[str, object]) -> str:
    """The error of one answer, or that it is unknown."""
    joules, truth = fault["joules"], fault["true_joules"]
    if joules is None:
        return str(fault["says"]).partition(":")[0] if str(fault["says"]).startswith("raised") else "unknown, and why"
    flag = ", flagged too_short" if "too_short" in str(fault["says"]) else ""
    return f"{joules - truth:+,.1f} J{flag}"


def table(runs: list[dict[str, object]], meter: str) -> list[str]:
    """Markdown of one meter: a row a fault, a column a tool."""
    found = {one["tool"]: one for one in runs if one["meter"] == meter}
    names = next((list(one["faults"]) for one in found.values() if "faults" in one), [])
    rows = [f"## {TITLES[meter]}", "", f"| error | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    for name in names:
        truth = next(one["faults"][name]["true_joules"] for one in found.values() if "faults" in one)
        cells = [cell(one["faults"][name]) if "faults" in one else "not run" for one in found.values()]
        rows.append(f"| {name} ({truth:,.0f} J) | {' | '.join(cells)} |")
    for key, title in COSTS.items():
        cells = [f"{one['costs'][key]:.2g}" if "costs" in one else "not run" for one in found.values()]
        rows.append(f"| {title} | {' | '.join(cells)} |")
    rows += [f"\nNot run, {name}: {one['failed']}" for name, one in found.items() if "failed" in one]
    return [*rows, ""]


def main() -> None:
    """Run everything that can run here and write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stub", type=Path, default=ROOT / "tests" / "meters" / "stub_nvml.c", help="its source")
    parser.add_argument("--seconds", type=float, default=900.0, help="longest that one tool may take")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        missing = build_stub(options.stub, Path(folder))
        ask = Path(folder) / "nvidia-smi"  # codecarbon looks for NVIDIA GPUs only where this program answers
        ask.write_text("#!/bin/sh\n")
        ask.chmod(0o755)
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT / "src"), "NVML_STUB": f"{folder}/control", "LD_LIBRARY_PATH": folder,
            "PATH": f"{folder}:{os.environ['PATH']}",
        }  # fmt: skip
        environment.pop("NVML_STUB_CLOCK", None)
        plain = {**environment, "LD_LIBRARY_PATH": "", "PATH": os.environ["PATH"]}
        runs = [run(tool, "rapl", plain, options.seconds) for tool in TOOLS]
        for tool in TOOLS:
            told = {"tool": tool, "meter": "nvml", "failed": missing}
            runs.append(told if missing else run(tool, "nvml", environment, options.seconds))
    versions = {name: one for told in runs for name, one in told.get("versions", {}).items()}
    versions["joulemark"] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    versions["python"] = platform.python_version()
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    record = {"schema": 1, "day": day, "versions": versions, "runs": runs}
    (HERE / "results.json").write_text(json.dumps(record, indent=1) + "\n")
    lines = [
        "# Meters under faults",
        "",
        f"{day}: " + ", ".join(f"{n} {v}" for n, v in versions.items()),
        "",
        *NOTES,
        "",
    ]
    (HERE / "results.md").write_text("\n".join([*lines, *table(runs, "rapl"), *table(runs, "nvml")]))
    print((HERE / "results.md").read_text())


if __name__ == "__main__":
    main()
