"""Which board is tested, and the sentence why none is, with stand-ins for the driver and for torch."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from fake_nvml import FakeNvml, NVMLError

from joulemark.selftest.gpu import CannotTest, open_bench


def give_torch(monkeypatch: pytest.MonkeyPatch, *uuids: str) -> None:
    """A torch that sees these boards; ``CUDA_VISIBLE_DEVICES`` is the user's own."""
    cuda = SimpleNamespace(
        is_available=lambda: bool(uuids), device_count=lambda: len(uuids),
        get_device_properties=lambda index: SimpleNamespace(uuid=uuids[index].removeprefix("GPU-")),
    )  # fmt: skip
    torch = SimpleNamespace(cuda=cuda, device=lambda kind, index: f"{kind}:{index}")
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")


def test_the_board_that_torch_sees_is_tested_with_its_counter_and_its_power_fields(
    driver: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.boards["GPU-bb"] = {"name": "NVIDIA L4", "millijoules": 7, "fields": {185: (1, 5), 186: (1, 6)}}
    give_torch(monkeypatch, "GPU-zz", "GPU-aa")
    bench = open_bench()
    assert (bench.board, bench.counter.scope, bench.load.device) == ("GPU-aa", "accelerator board GPU-aa", "cuda:1")
    assert {name: power.read().raw for name, power in bench.powers.items()} == {"average": 90_000, "instant": 91_000}
    assert (bench.pace, bench.load.started) == (1.0, False)  # nothing has taken the board yet


def test_a_board_that_torch_does_not_see_gives_way_to_the_next(
    driver: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.boards["GPU-bb"] = {"name": "NVIDIA L4", "millijoules": 7, "fields": {185: (1, 5), 186: (1, 6)}}
    give_torch(monkeypatch, "GPU-bb")
    bench = open_bench()
    assert bench.board == "GPU-bb"
    assert [power.read().raw for power in bench.powers.values()] == [5, 6]


def test_a_board_without_power_fields_is_tested_without_them(driver: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    del driver.boards["GPU-aa"]["fields"]
    give_torch(monkeypatch, "GPU-aa")
    assert open_bench().powers == {}


def test_without_a_counter_the_reasons_are_those_of_the_boards(
    driver: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_torch(monkeypatch, "GPU-aa")
    driver.boards["GPU-aa"] = {"name": "NVIDIA H100", "millijoules": NVMLError("Not Supported", 3)}
    with pytest.raises(CannotTest, match=r"^nvml gpu 0: no energy counter: Not Supported$"):
        open_bench()
    driver.driver = False
    with pytest.raises(CannotTest, match=r"^nvml: no NVIDIA driver answers: "):
        open_bench()


def test_without_torch_or_cuda_one_reason_is_told_once(driver: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.boards["GPU-bb"] = {"name": "NVIDIA L4", "millijoules": 7}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(CannotTest, match=r"^torch is not installed$"):
        open_bench()
    give_torch(monkeypatch)
    with pytest.raises(CannotTest, match=r"^torch sees no CUDA device$"):
        open_bench()


def test_boards_that_torch_does_not_see_are_all_named(driver: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.boards["GPU-bb"] = {"name": "NVIDIA L4", "millijoules": 7}
    give_torch(monkeypatch, "GPU-zz")
    with pytest.raises(CannotTest, match=r"counter is of GPU-aa; torch sees GPU-zz, and the counter is of GPU-bb$"):
        open_bench()
