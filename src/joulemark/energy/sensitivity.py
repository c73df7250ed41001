"""Whether an order of nets rests on one table of costs: the same accelerator at three of them.

The costs that models of accelerators rest on differ from source to source (a word from DRAM is 200, 382 or 154
multiply-accumulates, a weight from registers 1, 0.7 or 2.4), so a ranking is worth what is left of it under all.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from joulemark.record import Record

TABLES = ("row-stationary", "row-stationary-horowitz", "row-stationary-accelergy")
"""Models that differ in nothing but their costs. The first gives the order that the others are asked about."""


class Reversal(Record, frozen=True, kw_only=True):
    """Two nets that change places: ``less`` takes fewer joules than ``more`` by the first table, more by ``model``."""

    less: str
    more: str
    model: str


class Survival(Record, frozen=True, kw_only=True):
    """An order of nets, fewest joules first by the first table, and what the other tables say of it.

    ``left_out`` are nets that not every table has joules for.
    """

    order: tuple[str, ...]
    tables: tuple[str, ...]
    reversals: tuple[Reversal, ...]
    left_out: tuple[str, ...]

    @property
    def survives(self) -> bool:
        """Whether no table turns any pair around."""
        return not self.reversals

    def sentence(self) -> str:
        """What to print below the ranking."""
        said = " < ".join(self.order)
        missing = f"; without {', '.join(self.left_out)}, which not every table describes" if self.left_out else ""
        if self.survives:
            return f"{said}: the order survives all {len(self.tables)} cost tables{missing}."
        turned = ", ".join(f"{one.less} and {one.more} by {one.model}" for one in self.reversals)
        return f"{said}: the order does not survive all {len(self.tables)} cost tables, they turn {turned}{missing}."


def survival(joules: Mapping[str, Mapping[str, float | None]], tables: tuple[str, ...] = TABLES) -> Survival:
    """Ask whether an order survives: ``joules`` maps each model's name to the joules of each net.

    Nets with equal joules by any table are no reversal. Raises ``ValueError`` if a table's joules are missing.

    >>> said = survival({"row-stationary": {"a": 1.0, "b": 2.0}, "row-stationary-horowitz": {"a": 3.0, "b": 4.0},
    ...                  "row-stationary-accelergy": {"a": 6.0, "b": 5.0}})
    >>> said.survives, said.sentence()
    (False, 'a < b: the order does not survive all 3 cost tables, they turn a and b by row-stationary-accelergy.')
    """
    if missing := [table for table in tables if table not in joules]:
        raise ValueError(f"no joules by {', '.join(missing)}: an order is judged by all of {', '.join(tables)}")
    names = list(dict.fromkeys(net for table in tables for net in joules[table]))
    known = {net: [value for table in tables if (value := joules[table].get(net)) is not None] for net in names}
    full = {net: values for net, values in known.items() if len(values) == len(tables)}
    order = sorted(full, key=lambda net: full[net][0])
    reversals = tuple(
        Reversal(less=less, more=more, model=table)
        for less, more in combinations(order, 2)
        for index, table in enumerate(tables)
        if full[less][0] < full[more][0] and full[less][index] > full[more][index]
    )
    left_out = tuple(net for net in names if net not in full)
    return Survival(order=tuple(order), tables=tables, reversals=reversals, left_out=left_out)
