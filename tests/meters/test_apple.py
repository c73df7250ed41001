"""Apple's counters on a fake ``zeus_apple_silicon`` with the fields of its ``AppleEnergyMetrics``."""

from __future__ import annotations

import platform
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from joulemark.meters.apple import find_apple
from joulemark.meters.counter import CounterTrack, Plain
from joulemark.meters.probe import absent, probe
from joulemark.meters.source import ReadError
from joulemark.meters.window import Window

PATHS = [f"wall/platform/{part}" for part in ("package-0/cpu", "package-0/gpu", "package-0/ane", "dram-0")]


class FakeLibrary(ModuleType):
    """The package with one chip; ``millijoules`` are what the system's counters say now."""

    def __init__(self) -> None:
        super().__init__("zeus_apple_silicon")
        self.millijoules: dict[str, Any] = {
            "cpu_total_mj": 10_000, "efficiency_cores_mj": [1_000, 2_000], "performance_cores_mj": [3_000, 4_000],
            "efficiency_core_manager_mj": 5, "performance_core_manager_mj": None, "dram_mj": 2_000, "gpu_mj": 7_000,
            "gpu_sram_mj": 50, "ane_mj": 0,
        }  # fmt: skip
        self.error: str | None = None

    def AppleEnergyMonitor(self) -> SimpleNamespace:  # noqa: N802
        if self.error:
            raise RuntimeError(self.error)
        return SimpleNamespace(get_cumulative_energy=lambda: SimpleNamespace(**self.millijoules))


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeLibrary:
    fake = FakeLibrary()
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", fake)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    return fake


def test_the_parts_are_disjoint_and_add_up(library: FakeLibrary) -> None:
    sources, unavailable = find_apple()
    assert unavailable == []
    assert [source.path for source in sources] == PATHS
    with Window(sources) as window:
        library.millijoules |= {"cpu_total_mj": 10_004, "gpu_mj": 7_002, "dram_mj": 2_001}
        library.millijoules |= {"efficiency_cores_mj": [1_004, 2_000], "gpu_sram_mj": 51}  # inside, or not known
    assert window.joules.value == pytest.approx(0.007)  # 4 + 2 + 0 + 1 mJ
    assert window.joules.systematic is None
    assert {"system_model", "gain_unknown"} <= set(window.joules.flags)


def test_millijoules_become_joules(library: FakeLibrary) -> None:
    source = find_apple()[0][0]
    track = CounterTrack(unit_joules=source.unit_joules, modulus=source.modulus, max_watts=1e9)
    track.update(source.read())
    library.millijoules["cpu_total_mj"] += 2_500
    assert track.update(source.read()) == Plain(2.5)


def test_a_channel_that_the_chip_lacks_is_unavailable_and_never_0(library: FakeLibrary) -> None:
    library.millijoules["dram_mj"] = None
    sources, (missing,) = find_apple()
    assert [source.path for source in sources] == PATHS[:3]
    assert (missing.name, missing.reason) == ("apple dram-0", "apple dram-0: this chip does not tell it")


def test_a_channel_that_falls_silent_is_a_read_error(library: FakeLibrary) -> None:
    source = find_apple()[0][0]
    library.millijoules["cpu_total_mj"] = None
    with pytest.raises(ReadError, match="apple cpu"):
        source.read()
    library.millijoules["cpu_total_mj"] = 10_000
    assert source.read().raw == 10_000
    source.close()
    source.close()
    with pytest.raises(ReadError, match="closed"):
        source.read()


def test_a_mac_without_counters_says_so(library: FakeLibrary) -> None:
    library.error = "Failed to create IOReport subscription."
    sources, (missing,) = find_apple()
    assert sources == []
    assert "IOReport" in missing.reason


def test_without_the_package_the_fix_names_the_extra(library: FakeLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", None)
    sources, (missing,) = find_apple()
    assert sources == []
    assert missing.fix == 'pip install "joulemark[apple]"'


def test_a_mac_is_asked_for_its_own_counters_alone(library: FakeLibrary) -> None:
    sources, unavailable = probe()
    assert [source.path for source in sources] == PATHS
    assert unavailable == []
    assert [missing.name for missing in absent()] == ["wall"]


@pytest.mark.parametrize(("system", "machine"), [("linux", "x86_64"), ("linux", "arm64"), ("darwin", "x86_64")])
def test_other_machines_have_none(monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    sources, (missing,) = find_apple()
    assert sources == []
    assert "not a Mac" in missing.reason
    assert [one.name for one in absent()] == ["apple", "wall"]
