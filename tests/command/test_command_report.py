"""The report of a measured command: what each line says of numbers that are made up."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quantities import joules, seconds

from joulemark.command import command_report
from joulemark.command.command import Measured, Run
from joulemark.command.command_report import report_lines
from joulemark.record import Kind, Quantity

IDLE = {"seconds": seconds(1.0), "joules": joules(1.0)}


def memory(value: float | None, **more: Any) -> Quantity:
    return msgspec.structs.replace(joules(value, **more), unit="B")


def measured(*runs: Run, **more: Any) -> Measured:
    median = {"seconds": seconds(2.5), "cpu_seconds": seconds(1.25), "peak_memory_bytes": memory(123_456_789.0),
              "joules": joules(100.0), "net_joules": joules(60.0)}  # fmt: skip
    given = {"command": ("sh", "-c", "exit 0"), "exit_code": 0, "repeat": 1, "runs": runs or (run(),), "idle": {}}
    return Measured(**{**given, **more, "median": {**median, **more.get("median", {})}})


def run(*left: str) -> Run:
    one = joules(1.0)
    return Run(exit_code=0, left_running=left, seconds=seconds(1.0), cpu_seconds=seconds(1.0),
               peak_memory_bytes=memory(1.0), joules=one, net_joules=one)  # fmt: skip


def gross(quantity: Quantity) -> str:
    """What the report says of these gross joules."""
    (line,) = [one for one in report_lines(measured(median={"joules": quantity})) if "joules (gross)" in one]
    return line.removeprefix("  joules (gross)  ")


def test_a_report_is_a_head_and_a_line_for_each_quantity() -> None:
    assert report_lines(measured(idle=IDLE)) == [
        "joulemark: sh -c 'exit 0' (exit code 0)",
        "  seconds         2.5 s",
        "  CPU seconds     1.25 s",
        "  peak memory     123.5 MB",
        "  joules (gross)  100 J",
        "  joules (net)    60 J",
    ]


def test_net_joules_are_told_only_where_idle_was_measured() -> None:
    assert not any("(net)" in line for line in report_lines(measured()))


@pytest.mark.parametrize(
    ("more", "head"),
    [
        ({"exit_code": 130}, "joulemark: sh -c 'exit 0' (exit code 130)"),
        ({"repeat": 3, "runs": (run(),)}, "joulemark: sh -c 'exit 0' (exit code 0, 1 of 3 runs, medians)"),
        ({"repeat": 2, "runs": (run(), run())}, "joulemark: sh -c 'exit 0' (exit code 0, 2 of 2 runs, medians)"),
        ({"command": ("a b", "", "it's")}, "joulemark: 'a b' '' 'it'\"'\"'s' (exit code 0)"),
    ],
)
def test_the_head_is_the_command_as_a_shell_takes_it_its_exit_code_and_runs(more: dict[str, Any], head: str) -> None:
    assert report_lines(measured(**more))[0] == head


def test_parts_are_told_below_their_sum_and_only_where_there_are_several() -> None:
    scopes = {"processor package-0": joules(30.0), "memory dram-0": joules(None)}
    lines = report_lines(measured(scopes=scopes, idle=IDLE))
    assert lines[4:8] == [
        "  joules (gross)  100 J",
        "    processor package-0: 30 J",
        "    memory dram-0: unknown: the counter was reset",
        "  joules (net)    60 J",
    ]
    assert not any("package-0" in line for line in report_lines(measured(scopes={"processor package-0": joules(30.0)})))


def test_other_sensors_are_told_as_cross_checks_even_a_single_one() -> None:
    assert report_lines(measured(checks={"average power, board": joules(99.0)}))[-1] == (
        "    cross-check, average power, board: 99 J"
    )


def test_what_was_left_running_is_named_once_and_last() -> None:
    assert report_lines(measured(run("sleep (7)"), run("sleep (7)", "sh (9)")))[-1] == (
        "  still running: sleep (7), sh (9); what they use after the command's end is not in its joules"
    )
    assert not any("still running" in line for line in report_lines(measured()))


@pytest.mark.parametrize(
    ("quantity", "words"),
    [
        (joules(200.0), "200 J"),
        (joules(200.0, random=4.0, systematic=10.0), "200 J (standard uncertainty 4, of its scale 10)"),
        (joules(350.0, low=100.0, high=600.0, systematic=17.5), "350 J (95 % interval 100 to 600, of its scale 18)"),
        (joules(350.0, low=100.0, high=600.0, random=4.0), "350 J (95 % interval 100 to 600)"),
        (joules(200.0, systematic=10.0), "200 J (of its scale 10)"),
        (joules(0.0, random=0.0), "0 J (standard uncertainty 0)"),
        (joules(-1.5, low=-2.0, high=-1.0), "-1.5 J (95 % interval -2 to -1)"),
        (joules(200.0, flags=("wrapped", "too_short")), "200 J [wrapped, too_short]"),
        (joules(200.0, random=4.0, flags=("wrapped",)), "200 J (standard uncertainty 4) [wrapped]"),
        (joules(123456.789), "1.235e+05 J"),
    ],
)
def test_a_known_quantity_is_told_with_both_uncertainties_and_its_flags(quantity: Quantity, words: str) -> None:
    assert gross(quantity) == words


@pytest.mark.parametrize(
    ("quantity", "words"),
    [
        (joules(None), "unknown: the counter was reset"),
        (joules(None, low=12.0, high=34.0), "unknown: the counter was reset (at least 12 J, at most 34 J)"),
        (joules(None, low=0.0, high=34.0), "unknown: the counter was reset (at least 0 J, at most 34 J)"),
    ],
)
def test_an_unknown_quantity_is_told_with_its_reason_and_bounds_and_never_as_0(quantity: Quantity, words: str) -> None:
    assert gross(quantity) == words


def test_bytes_are_told_in_megabytes_with_their_interval() -> None:
    median = {"peak_memory_bytes": memory(2e6, low=1e6, high=3e6)}
    assert report_lines(measured(median=median))[3] == "  peak memory     2 MB (95 % interval 1 to 3)"


def test_nothing_is_made_of_the_joules() -> None:
    """No money, no carbon, no claim: joules alone."""
    text = "\n".join(report_lines(measured(idle=IDLE, checks={"x": joules(1.0)})))
    assert not any(word in text for word in ("kWh", "saves", "CO2"))


@given(st.floats(1e-6, 1e9), st.none() | st.floats(0, 1e6), st.none() | st.floats(0, 1e6))
def test_what_is_told_is_the_value_to_four_digits(value: float, random: float | None, systematic: float | None) -> None:
    told = gross(joules(value, random=random, systematic=systematic))
    number, unit, *rest = told.split(" ", 2)
    assert (float(number), unit) == (pytest.approx(value, rel=6e-4), "J")
    assert bool(rest) == (random is not None or systematic is not None)


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ({}, "unknown: why"), ({"low": 12.0}, "unknown: why (at least 12 J)"),
        ({"high": 34.0}, "unknown: why (at most 34 J)"),
        ({"low": 12.0, "high": 34.0}, "unknown: why (at least 12 J, at most 34 J)"),
    ],
)  # fmt: skip
def test_what_is_known_of_unknown_joules_is_told_whole(ends, words):
    unknown = Quantity(
        value=None, unit="J", kind=Kind.MEASURED, method="m", scope="s", source="x", reason="why", **ends
    )  # fmt: skip
    assert command_report._told(unknown) == words
