"""The report of a measured command for a person."""

from __future__ import annotations

import shlex

from joulemark.command.command import Measured
from joulemark.record import Quantity


def report_lines(measured: Measured) -> list[str]:
    """The report for a person: one line a quantity, what is unknown with its reason."""
    count = len(measured.runs)
    runs = "" if measured.repeat == 1 else f", {count} of {measured.repeat} runs, medians"
    lines = [f"joulemark: {shlex.join(measured.command)} (exit code {measured.exit_code}{runs})"]
    names = {
        "seconds": "seconds",
        "cpu_seconds": "CPU seconds",
        "peak_memory_bytes": "peak memory",
        "joules": "joules (gross)",
        "net_joules": "joules (net)",
    }
    for name, title in names.items():
        if name == "net_joules" and not measured.idle:
            continue
        lines.append(f"  {title:<15} {_told(measured.median[name])}")
        if name == "joules" and len(measured.scopes) > 1:
            lines += [f"    {scope}: {_told(joules)}" for scope, joules in measured.scopes.items()]
        if name == "joules":
            lines += [f"    cross-check, {sensor}: {_told(joules)}" for sensor, joules in measured.checks.items()]
    left = tuple(dict.fromkeys(name for run in measured.runs for name in run.left_running))
    if left:
        lines.append(f"  still running: {', '.join(left)}; what they use after the command's end is not in its joules")
    return lines


def _told(quantity: Quantity) -> str:
    if quantity.value is None:
        ends = (("at least", quantity.low), ("at most", quantity.high))
        known = ", ".join(f"{word} {value:.4g} {quantity.unit}" for word, value in ends if value is not None)
        return f"unknown: {quantity.reason}" + (f" ({known})" if known else "")
    scale, unit = (1e-6, "MB") if quantity.unit == "B" else (1.0, quantity.unit)
    text = f"{quantity.value * scale:.4g} {unit}"
    parts = []
    if quantity.low is not None and quantity.high is not None:
        parts.append(f"95 % interval {quantity.low * scale:.4g} to {quantity.high * scale:.4g}")
    elif quantity.random is not None:
        parts.append(f"standard uncertainty {quantity.random * scale:.2g}")
    if quantity.systematic is not None:
        parts.append(f"of its scale {quantity.systematic * scale:.2g}")
    text += f" ({', '.join(parts)})" if parts else ""
    return text + (f" [{', '.join(quantity.flags)}]" if quantity.flags else "")
