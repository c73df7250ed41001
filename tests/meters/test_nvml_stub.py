"""The real nvidia-ml-py against a stub of the driver's library: the faults that a GPU can have."""

from __future__ import annotations

from pathlib import Path

import pytest
from nvml_stub import Stub, build

AA, BB = "GPU-aa", "GPU-bb"
CONSTANT = (f"gpu {AA}", f"gpu {BB}", "update 0.1", "power 0 100")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("stub"))


@pytest.fixture
def stub(library: Path, tmp_path: Path) -> Stub:
    return Stub(library, tmp_path, *CONSTANT)


TRACK = """
from joulemark.meters.counter import CounterTrack
from joulemark.meters.source import ReadError, SourceLost
source = NvmlBoard(pynvml, "GPU-aa")
track = CounterTrack(unit_joules=source.unit_joules, modulus=source.modulus, max_watts=2000.0, update_seconds=0.1)
def step(seconds):
    stub.at(seconds)
    try:
        # the stub's clock gives the time: the readings are made in no time at all
        raw = source.read().raw
        print(track.update(type(source.read())(before_ns=int(seconds * 1e9), after_ns=int(seconds * 1e9), raw=raw)))
    except ReadError as error:
        print(type(error).__name__, error)
"""


def test_the_counter_rises_by_the_energy_at_its_updates(stub: Stub) -> None:
    told = stub.python(TRACK + "[step(t) for t in (0, 1.0, 1.05, 1.25)]")
    assert told.splitlines() == ["First()", "Plain(joules=100.0)", "Plain(joules=0.0)", "Plain(joules=20.0)"]


@pytest.mark.parametrize(
    ("shape", "joules"),
    [("square 0.2 50 150", 2 * 100.0), ("ramp 10", 10 * 2**2 / 2), ("power 1 40", 40.0)],
)
def test_the_stub_integrates_its_power(stub: Stub, shape: str, joules: float) -> None:
    stub.write(f"gpu {AA}", "update 0.1", shape)
    told = stub.python(TRACK + "[step(t) for t in (0, 2.0)]").splitlines()
    assert float(told[1].partition("=")[2].rstrip(")")) == pytest.approx(joules)


def test_a_reset_loses_its_interval_and_no_other(stub: Stub) -> None:
    stub.write(*CONSTANT, "reset 1.5")
    told = stub.python(TRACK + "[step(t) for t in (0, 1, 2, 3)]").splitlines()
    assert told == ["First()", "Plain(joules=100.0)", "Reset(lost_seconds=1.0)", "Plain(joules=100.0)"]


def test_a_dip_and_return_is_not_energy(stub: Stub) -> None:
    """What comes back within a second would be 1000 W, which a board of 400 W (limit and margin: 600 W) cannot use."""
    stub.write(*CONSTANT, "dip 1.5 2.5 900000", "limit 400000")
    told = stub.python(TRACK.replace("2000.0", "source.max_watts") + "[step(t) for t in (0, 1, 2, 3, 4)]").splitlines()
    assert told[2:] == ["Reset(lost_seconds=1.0)", "Implausible(lost_seconds=1.0)", "Plain(joules=100.0)"]


@pytest.mark.parametrize(("code", "words"), [(15, "GPU is lost"), (16, "requires restart"), (18, "version mismatch")])
def test_a_board_lost_for_good_is_source_lost_now_and_later(stub: Stub, code: int, words: str) -> None:
    stub.write(*CONSTANT, f"error 1 2 {code}")
    told = stub.python(TRACK + "[step(t) for t in (0, 1.2, 5)]").splitlines()
    assert [line.split()[0] for line in told] == ["First()", "SourceLost", "SourceLost"]
    assert words in told[1] and "looked up anew" in told[1]


def test_a_driver_loaded_anew_is_found_once_more_by_the_uuid(stub: Stub) -> None:
    """Somebody else shuts the library down; the board comes back as index 1."""
    program = TRACK + "step(0); pynvml.nvmlShutdown(); stub.write('gpu GPU-bb', 'gpu GPU-aa', 'power 0 100'); step(1)"
    assert stub.python(program).splitlines() == ["First()", "Plain(joules=100.0)"]


def test_a_library_that_cannot_be_opened_again_is_lost(stub: Stub) -> None:
    stub.write(*CONSTANT, "init 1 9 18")
    told = stub.python(TRACK + "step(0); pynvml.nvmlShutdown(); step(1); source.close()").splitlines()
    assert told[1].startswith("SourceLost") and "version mismatch" in told[1]


def test_a_timeout_passes_and_its_energy_is_not_lost(stub: Stub) -> None:
    stub.write(*CONSTANT, "error 1 2 10")
    told = stub.python(TRACK + "[step(t) for t in (0, 1.5, 3)]").splitlines()
    assert told == ["First()", "ReadError nvml Stub GPU: Timeout", "Plain(joules=300.0)"]


def test_boards_are_bound_by_uuid_not_by_their_order(stub: Stub) -> None:
    program = """
first, second = find_nvml()[0]
stub.at(1.0); before = first.read().raw, second.read().raw
stub.write('gpu GPU-bb', 'gpu GPU-aa', 'power 0 100')
print(before == (first.read().raw, second.read().raw), before[0] != before[1], first.scope)
print([board.scope for board in find_nvml()[0]])
"""
    told = stub.python(program).splitlines()
    assert told == [
        "True True accelerator board GPU-aa",
        "['accelerator board GPU-bb', 'accelerator board GPU-aa']",
    ]


def test_field_83_stands_in_for_a_missing_function(stub: Stub) -> None:
    stub.write(*CONSTANT, "nototal")
    assert stub.python(TRACK + "[step(t) for t in (0, 1)]").splitlines()[1] == "Plain(joules=100.0)"


def test_no_counter_and_no_power_fields_are_told(stub: Stub) -> None:
    stub.write(f"gpu {AA}", "nototal", "nofields")
    told = stub.python("print(find_nvml()); print(find_nvml_power())").splitlines()
    assert all(line.startswith("([], [Unavailable(name='nvml gpu 0', reason='no ") for line in told)
    assert "no energy counter: Not Supported" in told[0] and "Volta" in told[0]
    assert "no power fields: Not Supported" in told[1]


def test_a_lost_gpu_at_the_start_is_not_called_one_without_a_counter(stub: Stub) -> None:
    stub.write(*CONSTANT, "error 0 9 15")
    told = stub.python("print(find_nvml()[1][0].reason)")
    assert told.strip() == "the GPU does not answer: GPU is lost"


def test_average_and_instant_power_in_watts(stub: Stub) -> None:
    stub.write(f"gpu {AA}", "power 0 100", "power 4.5 300")
    program = """
average, instant = find_nvml_power()[0]
stub.at(5.0)
print(round(average.read().raw * average.unit_watts, 3), round(instant.read().raw * instant.unit_watts, 3))
print(average.averaging_seconds, instant.averaging_seconds, average.path == instant.path)
"""
    assert stub.python(program).splitlines() == ["200.0 300.0", "1.0 None True"]


def test_mig_is_the_whole_board_and_says_that_it_is_shared(stub: Stub) -> None:
    stub.write(*CONSTANT, f"mig {AA}")
    program = """
print([(board.scope, board.path, board.shared) for board in find_nvml()[0]])
print(NvmlBoard(pynvml, 'MIG-GPU-aa').path)
"""
    boards, of_slice = stub.python(program).splitlines()
    assert "('accelerator board GPU-aa (shared by MIG slices)', 'wall/board-GPU-aa', True)" in boards
    assert "('accelerator board GPU-bb', 'wall/board-GPU-bb', False)" in boards
    assert of_slice == "wall/board-GPU-aa"


def test_other_programs_on_the_gpu_are_named(stub: Stub) -> None:
    stub.write(*CONSTANT, "pid 4242")
    assert stub.python("print(processes('GPU-aa'))").strip() == "('program4242 (4242)',)"
    own = "import os; stub.write('gpu GPU-aa', f'pid {os.getpid()}'); print(processes('GPU-aa'), processes('GPU-no'))"
    assert stub.python(own).strip() == "() None"


def test_what_throttles_is_named_and_idle_is_not_throttling(stub: Stub) -> None:
    stub.write(*CONSTANT, "throttle 0x45")
    told = stub.python("print(throttle_reasons('GPU-aa'))").strip()
    assert told == "('power cap', 'thermal slowdown by the hardware')"
    stub.write(*CONSTANT, "throttle 0x1")
    assert stub.python("print(throttle_reasons('GPU-aa'))").strip() == "()"
