"""What a window says when it is printed: what was measured, by which sensor, and what is not known and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from joulemark.record import Quantity
from joulemark.report.words import meter_flag, with_prefix

if TYPE_CHECKING:
    from joulemark.notebook.measure import MeasuredWindow


OPEN = "This window is open: it has seconds and joules after the `with` block."


def window_text(window: MeasuredWindow) -> str:
    """One line a figure, or one sentence while the window is open. What is unknown says why; it is never 0."""
    try:
        return "\n".join(_lines(window))
    except RuntimeError:
        return OPEN


def _lines(window: MeasuredWindow) -> Iterator[str]:
    yield f"seconds      {told(window.seconds)}"
    yield f"CPU-seconds  {told(window.cpu_seconds)}"
    joules = window.joules
    yield f"joules       {told(joules)}" if joules.value is not None else f"joules {told(joules)}"
    for scope, quantity in window.scopes.items():
        yield f"  {scope}: {told(quantity)}"
    for sensor, quantity in window.checks.items():
        yield f"  cross-check, {sensor}: {told(quantity)}"
    if window.idle:
        yield f"net joules   {told(window.net_joules)}, what the idle machine would use taken off"


def told(quantity: Quantity) -> str:
    """A value with its unit, kind, method, uncertainty and flags; or "unknown: " and the reason.

    >>> from joulemark.record import Kind
    >>> told(Quantity(value=2.5, unit="J", kind=Kind.MEASURED, method="energy counter", scope="package 0", source=""))
    '2.50 J (measured, energy counter)'
    """
    if quantity.value is None:
        ends = (("at least", quantity.low), ("at most", quantity.high))
        between = [f"{words} {with_prefix(value, quantity.unit)}" for words, value in ends if value is not None]
        return f"unknown: {'; '.join([quantity.reason or 'nobody said why', *between])}"
    about = [str(quantity.kind), quantity.method]
    if quantity.low is not None and quantity.high is not None:
        ends_ = (with_prefix(end, quantity.unit) for end in (quantity.low, quantity.high))
        about.append(f"95 % interval {' to '.join(ends_)}")
    elif quantity.random is not None:
        about.append(f"standard uncertainty {with_prefix(quantity.random, quantity.unit)}")
    about += [meter_flag(flag) for flag in quantity.flags]
    return f"{with_prefix(quantity.value, quantity.unit)} ({', '.join(about)})"
