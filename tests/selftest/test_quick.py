"""The small self-test on a machine of known watts: what it finds, what it says, and what broke."""

from __future__ import annotations

from typing import Any

import pytest
from fake_machine import CONTEXT, IDLE, Machine

from joulemark.meters.source import Unavailable
from joulemark.record import Ratio
from joulemark.selftest.quick import QuickTest, quick_selftest, sentence


def found_on(machine: Machine) -> tuple[QuickTest, str]:
    (test,), (said,) = quick_selftest([machine], load=lambda _: machine, clock=machine)
    return test, said


def test_the_small_self_test_finds_idle_ratio_and_line() -> None:
    test, said = found_on(Machine())
    assert (test.meter, test.load, test.reason) == ("rapl package-0", "work on one core", None)
    assert (test.idle_before_watts, test.idle_after_watts) == pytest.approx((CONTEXT, CONTEXT), rel=0.01)
    assert test.same_work_ratio is not None
    assert test.same_work_ratio.value == pytest.approx(1.0, abs=0.01)
    assert test.r_squared is not None
    assert test.r_squared > 0.9999
    assert said.startswith("rapl package-0 (work on one core): A/A ratio 1.00")
    assert "holds 1" in said


def test_a_machine_that_draws_more_and_more_does_not_hold_1() -> None:
    test, said = found_on(Machine(warming=0.005))
    assert test.same_work_ratio is not None
    assert test.same_work_ratio.high < 1
    assert "DOES NOT HOLD 1" in said
    assert test.r_squared is not None
    assert test.r_squared < 0.9999


def test_a_counter_that_fails_or_stands_is_told_with_its_reason() -> None:
    broken, standing = Machine(), Machine()
    broken.fails, standing.refresh = True, 1e9
    test, said = found_on(broken)
    assert (test.r_squared, test.same_work_ratio, test.idle_before_watts) == (None, None, None)
    assert said == "rapl package-0: the self-test could not be finished: gone."
    assert "rapl package-0: stuck" in found_on(standing)[1]


def test_one_broken_counter_does_not_hide_the_other() -> None:
    broken, good = Machine(), Machine()
    broken.fails = True
    tests, said = quick_selftest([broken, good], load=lambda source: source, clock=good)
    assert [test.reason for test in tests] == ["gone", None]
    assert len(said) == 2


@pytest.mark.parametrize(
    ("unavailable", "why"),
    [
        ([Unavailable("rapl", "no zone", "")], "rapl: no zone"),
        ([Unavailable("rapl", "no zone", ""), Unavailable("nvml", "no driver", "")], "rapl: no zone; nvml: no driver"),
        ([], "none was given"),
    ],
)
def test_without_a_counter_the_reasons_are_told(unavailable: list[Unavailable], why: str) -> None:
    assert quick_selftest([], unavailable) == ([], [f"No self-test: there is no energy counter here ({why})."])


RATIO = Ratio(value=1.0, low=0.99, high=1.01, count=6)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, "A/A ratio unknown; joules on steps R2 unknown; idle unknown."),
        ({"idle_before_watts": IDLE}, "idle unknown."),
        ({"idle_after_watts": IDLE}, "idle unknown."),
        ({"idle_before_watts": IDLE, "idle_after_watts": 51.234}, "idle 50.00 W before and 51.23 W after."),
        ({"same_work_ratio": RATIO}, "A/A ratio 1.0000 (0.9900 to 1.0100, holds 1);"),
        ({"same_work_ratio": Ratio(value=1.0, low=1.0, high=1.1, count=6)}, "holds 1"),
        ({"same_work_ratio": Ratio(value=1.1, low=1.001, high=1.2, count=6)}, "(1.0010 to 1.2000, DOES NOT HOLD 1);"),
        ({"same_work_ratio": Ratio(value=0.9, low=0.8, high=0.999, count=6)}, "DOES NOT HOLD 1"),
        ({"r_squared": 0.999994}, "R2 0.99999;"),
    ],
)
def test_what_is_unknown_is_called_so_in_the_sentence(found: dict[str, Any], words: str) -> None:
    said = sentence(QuickTest(meter="rapl", load="work on one core", **found))
    assert said.startswith("rapl (work on one core): A/A ratio ")
    assert words in said
