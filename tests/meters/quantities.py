"""Measured joules and seconds as short as a test wants to write them."""

from __future__ import annotations

from typing import Any

from joulemark.record import Kind, Quantity


def joules(value: float | None, **more: Any) -> Quantity:
    """Joules of a counter; the unknown ones have a reason."""
    reason = None if value is not None else "the counter was reset"
    given = {"method": "energy counter", "scope": "x", "source": "x", "reason": reason, **more}
    return Quantity(value=value, unit="J", kind=Kind.MEASURED, **given)


def seconds(value: float) -> Quantity:
    """Seconds of a clock."""
    return Quantity(value=value, unit="s", kind=Kind.MEASURED, method="clock", scope="x", source="x")
