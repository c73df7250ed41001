"""The GPU's self-test against the stub: it finds the truth that the stub was given, and fails where that is bad."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nvml_stub import Stub, build

from joulemark.selftest.parts import PARTS

HEAD = """
import json, sys
from pathlib import Path
import msgspec
from fake_load import bench_on, CONTEXT, IDLE, STEP_SECONDS, WATTS
from joulemark.selftest.parts import Failed, run_part
def part(number, folder, *lines, pace=0.25):
    bench = bench_on(stub, *lines, pace=pace)
    rows = [[type(one).__name__, old, msgspec.to_builtins(one) if old is not None and type(one).__name__ == "Outcome"
             else vars(one)] for one, old in run_part(number, bench, Path(folder))]
    print(json.dumps([(bench.clock.now() - 1e-3) / pace, rows]))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("stub"))


@pytest.fixture
def stub(library: Path, tmp_path: Path) -> Stub:
    return Stub(library, tmp_path, "gpu GPU-aa", "update 0.1")


def run(stub: Stub, number: int, folder: Path, *lines: str) -> tuple[float, dict[str, dict]]:
    words = "".join(f", {line!r}" for line in lines)
    seconds, rows = json.loads(stub.python(f"{HEAD}\npart({number}, {str(folder)!r}{words})").splitlines()[-1])
    return seconds, {found["experiment"]: {**found, "kind": kind, "old": old} for kind, old, found in rows}


def passed(outcome: dict) -> list[bool | None]:
    return [target["passed"] for target in outcome["targets"]]


def test_all_experiments_are_there_once() -> None:
    names = [one.name for part in PARTS.values() for one in part]
    assert sorted(names, key=lambda name: int(name[1:])) == [f"V{number}" for number in range(12)]


def test_part_1_finds_the_meter_as_it_is(stub: Stub, tmp_path: Path) -> None:
    seconds, found = run(stub, 1, tmp_path / "out")
    assert seconds < 480
    assert found["V0"]["figures"]["fields"]["185 scope 0"] == 0 and found["V0"]["figures"]["fields"]["185 scope 1"] == 3
    assert found["V1"]["figures"]["busy_counter_update_seconds"] == pytest.approx(0.1, abs=0.005)
    full = found["V2"]["figures"]["levels"][-1]
    assert full["counter_watts"] == pytest.approx(400.0, rel=0.005)
    assert full["counter_over_instant"] == pytest.approx(1.0, abs=0.005)
    assert found["V10"]["figures"]["compute_watts"] == pytest.approx(650.0, rel=0.01)
    assert all(all(passed(one)) for one in found.values())


def test_part_2_finds_idle_and_a_line(stub: Stub, tmp_path: Path) -> None:
    seconds, found = run(stub, 2, tmp_path / "out")
    assert seconds < 480
    assert found["V5"]["figures"]["cold_watts"] == pytest.approx(60.0, rel=0.01)
    assert found["V5"]["figures"]["context_step_watts"] == pytest.approx(15.0, rel=0.05)
    # 400 W for 2 ms; the tail after the work is taken off at the idle power of 75 W.
    assert found["V4"]["figures"]["joules_per_step"] == pytest.approx(0.8, rel=0.001)
    assert all(all(passed(one)) for one in found.values())


def test_another_tenants_load_fails_the_line(stub: Stub, tmp_path: Path) -> None:
    _, found = run(stub, 2, tmp_path / "out", "square 7 0 250")
    assert passed(found["V4"])[0] is False


def test_part_3_finds_order_data_and_phase_harmless_or_not(stub: Stub, tmp_path: Path) -> None:
    seconds, found = run(stub, 3, tmp_path / "out")
    assert seconds < 480
    waves = {row["period_seconds"]: row["spread"] for row in found["V3"]["figures"]["waves"]}
    assert max(waves.values()) < 0.02
    inputs = found["V8"]["figures"]["inputs"]
    assert inputs["cnn-zeros"]["ratio_to_normal_noise"] == pytest.approx(300 / 400, rel=0.005)
    assert found["V7"]["figures"]["shuffled_ratio"] == pytest.approx(500 / 400, rel=0.005)
    assert found["V9"]["figures"]["joules_ratio_0.05_s"] == pytest.approx(1.0, abs=0.004)
    # Windows four times as short as on a GPU cannot tell V9's 0.2 %.
    assert all(all(passed(one)) for name, one in found.items() if name != "V9")


def test_part_4_repeats_and_is_resumed(stub: Stub, tmp_path: Path) -> None:
    seconds, found = run(stub, 4, tmp_path / "out")
    assert seconds < 480
    assert passed(found["V6"]) == [True, True, True]
    other = found["V6"]["figures"]["other_net_ratio"]
    assert other["value"] == pytest.approx(400 / 500, rel=0.005)
    assert passed(found["V11"]) == [None] and found["V11"]["figures"]["zeus"] == "not installed"
    again, known = run(stub, 4, tmp_path / "out")
    assert all(one["old"] for one in known.values()) and again < 1
    assert {name: one["started"] for name, one in known.items()} == {n: one["started"] for n, one in found.items()}


def test_a_noisy_board_fails_a_a(stub: Stub, tmp_path: Path) -> None:
    _, found = run(stub, 4, tmp_path / "out", "square 7.3 0 100")
    assert passed(found["V6"])[0] is False and passed(found["V6"])[2] is False


def test_a_reset_spoils_one_experiment_which_is_done_again(stub: Stub, tmp_path: Path) -> None:
    _, found = run(stub, 2, tmp_path / "out", "reset 5")
    assert (found["V5"]["kind"], found["V4"]["kind"]) == ("Failed", "Outcome")
    assert "reset" in found["V5"]["reason"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["V4.json"]
    _, found = run(stub, 2, tmp_path / "out")
    assert (found["V5"]["old"], found["V4"]["old"]) == (False, True)


def test_a_lost_board_ends_the_part(stub: Stub, tmp_path: Path) -> None:
    _, found = run(stub, 2, tmp_path / "out", "error 5 1e9 15")
    assert list(found) == ["V5"] and "GPU is lost" in found["V5"]["reason"]


def test_a_damaged_file_and_another_board_are_no_result(stub: Stub, tmp_path: Path) -> None:
    run(stub, 4, tmp_path / "out")
    stored = tmp_path / "out" / "V6.json"
    stored.write_text(stored.read_text().replace('"GPU-aa"', '"GPU-bb"'))
    (tmp_path / "out" / "V11.json").write_text("{")
    _, found = run(stub, 4, tmp_path / "out")
    assert not any(one["old"] for one in found.values())
