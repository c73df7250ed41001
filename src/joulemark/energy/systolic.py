"""A second opinion: the closed form of a systolic array, without any search (Yang, Zhu, Liu, ICLR 2019).

A layer is the product of a matrix of weights (d filters a group of d / g) and one of unfolded inputs (h' w' places of
the output). An array of A x B units takes A places and B filters at a time; weights wait in one cache, inputs in
another. With nnz(W) and nnz(X) non-zero weights and inputs, nnz(U) non-zero entries of the unfolded inputs, k words of
one row of inputs over all channels, r taps high and stride s:

    weights   register    h' w' nnz(W)
              buffer      ceil(h' w' / A) nnz(W)
              DRAM        min(nnz(W), S_W) + ceil(h' w' / A) max(0, nnz(W) - S_W)
    inputs    register    d / g nnz(U)
              buffer      ceil(d / g / B) nnz(U)
              DRAM        nnz(X) + k (r - s) (ceil(h / (S_X // k - r + s)) - 1)     rows that two loads share, twice
    outputs   DRAM        h' w' d
              register    two (read and write of the sum) for each multiply-accumulate that is not skipped

S_W and S_X are the words of the caches. A linear layer reads its weights once, and its inputs from DRAM
min(nnz(X), S_X) + ceil(d / B) max(0, nnz(X) - S_X) times. Each image is computed alone, so the batch changes nothing.
"""

from __future__ import annotations

import math
import tomllib
from importlib.resources import files
from typing import NamedTuple

import msgspec
import numpy as np

from joulemark.energy.hardware import Cost
from joulemark.energy.row_stationary import NoMapping
from joulemark.energy.shapes import Count, Shape
from joulemark.energy.summing import described, summed
from joulemark.record import EnergyReport, LayerEnergy, Record
from joulemark.workloads.workload import Operation, Workload

ASSUMPTIONS = (
    "every image is computed alone: the weights are read from DRAM again for each, whatever the batch",
    "zero weights and inputs are neither stored, moved nor multiplied, and cost no index",
    "pooling, activations, normalisation and biases cost nothing; no clock, control or leakage",
    "zeros of the inputs are spread evenly, so that the unfolded inputs have the density of the inputs",
    "data energy is linear in bits, that of a multiply-accumulate in the product of the bits; partial sums stay at the"
    " native width (ours: the paper has 16 bits only)",
)


class Hardware(Record, frozen=True, kw_only=True):
    """The array, its caches in words and its costs in units of ``unit_joules``; see ``systolic.toml``."""

    name: str
    title: str
    rows: Count
    columns: Count
    input_words: Count
    weight_words: Count
    word_bits: Count
    mac: Cost
    register: Cost
    buffer: Cost
    dram: Cost
    unit_joules: Cost
    sources: tuple[str, ...]

    @classmethod
    def shipped(cls) -> Hardware:
        """Read the one that comes with Joulemark."""
        text = (files("joulemark.energy") / "systolic.toml").read_text(encoding="utf-8")
        return msgspec.convert(tomllib.loads(text), cls)


class Zeros(NamedTuple):
    """Non-zero share of weights, of inputs, and of pairs of them that meet inside the image."""

    weights: float = 1.0
    inputs: float = 1.0
    pairs: float = 1.0


Words = dict[str, dict[str, float]]
"""Operand -> component -> words."""


def convolution(shape: Shape, padding: tuple[int, int], zeros: Zeros, array: Hardware) -> Words:
    """Words that one image of a convolution moves; ``NoMapping`` if the input cache does not hold a kernel's rows."""
    places, filters = shape.out_height * shape.out_width, shape.filters
    weights, unfolded = shape.weights * zeros.weights, unfolded_inputs(shape, padding) * zeros.inputs
    height, width = shape.height - 2 * padding[0], shape.width - 2 * padding[1]
    inputs = shape.groups * shape.channels * height * width * zeros.inputs
    passes = math.ceil(places / array.rows)
    return {
        "weights": {
            "DRAM": min(weights, array.weight_words) + passes * max(0.0, weights - array.weight_words),
            "buffer": passes * weights,
            "register file": places * weights,
        },
        "inputs": {
            "DRAM": inputs + _read_twice(shape, height, inputs / height, array),
            "buffer": math.ceil(filters / array.columns) * unfolded,
            "register file": filters * unfolded,
        },
        "outputs": {"DRAM": shape.outputs, "register file": 2 * multiplied(shape, padding) * zeros.pairs},
    }


def linear(shape: Shape, zeros: Zeros, array: Hardware) -> Words:
    """Words that one row of a linear layer moves."""
    weights, inputs = shape.weights * zeros.weights, shape.channels * zeros.inputs
    passes = math.ceil(shape.filters / array.columns)
    return {
        "weights": {"DRAM": weights, "buffer": weights, "register file": weights},
        "inputs": {
            "DRAM": min(inputs, array.input_words) + passes * max(0.0, inputs - array.input_words),
            "buffer": passes * inputs,
            "register file": shape.filters * inputs,
        },
        "outputs": {"DRAM": shape.filters, "register file": 2 * shape.weights * zeros.pairs},
    }


def unfolded_inputs(shape: Shape, padding: tuple[int, int]) -> int:
    """Entries of the unfolded inputs that are not padding: those of one column, times those of one row, per channel.

    >>> unfolded_inputs(Shape(channels=1, filters=1, height=4, width=4, kernel_height=3, kernel_width=3), (1, 1))
    16
    """
    rows = _inside(shape.out_height, shape.kernel_height, shape.stride_height, shape.dilation_height, shape.height,
                   padding[0])  # fmt: skip
    columns = _inside(shape.out_width, shape.kernel_width, shape.stride_width, shape.dilation_width, shape.width,
                      padding[1])  # fmt: skip
    return shape.groups * shape.channels * rows * columns


def multiplied(shape: Shape, padding: tuple[int, int]) -> int:
    """Multiply-accumulates of one image that do not read padding."""
    return unfolded_inputs(shape, padding) * shape.filters


def _inside(outputs: int, taps: int, stride: int, dilation: int, size: int, padding: int) -> int:
    """Pairs of an output place and a tap, along one axis of ``size`` padded inputs, that read no padding."""
    read = stride * np.arange(outputs)[:, None] + dilation * np.arange(taps)
    return int(((read >= padding) & (read < size - padding)).sum())


def _read_twice(shape: Shape, height: int, row_words: float, array: Hardware) -> float:
    """Words of the rows that two loads of the input cache share."""
    tall = shape.dilation_height * (shape.kernel_height - 1) + 1
    rows = array.input_words // row_words if row_words else math.inf
    if rows < tall:
        raise NoMapping(
            f"{tall} rows of inputs for one row of outputs are {math.ceil(tall * row_words):,} words and the input "
            f"cache holds {array.input_words:,}"
        )
    step = rows - tall + shape.stride_height
    loads = math.ceil(height / step) if math.isfinite(step) else 1
    return row_words * max(0, tall - shape.stride_height) * max(0, loads - 1)


class Systolic:
    """Energy model of a systolic array in closed form.

    >>> from joulemark.workloads.workload import Operation, Workload
    >>> layer = Operation(layer="fc", operator="linear", input_shape=(1000,), output_shape=(10,),
    ...                   weight_shape=(10, 1000), rows=1, calls=1, macs=10_000)
    >>> report = Systolic().estimate(Workload(inputs=1, batch_size=1, operations=(layer,)))
    >>> round(report.joules.value / 0.85e-12)  # 207 + 3 for each weight, 200 + 6 + 10 for each input, 200 an output
    2318000
    """

    def __init__(self, hardware: Hardware | None = None) -> None:
        """Take the hardware; without it, ``Hardware.shipped()``."""
        self.hardware = hardware or Hardware.shipped()

    @property
    def name(self) -> str:
        """Name of the model, "systolic" unless the hardware says otherwise."""
        return self.hardware.name

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources of method and constants."""
        return self.hardware.sources

    def estimate(self, workload: Workload) -> EnergyReport:
        """Joules per input of convolutions and linear layers; other operators that multiply lower the coverage.

        Raises ``ValueError`` for a workload without inputs and for a layer whose shapes contradict each other.
        """
        found = described(
            workload,
            lambda operation, shape: (self._layer(operation, shape, workload.inputs), ()),
            where="the array",
        )
        return summed(
            workload,
            found,
            model=self.name,
            title=self.hardware.title,
            word_bits=self.hardware.word_bits,
            assumptions=ASSUMPTIONS,
            sources=self.sources,
        )

    def _layer(self, operation: Operation, shape: Shape, inputs: int) -> LayerEnergy:
        """One layer's joules per input by component and operand."""
        chip = self.hardware
        zeros = Zeros(operation.weight_density, operation.activation_density, operation.joint_density)
        vertical, horizontal = (0, 0, *operation.padding)[-2:]
        padding = (vertical, horizontal)
        if operation.operator == "linear":
            words, images, macs = linear(shape, zeros, chip), shape.width, shape.weights
        else:
            words, images, macs = convolution(shape, padding, zeros, chip), 1, multiplied(shape, padding)
        scale = operation.macs / shape.macs / inputs * images * chip.unit_joules
        b_w, b_a = (min(b, chip.word_bits) / chip.word_bits for b in (operation.weight_bits, operation.activation_bits))
        bits = {"weights": b_w, "inputs": b_a, "outputs": b_a}
        costs = {"DRAM": chip.dram, "buffer": chip.buffer, "register file": chip.register}
        operands = {
            operand: {
                component: scale
                * costs[component]
                * moved
                * (1.0 if (operand, component) == ("outputs", "register file") else bits[operand])
                for component, moved in split.items()
            }
            for operand, split in words.items()
        }
        joules = {component: sum(split.get(component, 0.0) for split in operands.values()) for component in costs}
        joules["MAC"] = scale * chip.mac * macs * zeros.pairs * b_w * b_a
        return LayerEnergy(
            layer=operation.layer,
            operator=operation.operator,
            joules=joules,
            macs=operation.macs / inputs,
            operands=operands,
        )
