"""NVML reader on a fake ``pynvml`` (no compiler needed); the last test holds the fake to the real package."""

from __future__ import annotations

import sys

import pytest
from fake_nvml import FakeNvml, NVMLError, two_boards

from joulemark.meters.counter import CounterTrack, Plain
from joulemark.meters.gpu_card import MAX_WATTS
from joulemark.meters.nvml import NvmlBoard, find_nvml


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = two_boards()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def test_every_board_is_a_source_with_its_limits(nvml: FakeNvml) -> None:
    sources, unavailable = find_nvml()
    assert unavailable == []
    assert [(s.name, s.scope) for s in sources] == [
        ("nvml NVIDIA H100", "accelerator board GPU-aa"),
        ("nvml NVIDIA L4", "accelerator board GPU-bb"),
    ]
    assert [s.max_watts for s in sources] == pytest.approx([1050.0, MAX_WATTS])
    assert {(s.gain_uncertainty, s.update_seconds, s.modulus) for s in sources} == {(0.05, 0.1, None)}
    assert "2312.02741" in sources[0].citation
    for source in sources:
        source.close()


def test_millijoules_become_joules(nvml: FakeNvml) -> None:
    source = NvmlBoard(nvml, "GPU-aa")
    track = CounterTrack(unit_joules=source.unit_joules, modulus=source.modulus, max_watts=1e9)
    track.update(source.read())
    nvml.boards["GPU-aa"]["millijoules"] += 2_500
    assert track.update(source.read()) == Plain(2.5)
    source.close()


def test_a_board_without_a_counter_is_told_and_does_not_hide_the_other(nvml: FakeNvml) -> None:
    nvml.boards["GPU-aa"]["millijoules"] = NVMLError("Not Supported")
    sources, unavailable = find_nvml()
    assert [source.scope for source in sources] == ["accelerator board GPU-bb"]
    assert [(missing.name, missing.reason) for missing in unavailable] == [
        ("nvml gpu 0", "no energy counter: Not Supported")
    ]
    assert nvml.users == 1
    sources[0].close()


def test_without_the_package_the_fix_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    sources, (missing,) = find_nvml()
    assert sources == []
    assert missing.fix == 'pip install "joulemark[nvml]"'


def test_without_a_driver_the_reason_is_the_drivers_own(nvml: FakeNvml) -> None:
    nvml.driver = False
    sources, (missing,) = find_nvml()
    assert sources == []
    assert "NVML Shared Library Not Found" in missing.reason
    assert nvml.users == 0


def test_a_driver_without_boards_is_told(nvml: FakeNvml) -> None:
    nvml.boards = {}
    sources, (missing,) = find_nvml()
    assert sources == []
    assert "no GPU" in missing.reason
    assert nvml.users == 0


def test_the_real_package_has_every_function_of_the_fake() -> None:
    real = pytest.importorskip("pynvml")
    wanted = [name for name in vars(FakeNvml) if name.startswith(("nvml", "NVML"))]
    assert [name for name in wanted if not hasattr(real, name)] == []
