"""The verbs: what they print and their exit codes, without a GPU and on the stub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from nvml_stub import ROOT, Stub, build

from joulemark.meters.source import ReadError, Unavailable
from joulemark.record import Reading
from joulemark.selftest.fit import line
from joulemark.selftest.load import CONSTANT, PINK, ZEROS, pictures
from joulemark.selftest.quick import quick_selftest
from joulemark.selftest.rig import Clock


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


class Hand:
    """A clock and a counter of 50 W idle and 100 W at work, refreshed each 10 ms."""

    name, scope, citation, gain_uncertainty = "rapl package-0", "processor package-0", "", None
    unit_joules, modulus, max_watts, update_seconds = 1e-6, None, 1000.0, 0.01

    def __init__(self) -> None:
        self.time, self.used, self.started, self.fails = 0.0, 0.0, True, False

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += max(seconds, 1e-4)
        self.used += 50.0 * max(seconds, 1e-4)

    def start(self) -> None: ...

    def close(self) -> None: ...

    def run(self, what: str, iterations: int, watch=None) -> None:
        self.time += iterations * 1e-3
        self.used += iterations * 0.1

    def read(self) -> Reading:
        if self.fails:
            raise ReadError("gone")
        lag = self.time % 0.01
        return Reading(before_ns=0, after_ns=0, raw=int((self.used - 50.0 * lag) * 1e6))


def test_the_small_self_test_finds_idle_ratio_and_line() -> None:
    hand = Hand()
    (test,), (said,) = quick_selftest([hand], load=lambda source: hand, clock=hand)
    assert test.idle_before_watts == pytest.approx(50.0, rel=0.05)
    assert test.same_work_ratio is not None and test.same_work_ratio.value == pytest.approx(1.0, abs=0.02)
    assert test.r_squared is not None and test.r_squared > 0.999
    assert said.startswith("rapl package-0 (work on one core): A/A ratio 1.00") and "holds 1" in said


def test_the_small_self_test_says_what_broke_and_what_is_missing() -> None:
    hand = Hand()
    hand.fails = True
    (test,), (said,) = quick_selftest([hand], load=lambda source: hand, clock=hand)
    assert test.r_squared is None and said == "rapl package-0: the self-test could not be finished: gone."
    tests, (said,) = quick_selftest([], [Unavailable("rapl", "no zone", "")])
    assert tests == [] and said == "No self-test: there is no energy counter here (rapl: no zone)."


def test_doctor_passes_it_on(tmp_path: Path) -> None:
    done = joulemark("doctor", "--selftest", "--strict", LD_LIBRARY_PATH=str(tmp_path))
    if done.returncode == 0:
        pytest.skip("this machine has an energy counter")
    assert done.returncode == 3 and done.stdout.startswith("No self-test: there is no energy counter here")


def test_a_line_is_that_of_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    x, y = [1.0, 2.0, 4.0, 8.0], [3.1, 4.9, 9.2, 16.7]
    fitted = line(x, y)
    slope, intercept = numpy.polyfit(x, y, 1)
    assert (fitted.slope, fitted.intercept) == pytest.approx((slope, intercept))
    assert fitted.r_squared == pytest.approx(numpy.corrcoef(x, y)[0, 1] ** 2)
    with pytest.raises(ValueError, match="three points"):
        line([1, 1, 1], [1, 2, 3])


def test_pictures_are_what_their_names_say() -> None:
    assert not pictures(ZEROS).any() and (pictures(CONSTANT) == 1).all()
    pink = pictures(PINK)
    assert pink.std() == pytest.approx(1.0, rel=0.01)
    neighbours = (pink[..., 1:] * pink[..., :-1]).mean()
    assert neighbours > 0.5  # photographs are smooth; white noise has 0


def test_a_real_clock_goes_on() -> None:
    clock = Clock()
    before = clock.now()
    clock.sleep(-1.0)
    clock.sleep(0.001)
    assert clock.now() - before >= 0.001
