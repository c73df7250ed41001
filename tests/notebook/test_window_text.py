"""What a window says of itself: never 0 for what is not known."""

from types import SimpleNamespace

import pytest

from joulemark.notebook.window_text import OPEN, told, window_text
from joulemark.record import Kind, Quantity


def quantity(value, unit, **more):
    method = "energy counter" if unit == "J" else "monotonic clock"
    return Quantity(value=value, unit=unit, kind=Kind.MEASURED, method=method, scope="package 0", source="", **more)


def window(**more):
    made = {
        "seconds": quantity(2.0, "s"), "cpu_seconds": quantity(1.5, "s"), "joules": quantity(30.0, "J"),
        "net_joules": quantity(20.0, "J"), "scopes": {}, "checks": {}, "idle": {},
    }  # fmt: skip
    return SimpleNamespace(**made | more)


def test_each_sensor_has_its_line_with_scope_and_kind():
    scopes = {"package 0": quantity(10.0, "J", random=0.5), "gpu 0": quantity(20.0, "J", flags=("gain_unknown",))}
    lines = window_text(window(scopes=scopes, checks={"nvml, gpu 0": quantity(21.0, "J")})).splitlines()
    assert lines == [
        "seconds      2.00 s (measured, monotonic clock)",
        "CPU-seconds  1.50 s (measured, monotonic clock)",
        "joules       30.0 J (measured, energy counter)",
        "  package 0: 10.0 J (measured, energy counter, standard uncertainty 500 mJ)",
        "  gpu 0: 20.0 J (measured, energy counter, gain unknown)",
        "  cross-check, nvml, gpu 0: 21.0 J (measured, energy counter)",
    ]


def test_net_joules_stand_there_only_if_idle_was_measured():
    assert "net" not in window_text(window())
    told_ = window_text(window(idle={"seconds": quantity(1.0, "s")}))
    assert "net joules   20.0 J (measured, energy counter), what the idle machine would use taken off" in told_


def test_unknown_joules_say_why_and_are_no_number():
    text = window_text(window(joules=quantity(None, "J", reason="no energy counter (rapl: a virtual machine)")))
    assert text.splitlines()[2] == "joules unknown: no energy counter (rapl: a virtual machine)"
    assert "0 J" not in text


def test_what_bounds_are_known_are_told():
    assert told(quantity(None, "J", reason="gap", low=1.0, high=9.0)) == "unknown: gap; at least 1.00 J; at most 9.00 J"
    assert "95 % interval 1.00 J to 3.00 J" in told(quantity(2.0, "J", low=1.0, high=3.0))


def test_an_open_window_says_that_it_is_open():
    class Open:
        @property
        def seconds(self):
            raise RuntimeError("no result yet")

    assert window_text(Open()) == OPEN


@pytest.mark.parametrize("word", ["saves energy", "kWh", "CO2"])
def test_no_saving_is_claimed(word):
    assert word not in window_text(window())
