"""Row-stationary dataflow: how often one layer touches each level of memory, and the mapping that costs least.

Chen, Emer and Sze (Eyeriss, ISCA 2016) keep a column of filter taps still in each processing element, pass inputs
diagonally over the array and sum upwards. Yang, Chen and Sze (CVPR 2017) estimate a layer's energy as that of its best
mapping. Constraints and access counts are those of the authors' ``rs_flow.m``, which knows square layers only; here
they are written for any height and width. In the letters of the paper: G groups, N rows (images), C channels and M
filters a group, H x W padded input, R x S taps, stride U, output E x F, and the mapping

    m filters and n images in the buffer, a strip of f output columns across the array (w = U f + S - U input columns),
    p filters and q channels in one element, r sets of channels and t sets of filters across the array

subject to, for J elements, Q words of buffer and RF words of registers an element,

    n m E f + n q r H w <= Q        S f r t <= J        p q R + q R + p <= RF        q r <= C        p t <= m

An element holds columns of R taps and S elements share a filter, hence the S in the second (the authors' R = S).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from joulemark.energy.shapes import Count, Shape
from joulemark.record import Record

Cost = Annotated[float, msgspec.Meta(ge=0)]


class NoMapping(ValueError):  # noqa: N818 - an answer ("this layer does not fit"), not a fault
    """The layer does not fit the hardware in any way."""


class Costs(Record, frozen=True, kw_only=True):
    """What moving one word past a level costs, by what the word is, in any one unit."""

    weights: Cost
    inputs: Cost
    sums: Cost

    @classmethod
    def same(cls, cost: float) -> Costs:
        """The same for every kind of word."""
        return cls(weights=cost, inputs=cost, sums=cost)


class Array(Record, frozen=True, kw_only=True):
    """The hardware: sizes in words and costs per word."""

    elements: Count
    buffer_words: Count
    register_words: Count
    dram: Costs
    buffer: Costs
    array: Costs
    register: Costs

    def __post_init__(self) -> None:
        """Refuse costs with which the search could leave out the best mapping (see :func:`search`)."""
        levels = (self.register, self.array, self.buffer, self.dram)
        if min(cost for level in levels for cost in (level.weights, level.inputs, level.sums)) < 0:
            raise ValueError("costs must not be negative")
        if not self.register.sums <= self.array.sums <= self.buffer.sums:
            raise ValueError("costs of partial sums must not fall from register over array to buffer")


class Mapping(Record, frozen=True, kw_only=True):
    """How a layer is laid on the hardware; the letter of the paper stands beside each."""

    stored_filters: int  # m
    stored_images: int  # n
    columns: int  # f
    filters: int  # p
    channels: int  # q
    channel_sets: int  # r
    filter_sets: int  # t


SMALLEST = Mapping(stored_filters=1, stored_images=1, columns=1, filters=1, channels=1, channel_sets=1, filter_sets=1)


class Constraint(NamedTuple):
    """What a mapping needs of something, and how much of it there is."""

    what: str
    needed: int
    available: int


class Traffic(Record, frozen=True, kw_only=True):
    """Words that pass one level, by what they are; ``sums`` are partial sums, or in DRAM the finished outputs."""

    weights: float
    inputs: float
    sums: float

    @property
    def total(self) -> float:
        """All words."""
        return self.weights + self.inputs + self.sums

    def energy(self, costs: Costs) -> float:
        """What moving all of them costs."""
        return costs.weights * self.weights + costs.inputs * self.inputs + costs.sums * self.sums


class Accesses(Record, frozen=True, kw_only=True):
    """Words moved at each level for all the rows of one batch."""

    dram: Traffic
    buffer: Traffic
    array: Traffic
    register: Traffic

    def energy(self, array: Array) -> float:
        """Energy of the movement in the unit of the costs; the multiply-accumulates are not included."""
        return (
            self.dram.energy(array.dram)
            + self.buffer.energy(array.buffer)
            + self.array.energy(array.array)
            + self.register.energy(array.register)
        )


def accesses(shape: Shape, rows: int, mapping: Mapping) -> Accesses:
    """Words that ``rows`` images of a layer move under a mapping (the four access formulas of ``rs_flow.m``).

    Partial sums are read and written, hence the 2. One weight and one input are read from registers for each
    multiply-accumulate: N E F reads of each weight; M R S E F / (H W) reads of each input.
    """
    weights, inputs, outputs = shape.weights, shape.inputs * rows, shape.outputs * rows
    wide, taps = shape.out_width / shape.width, shape.kernel_height * shape.kernel_width  # alpha_h, R S
    overlap = wide * shape.strip(mapping.columns) / mapping.columns  # alpha_h / beta_h
    batches = math.ceil(rows / mapping.stored_images)  # ceil(N / n)
    in_element = math.ceil(shape.channels / mapping.channels)  # ceil(C / q)
    in_array = math.ceil(shape.channels / (mapping.channels * mapping.channel_sets))  # ceil(C / (q r))
    filter_passes = math.ceil(shape.filters / (mapping.filters * mapping.filter_sets))  # ceil(M / (p t))
    return Accesses(
        dram=Traffic(
            weights=weights * batches * math.ceil(shape.out_width / mapping.columns),
            inputs=inputs * math.ceil(shape.filters / mapping.stored_filters) * overlap,
            sums=outputs,
        ),
        buffer=Traffic(weights=0.0, inputs=inputs * filter_passes * overlap, sums=2 * outputs * (in_array - 1)),
        array=Traffic(
            weights=weights * batches * shape.out_width,
            inputs=inputs * math.ceil(shape.filters / mapping.filters) * shape.kernel_width * wide,
            sums=2 * outputs * (in_element * shape.kernel_width - in_array),
        ),
        register=Traffic(
            weights=rows * shape.macs,
            inputs=rows * shape.macs,
            sums=2 * outputs * (shape.channels * taps - in_element * shape.kernel_width),
        ),
    )


@lru_cache(maxsize=4096)
def search(shape: Shape, rows: int, array: Array) -> Mapping:
    """Find the mapping of least energy among all integer mappings, for ``rows`` images in a batch.

    Energy never rises with m or t, so both are as large as the rest allows; n and r matter only through ceil(N / n)
    and ceil(C / (q r)), so only the smallest value for each quotient is tried. What is left (f, n outside; p, q, r
    inside) is tried completely, strips with the lowest bound first, until no bound is below the best mapping. That r
    and q never raise the energy rests on partial sums costing no less in the array than in registers, and no less in
    the buffer than in the array.

    Raises ``NoMapping``, which names the constraint, if nothing fits.
    """
    best, chosen = math.inf, None
    table = _inside(shape, array)
    for bound, columns, images in _outside(shape, rows, array):
        if bound >= best:
            break
        fitting = np.searchsorted(table[1], array.elements // (shape.kernel_width * columns), side="right")
        channels, sets, filters = table[:, :fitting]
        strip = images * shape.height * shape.strip(columns)
        stored = (array.buffer_words - strip * channels * sets) // (images * shape.out_height * columns)
        stored = np.minimum(stored, shape.filters)
        filter_sets = np.minimum(array.elements // (shape.kernel_width * columns * sets), stored // filters)
        keep = np.flatnonzero(filter_sets >= 1)
        if not keep.size:
            continue
        found = (stored[keep], filters[keep], channels[keep], sets[keep], filter_sets[keep])
        m, p, q, r, t = found
        energy = _variable_energy(shape, rows, array, f=columns, n=images, m=m, p=p, q=q, pt=p * t, qr=q * r)
        least = int(energy.argmin())
        if energy[least] < best:
            best, chosen = float(energy[least]), (images, columns, *(int(values[least]) for values in found))
    if chosen is None:
        raise NoMapping("; ".join(unmet(shape, array)))
    n, f, m, p, q, r, t = chosen
    return Mapping(stored_filters=m, stored_images=n, columns=f, filters=p, channels=q, channel_sets=r, filter_sets=t)


def _variable_energy(shape: Shape, rows: int, array: Array, **letters: Any) -> Any:
    """Energy without what no mapping changes: ``accesses`` and ``Accesses.energy`` in arrays, constants left out.

    ``letters`` are f, n, m, p, q and the products pt and qr, as ints or arrays that broadcast. The result never rises
    with any but f.
    """
    f, columns = letters["f"], shape.out_width
    dram, buffer, across = array.dram, array.buffer, array.array
    batches = -(-rows // letters["n"])
    read = rows * shape.inputs / shape.width  # padded inputs a column
    swept = read * columns * shape.strip(f) / f
    sums = 2.0 * rows * shape.outputs
    filters, channels = shape.filters, shape.channels
    return (
        shape.weights * batches * (dram.weights * -(-columns // f) + across.weights * columns)
        + swept * (dram.inputs * -(-filters // letters["m"]) + buffer.inputs * -(-filters // letters["pt"]))
        + read * columns * shape.kernel_width * across.inputs * -(-filters // letters["p"])
        + sums * (buffer.sums - across.sums) * -(-channels // letters["qr"])
        + sums * (across.sums - array.register.sums) * shape.kernel_width * -(-channels // letters["q"])
    )


def constraints(shape: Shape, array: Array, mapping: Mapping) -> tuple[Constraint, ...]:
    """The five constraints with what ``mapping`` needs of each."""
    m, n, f = mapping.stored_filters, mapping.stored_images, mapping.columns
    p, q, r, t = mapping.filters, mapping.channels, mapping.channel_sets, mapping.filter_sets
    strip = n * m * shape.out_height * f + n * q * r * shape.height * shape.strip(f)
    column = (p * q + q) * shape.kernel_height + p
    return (
        Constraint("words of buffer (n m E f + n q r H w)", strip, array.buffer_words),
        Constraint("elements (S f r t)", shape.kernel_width * f * r * t, array.elements),
        Constraint("words of registers in an element (p q R + q R + p)", column, array.register_words),
        Constraint("channels (q r)", q * r, shape.channels),
        Constraint("filters in the buffer (p t)", p * t, m),
    )


def unmet(shape: Shape, array: Array) -> list[str]:
    """What keeps the smallest mapping (all letters 1) of a layer off the hardware; empty if nothing does.

    Every other mapping needs at least as much of everything, so a layer has a mapping exactly if this one fits.

    >>> chip = Array(elements=168, buffer_words=55296, register_words=256, dram=Costs.same(200.0),
    ...              buffer=Costs.same(6.0), array=Costs.same(2.0), register=Costs.same(1.0))
    >>> unmet(Shape(channels=1, filters=1, height=400, width=400, kernel_height=150, kernel_width=3), chip)
    ['even the smallest mapping needs 301 words of registers in an element (p q R + q R + p) and there are 256']
    """
    return [
        f"even the smallest mapping needs {one.needed:,} {one.what} and there are {one.available:,}"
        for one in constraints(shape, array, SMALLEST)
        if one.needed > one.available
    ]


def _inside(shape: Shape, array: Array) -> NDArray[np.int64]:
    """All (q, r, p) that registers and array can hold for some strip, as an array (3, choices) sorted by r.

    Of the r with one ceil(C / (q r)) only the smallest is kept.
    """
    most_sets = array.elements // shape.kernel_width
    choices = [np.zeros((3, 0), np.int64)]
    for q in range(1, min(shape.channels, (array.register_words - 1) // (2 * shape.kernel_height)) + 1):
        taps = q * shape.kernel_height
        filters = np.arange(1, min(shape.filters, (array.register_words - taps) // (taps + 1)) + 1)
        sets = np.arange(1, min(shape.channels // q, most_sets) + 1)
        passes = -(-shape.channels // (q * sets))
        sets = sets[np.diff(passes, prepend=0) != 0]  # the first r of each number of passes
        r, p = np.meshgrid(sets, filters, indexing="ij")
        choices.append(np.stack([np.full(r.size, q), r.ravel(), p.ravel()]))
    table = np.concatenate(choices, axis=1)
    return table[:, np.argsort(table[1], kind="stable")]


def _outside(shape: Shape, rows: int, array: Array) -> list[tuple[float, int, int]]:
    """All (lower bound of the variable energy, f, n) that the buffer can hold, lowest bound first.

    The bound gives each letter the best value it could have alone.
    """
    widest = min(shape.out_width, array.elements // shape.kernel_width)
    most_channels = min(shape.channels, (array.register_words - 1) // (2 * shape.kernel_height))
    if widest < 1 or most_channels < 1:
        return []
    images = np.unique(-(-rows // np.arange(1, rows + 1)))  # the smallest n for each number of batches
    f, n = (grid.ravel() for grid in np.meshgrid(np.arange(1, widest + 1), images))
    stored = (array.buffer_words - n * shape.height * shape.strip(f)) // (n * shape.out_height * f)
    keep = stored >= 1
    f, n, stored = f[keep], n[keep], np.minimum(stored[keep], shape.filters)
    sets = array.elements // (shape.kernel_width * f)
    most_filters = (array.register_words - shape.kernel_height) // (shape.kernel_height + 1)
    p = np.minimum(stored, most_filters)
    together = {"pt": np.minimum(stored, p * sets), "qr": np.minimum(shape.channels, most_channels * sets)}
    bounds = _variable_energy(shape, rows, array, f=f, n=n, m=stored, p=p, q=most_channels, **together)
    order = np.argsort(bounds, kind="stable")
    return list(zip(bounds[order].tolist(), f[order].tolist(), n[order].tolist(), strict=True))
