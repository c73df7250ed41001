"""Builds the stub of the NVIDIA driver's library, and runs Python against it in a process of its own."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("stub_nvml.c")
ROOT = Path(__file__).parents[2]


def build(folder: Path) -> Path:
    """Compile the stub into a folder, once; a skip that is counted where there is no compiler or no nvidia-ml-py."""
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the stub of libnvidia-ml.so.1")
    library = folder / "libnvidia-ml.so.1"
    if not library.exists():
        warnings = ["-Wall", "-Wextra", "-Werror"]
        subprocess.run([compiler, "-shared", "-fPIC", *warnings, "-o", library, SOURCE, "-lm"], check=True)
    return folder


class Stub:
    """A machine with stub GPUs: its control file, its clock, and the environment of a process that sees them."""

    _clock: int | None = None

    def __init__(self, library: Path, folder: Path, *lines: str) -> None:
        self.control = folder / "control"
        self.clock = folder / "clock"
        self.library = library
        self.write(*lines)
        self.at(0.0)

    def write(self, *lines: str) -> None:
        writing = self.control.with_suffix(".writing")
        writing.write_text("".join(f"{line}\n" for line in lines))
        writing.replace(self.control)  # another process may be reading it

    def at(self, seconds: float) -> None:
        if self._clock is None:  # kept open: tests move the clock thousands of times
            self._clock = os.open(self.clock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        os.pwrite(self._clock, struct.pack("=q", round(seconds * 1e9)), 0)

    @property
    def environment(self) -> dict[str, str]:
        paths = [str(ROOT / "src"), str(ROOT / "tests" / "meters"), str(ROOT / "tests" / "selftest")]
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.library),
            "NVML_STUB": str(self.control),
            "NVML_STUB_CLOCK": str(self.clock),
            "PYTHONPATH": os.pathsep.join(paths),
            "CUDA_VISIBLE_DEVICES": "",
        }

    def python(self, program: str, *words: str) -> str:
        """What a program prints that finds `stub`, this object's like, and the modules of the meters."""
        head = "from nvml_stub import inside; stub = inside()\nfrom joulemark.meters.nvml import *\nimport pynvml\n"
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", head + program, *words],
            env=self.environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


def inside() -> Stub:
    """The same stub, from within the process that runs against it."""
    stub = object.__new__(Stub)
    stub.control, stub.clock = Path(os.environ["NVML_STUB"]), Path(os.environ["NVML_STUB_CLOCK"])
    return stub
