"""The verbs: what they print and their exit codes, without a GPU and on the stub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from nvml_stub import ROOT, Stub, build


def joulemark(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "joulemark.cli", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_without_a_gpu_one_sentence_and_exit_code_3(tmp_path: Path) -> None:
    done = joulemark("selftest-gpu", "--part", "1", "--out", str(tmp_path / "out"), LD_LIBRARY_PATH=str(tmp_path))
    assert done.returncode == 3 and done.stdout == ""
    (said,) = done.stderr.splitlines()
    assert said.startswith("joulemark: part 1 of the GPU self-test could not be done here: nvml: ")
    assert not (tmp_path / "out").exists()


def test_a_part_that_is_not_there_is_refused() -> None:
    assert joulemark("selftest-gpu", "--part", "5").returncode == 2


def test_a_counter_without_work_is_told(tmp_path: Path) -> None:
    """The stub's board is there, and torch sees no such device."""
    stub = Stub(build(tmp_path), tmp_path, "gpu GPU-aa", "power 0 100")
    done = joulemark("selftest-gpu", "--part", "2", **{k: stub.environment[k] for k in ("LD_LIBRARY_PATH", "NVML_STUB",
        "NVML_STUB_CLOCK", "CUDA_VISIBLE_DEVICES")})  # fmt: skip
    assert done.returncode == 3
    assert "torch" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("tenant", "code"), [((), 0), (("square 7.3 0 100",), 1)])
def test_the_verb_says_pass_fail_unknown(tmp_path: Path, tenant: tuple[str, ...], code: int) -> None:
    stub = Stub(build(tmp_path), tmp_path, "gpu GPU-aa", "update 0.1")
    program = f"""
import sys
from fake_load import bench_on
import joulemark.selftest.gpu as gpu
gpu.open_bench = lambda: bench_on(stub, *{tenant!r}, pace=0.25)
sys.argv = ["joulemark", "selftest-gpu", "--part", "4", "--out", {str(tmp_path / "out")!r}]
from joulemark.cli import main
try:
    main()
except SystemExit as end:
    print("code", end.code)
"""
    told = stub.python(program)
    assert f"code {code}" in told
    assert ("FAIL" in told) == bool(code) and "    unknown zeus on the same interval: wanted one update apart" in told
    assert json.loads((tmp_path / "out" / "V6.json").read_text())["board"] == "GPU-aa"


def test_doctor_passes_it_on(tmp_path: Path) -> None:
    done = joulemark("doctor", "--selftest", "--strict", LD_LIBRARY_PATH=str(tmp_path))
    if done.returncode == 0:
        pytest.skip("this machine has an energy counter")
    assert done.returncode == 3 and done.stdout.startswith("No self-test: there is no energy counter here")
