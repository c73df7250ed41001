"""A constant with where it comes from, and how far that may be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from joulemark.record import Record

Status = Literal["seen", "transcribed", "derived", "recalled", "chosen"]
STATUSES: dict[Status, str] = {
    "seen": "read in the maker's document",
    "transcribed": "read where somebody else copied it",
    "derived": "computed from other constants",
    "recalled": "from memory, not checked",
    "chosen": "our choice",
}
"""How a constant is known, and what that means."""


class Constant(Record, frozen=True, kw_only=True):
    """A number in ``unit`` with its source; ``low`` and ``high`` are the least and the most that it can be.

    >>> volts = Constant(value=3.0, unit="V", status="recalled", source="the run current's condition")
    >>> volts.told("supply")
    "supply 3 V: the run current's condition (recalled: from memory, not checked)"
    """

    value: float
    unit: str
    status: Status
    source: str
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.least < 0:
            raise ValueError(f"a constant of {self.value} {self.unit} may not be negative")
        if not self.least <= self.value <= self.most:
            raise ValueError(f"a constant of {self.value} {self.unit} lies outside of {self.least} to {self.most}")

    @property
    def least(self) -> float:
        """The least that it can be."""
        return self.value if self.low is None else self.low

    @property
    def most(self) -> float:
        """The most that it can be."""
        return self.value if self.high is None else self.high

    def told(self, name: str) -> str:
        """One sentence with the value, its source and how it is known."""
        spread = "" if self.least == self.most else f" ({self.least:g} to {self.most:g})"
        return f"{name} {self.value:g} {self.unit}{spread}: {self.source} ({self.status}: {STATUSES[self.status]})"


def told(constants: Mapping[str, Constant]) -> tuple[str, ...]:
    """One sentence a constant; underscores of names become blanks."""
    return tuple(one.told(name.replace("_", " ")) for name, one in constants.items())
