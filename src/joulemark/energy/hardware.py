"""Accelerators described by sizes and costs: small TOML files, every figure with its source.

Three come with Joulemark. They have the array and the memories of the Eyeriss chip and differ only in what a word
costs, so that a ranking can be asked whether it survives another table (:mod:`joulemark.energy.sensitivity`):

    eyeriss      ratios of the Eyeriss paper, 65 nm, 16 bit; joules of the unit derived from Horowitz
    horowitz     picojoules after Horowitz, 45 nm
    accelergy    picojoules per action of Accelergy's example "eyeriss_like", 32 nm
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Annotated

import msgspec

from joulemark.energy.row_stationary import Array, Costs
from joulemark.energy.shapes import Count
from joulemark.record import Record

Cost = Annotated[float, msgspec.Meta(gt=0)]


class Description(Record, frozen=True, kw_only=True):
    """An accelerator: sizes in words, costs per word in units of ``unit_joules``; see ``eyeriss.toml``.

    The cost of a level is one number or, as a table, one for each of weights, inputs and (partial) sums.
    """

    name: str
    title: str
    rows: Count
    columns: Count
    buffer_words: Count
    register_words: Count
    word_bits: Count
    mac: Cost
    register: Cost | Costs
    array: Cost | Costs
    buffer: Cost | Costs
    dram: Cost | Costs
    run_bits: Count
    unit_joules: Cost
    sources: tuple[str, ...]
    assumptions: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str) -> Description:
        """Read a description from TOML; ``msgspec.ValidationError`` if anything is missing, unknown or out of range."""
        return msgspec.convert(tomllib.loads(text), cls)

    @classmethod
    def shipped(cls, table: str) -> Description:
        """Read one that comes with Joulemark: "eyeriss", "horowitz" or "accelergy".

        >>> chip = Description.shipped("eyeriss")
        >>> chip.rows * chip.columns, chip.buffer_words * chip.word_bits // 8 // 1024  # elements, KB
        (168, 108)
        """
        return cls.read((files("joulemark.energy") / f"{table}.toml").read_text(encoding="utf-8"))

    def hardware(self) -> Array:
        """What the search for a mapping needs to know; ``ValueError`` for costs that it cannot search with."""
        return Array(
            elements=self.rows * self.columns,
            buffer_words=self.buffer_words,
            register_words=self.register_words,
            dram=_costs(self.dram),
            buffer=_costs(self.buffer),
            array=_costs(self.array),
            register=_costs(self.register),
        )


def _costs(cost: float | Costs) -> Costs:
    return cost if isinstance(cost, Costs) else Costs.same(cost)


def stored_words(bits: int, density: float, chip: Description) -> float:
    """Words that one element takes in DRAM and buffer, dense or run-length coded, whichever is smaller.

    An entry is a count of zeros (5 bits: 0 to 31) and a value, so it stands for at most 32 elements. With zeros at
    random an entry stands for (1 - z^32) / (1 - z) elements on average, z = 1 - density (derived: the mean of a
    geometric length cut at 32).

    >>> chip = Description.shipped("eyeriss")
    >>> stored_words(16, 1.0, chip), round(stored_words(16, 0.25, chip), 4), stored_words(16, 0.0, chip)
    (1.0, 0.3282, 0.041015625)
    """
    longest = 2**chip.run_bits
    entries: float = density / (1 - (1 - density) ** longest) if density > 0 else 1 / longest
    return min(float(bits), entries * (bits + chip.run_bits)) / chip.word_bits
