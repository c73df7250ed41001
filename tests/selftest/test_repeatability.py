"""How well a reading repeats (V6), and another tool on the same interval (V11), which is a stand-in here."""

from __future__ import annotations

import random
import sys
from types import ModuleType, SimpleNamespace

import pytest
from fake_machine import WATTS, Machine, bench_of

from joulemark.selftest.repeatability import BLOCKS, SEED, other_tools, repeatability


def test_a_steady_machine_repeats_and_tells_the_wider_net_apart() -> None:
    targets, figures = repeatability(bench_of(Machine(), pace=0.3))
    assert [target.passed for target in targets] == [True, True, True]
    assert (len(figures["blocks_joules_per_step"]), figures["seed"]) == (BLOCKS, SEED)
    assert figures["same_net_ratio"].value == pytest.approx(1.0, abs=1e-3)
    other = figures["other_net_ratio"]
    assert other.value == pytest.approx(WATTS["cnn"] / WATTS["wide-cnn"], rel=0.003)
    assert other.high < 1
    for block in figures["blocks_joules_per_step"]:
        assert block == pytest.approx({"first": 0.1, "again": 0.1, "wide": 0.125}, rel=0.003)


def test_the_blocks_are_in_shuffled_order() -> None:
    """On a machine that warms, what comes later in a block costs more: neither is always first."""
    blocks = repeatability(bench_of(Machine(warming=0.01)))[1]["blocks_joules_per_step"]
    assert 2 <= sum(block["first"] < block["again"] for block in blocks) <= BLOCKS - 2


def test_a_machine_that_warms_does_not_repeat() -> None:
    """By one percent a second over half a minute; shuffled, the ratio still covers 1, in a wide interval."""
    (variation, covers, half), figures = repeatability(bench_of(Machine(warming=0.01)))
    assert (variation.passed, covers.passed, half.passed) == (False, True, False)
    same = figures["same_net_ratio"]
    assert half.value == pytest.approx((same.high - same.low) / 2)
    firsts = [block["first"] for block in figures["blocks_joules_per_step"]]
    mean = sum(firsts) / BLOCKS
    spread = (sum((one - mean) ** 2 for one in firsts) / (BLOCKS - 1)) ** 0.5
    assert variation.value == pytest.approx(spread / mean)


def test_blocks_too_short_for_the_counter_leave_all_unknown() -> None:
    targets, figures = repeatability(bench_of(Machine(update=3.0)))
    assert [(target.value, target.passed) for target in targets] == [(None, None)] * 3
    assert (figures["same_net_ratio"], figures["other_net_ratio"]) == (None, None)


def scripted(**of_a_block: list[float | None]) -> SimpleNamespace:
    """A bench whose windows cost what is written for each of the twelve blocks, whatever their order in it."""
    order, costs = random.Random(SEED), []  # noqa: S311  (an order, not a secret)
    for block in range(BLOCKS):
        letters = ["first", "again", "wide"]
        order.shuffle(letters)
        costs += [of_a_block[letter][block] for letter in letters]
    left = iter(costs)
    return SimpleNamespace(work=lambda what, seconds: SimpleNamespace(joules_per_step=next(left)))


def test_a_net_that_costs_more_the_second_time_is_not_itself() -> None:
    (variation, covers, half), _ = repeatability(
        scripted(first=[1.0] * BLOCKS, again=[1.02] * BLOCKS, wide=[2.0] * BLOCKS)
    )
    assert (covers.value, covers.passed) == (pytest.approx(1 / 1.02), False)
    assert (variation.value, variation.passed, half.passed) == (0.0, True, True)


def test_one_window_that_is_unknown_leaves_what_needs_it_unknown() -> None:
    one_lost = [None, *[1.0] * (BLOCKS - 1)]
    targets, figures = repeatability(scripted(first=[1.0] * BLOCKS, again=one_lost, wide=[2.0] * BLOCKS))
    assert [target.passed for target in targets] == [True, None, None]
    assert figures["same_net_ratio"] is None
    assert figures["other_net_ratio"].value == pytest.approx(0.5)


def give_zeus(monkeypatch: pytest.MonkeyPatch, machine: Machine, gain: float) -> list[int]:
    """A zeus that reads the machine itself; returns the boards that it was asked for."""
    asked: list[int] = []

    class Monitor:
        def __init__(self, gpu_indices: list[int]) -> None:
            asked.extend(gpu_indices)

        def begin_window(self, name: str) -> None:
            self.before = machine.joules_at(machine.now())

        def end_window(self, name: str) -> SimpleNamespace:
            return SimpleNamespace(gpu_energy={1: gain * (machine.joules_at(machine.now()) - self.before)})

    monitor = ModuleType("zeus.monitor")
    monitor.ZeusMonitor = Monitor  # type: ignore[attr-defined]
    uuids = ("zz", "aa")
    cuda = SimpleNamespace(device_count=lambda: 2, get_device_properties=lambda i: SimpleNamespace(uuid=uuids[i]))
    for name, module in (
        ("zeus", ModuleType("zeus")),
        ("zeus.monitor", monitor),
        ("torch", SimpleNamespace(cuda=cuda)),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    return asked


@pytest.mark.parametrize(("gain", "passed"), [(1.0, True), (1.05, False), (0.95, False)])
def test_a_tool_that_is_more_than_one_update_apart_fails(
    monkeypatch: pytest.MonkeyPatch, gain: float, passed: bool
) -> None:
    machine = Machine()
    asked = give_zeus(monkeypatch, machine, gain)
    ((target,), figures) = other_tools(bench_of(machine))
    assert asked == [1]  # as CUDA counts, not the driver
    assert figures["seconds"] == pytest.approx(1.0)
    assert figures["joules"] == pytest.approx(WATTS["cnn"], abs=1.1)  # one update is 1 J
    assert figures["zeus_joules"] == pytest.approx(gain * WATTS["cnn"])
    assert target.value == pytest.approx(figures["zeus_joules"] - figures["joules"], rel=1e-3, abs=1e-6)
    assert target.passed == passed


def test_without_the_tool_nothing_is_said_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeus.monitor", None)
    ((target,), figures) = other_tools(bench_of(Machine()))
    assert (target.value, target.passed, figures) == (None, None, {"zeus": "not installed"})
