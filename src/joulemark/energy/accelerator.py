"""Modelled joules on an Eyeriss-like accelerator (Yang, Chen, Sze: Energy-Aware Pruning, CVPR 2017).

A layer costs its multiply-accumulates plus the words it moves through DRAM, buffer, array and registers under the
mapping that costs least for its shape (:mod:`joulemark.energy.row_stationary`). Sparsity and bit width then scale what
is moved and computed; they do not change the mapping. Costs and sizes stand in ``eyeriss.toml`` with their sources.

With unit = joules of one 16-bit multiply-accumulate, b_w and b_a = bits over 16 (at most 1) and d_w, d_a, d_j = density
of weights, inputs and pairs, a layer costs, for the words n of each kind that pass each level:

    DRAM      200 unit (n_weights s_w + n_inputs s_a + n_outputs b_a)
    buffer      6 unit (n_weights s_w + n_inputs s_a + n_sums)
    array       2 unit (n_weights b_w d_w + n_inputs b_a d_a + n_sums)
    register    1 unit (n_weights b_w d_w + n_inputs b_a d_a + n_sums d_j)
    MAC         1 unit n_macs b_w b_a d_j

s is the stored size of an element in 16-bit words, compressed where that is smaller (:func:`stored_words`).
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from math import prod
from typing import Annotated

import msgspec

from joulemark.energy.row_stationary import Array, Count, NoMapping, Shape, accesses, search
from joulemark.record import EnergyReport, Kind, LayerEnergy, Operation, Quantity, Record, Workload

Cost = Annotated[float, msgspec.Meta(gt=0)]

ASSUMPTIONS = (
    "multiply-accumulates are spread over all processing elements that a mapping fills; no clock, control or leakage",
    "pooling, activations, normalisation and biases cost nothing, as in the paper",
    "the mapping is the best for the dense layer at 16 bits; sparsity and bit width scale its traffic afterwards",
    "zero weights and inputs are skipped: their array and register traffic scales with the density of each, the"
    " multiply-accumulates and the partial sums in registers with that of the pairs",
    "DRAM and buffer hold zeros run-length coded where that is smaller; outputs go to DRAM uncompressed, at the bits of"
    " the layer's inputs",
    "data energy is linear in bits, that of a multiply-accumulate in the product of the bits; partial sums stay at the"
    " native width",
)


class Description(Record, frozen=True, kw_only=True):
    """An accelerator: sizes in words, costs per word in units of one MAC, joules of that unit; see ``eyeriss.toml``."""

    name: str
    title: str
    rows: Count
    columns: Count
    buffer_words: Count
    register_words: Count
    word_bits: Count
    mac: Cost
    register: Cost
    array: Cost
    buffer: Cost
    dram: Cost
    run_bits: Count
    mac_joules: Cost
    sources: tuple[str, ...]

    @classmethod
    def read(cls, text: str) -> Description:
        """Read a description from TOML; ``msgspec.ValidationError`` if anything is missing, unknown or out of range."""
        return msgspec.convert(tomllib.loads(text), cls)

    @classmethod
    def eyeriss(cls) -> Description:
        """Read the one that comes with Joulemark.

        >>> chip = Description.eyeriss()
        >>> chip.rows * chip.columns, chip.buffer_words * chip.word_bits // 8 // 1024  # elements, KB
        (168, 108)
        """
        return cls.read((files("joulemark.energy") / "eyeriss.toml").read_text(encoding="utf-8"))


class Accelerator:
    """Energy model of one accelerator with the row-stationary dataflow.

    >>> from joulemark.record import Operation, Workload
    >>> layer = Operation(layer="fc", operator="linear", input_shape=(1000,), output_shape=(10,),
    ...                   weight_shape=(10, 1000), rows=1, calls=1, macs=10_000)
    >>> report = Accelerator().estimate(Workload(inputs=1, batch_size=1, operations=(layer,)))
    >>> f"{report.joules.value:.3g} J, of which DRAM {report.layers[0].joules['DRAM']:.3g} J"
    '1.94e-06 J, of which DRAM 1.87e-06 J'
    """

    def __init__(self, description: Description | None = None) -> None:
        """Take a description; without one, ``Description.eyeriss()``."""
        self.description = description or Description.eyeriss()
        self._array = Array(
            elements=self.description.rows * self.description.columns,
            buffer_words=self.description.buffer_words,
            register_words=self.description.register_words,
            dram=self.description.dram,
            buffer=self.description.buffer,
            array=self.description.array,
            register=self.description.register,
        )

    @property
    def name(self) -> str:
        """Name of the model, "row-stationary" unless the description says otherwise."""
        return self.description.name

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources of method and constants."""
        return self.description.sources

    def estimate(self, workload: Workload) -> EnergyReport:
        """Joules per input of convolutions and linear layers; other operators that multiply lower the coverage.

        At batch N (``workload.batch_size``) a layer that a share p = rows / inputs of the inputs reaches costs
        E(layer, N p) / N per input. N p need not be whole: with k = max(1, round(N p)) this is E(layer, k) / k * p.

        Raises ``ValueError`` for a workload without inputs and for a layer whose shapes contradict each other.
        """
        if workload.inputs < 1 or workload.batch_size < 1:
            raise ValueError(f"need inputs and a batch size of at least 1: {workload.inputs}, {workload.batch_size}")
        layers, notes, covered = [], [], 0
        for operation in workload.operations:
            shape = layer_shape(operation)
            if shape is None:
                if operation.macs:
                    notes.append(f"not described: {operation.operator} of {operation.layer!r}, {operation.macs} MACs")
                continue
            try:
                layer, note = self._layer(operation, shape, workload)
            except NoMapping:
                notes.append(f"does not fit the accelerator in any mapping: {operation.layer!r}, {operation.macs} MACs")
                continue
            layers.append(layer)
            notes += note
            covered += operation.macs
        return self._report(workload, tuple(layers), covered, notes)

    def _layer(self, operation: Operation, shape: Shape, workload: Workload) -> tuple[LayerEnergy, list[str]]:
        """One layer's joules per input by component, and what had to be assumed for it."""
        chip, share, notes = self.description, operation.rows / workload.inputs, []
        rows = max(1, round(workload.batch_size * share))
        # A layer whose width changes from call to call is recorded with the shape of its first call, but with all MACs.
        scale = operation.macs / (shape.macs * operation.rows) if operation.rows else 0.0
        if operation.rows and operation.macs != shape.macs * operation.rows:
            notes.append(f"{operation.layer!r} ran {scale:.3g} times the MACs of its shape: all its traffic scaled so")
        bits_w, bits_a = (min(bits, chip.word_bits) for bits in (operation.weight_bits, operation.activation_bits))
        b_w, b_a = bits_w / chip.word_bits, bits_a / chip.word_bits
        d_w, d_a, d_j = operation.weight_density, operation.activation_density, operation.joint_density
        s_w, s_a = (stored_words(bits, density, chip) for bits, density in ((bits_w, d_w), (bits_a, d_a)))
        words = accesses(shape, rows, search(shape, rows, self._array))
        dram, buffer, array, register = words.dram, words.buffer, words.array, words.register
        units = {
            "DRAM": chip.dram * (dram.weights * s_w + dram.inputs * s_a + dram.sums * b_a),
            "buffer": chip.buffer * (buffer.weights * s_w + buffer.inputs * s_a + buffer.sums),
            "array": chip.array * (array.weights * b_w * d_w + array.inputs * b_a * d_a + array.sums),
            "register file": chip.register
            * (register.weights * b_w * d_w + register.inputs * b_a * d_a + register.sums * d_j),
            "MAC": chip.mac * rows * shape.macs * b_w * b_a * d_j,
        }
        joules = {part: chip.mac_joules * units[part] * scale * share / rows for part in units}
        macs = operation.macs / workload.inputs
        return LayerEnergy(layer=operation.layer, operator=operation.operator, joules=joules, macs=macs), notes

    def _report(
        self, workload: Workload, layers: tuple[LayerEnergy, ...], covered: int, notes: list[str]
    ) -> EnergyReport:
        """Sum the layers and say what the sum covers."""
        macs = sum(operation.macs for operation in workload.operations)
        coverage = covered / macs if macs else 0.0
        widest = max((max(o.weight_bits, o.activation_bits) for o in workload.operations), default=0)
        if widest > self.description.word_bits:
            notes = [
                f"wider data is run as the accelerator's native {self.description.word_bits}-bit fixed point",
                *notes,
            ]
        notes += [f"unknown operator: {name}, {share:.2%} of outputs" for name, share in workload.unknown.items()]
        joules = Quantity(
            value=sum(sum(layer.joules.values()) for layer in layers) if layers else None,
            unit="J/input",
            kind=Kind.MODELLED,
            method=f"{self.name} model, batch {workload.batch_size}",
            scope=f"{self.description.title}: MACs and data of convolutions and linear layers",
            source="; ".join(self.sources),
            flags=("incomplete coverage",) if layers and coverage < 1 else (),
            reason=None if layers else "the workload has no layer that the model describes",
        )
        return EnergyReport(
            model=self.name,
            joules=joules,
            layers=layers,
            coverage=coverage,
            assumptions=(*ASSUMPTIONS, *notes),
            sources=self.sources,
        )


def layer_shape(operation: Operation) -> Shape | None:
    """Return the convolution that an operation is, or ``None`` if it is none that the model describes.

    A linear layer is a convolution of its whole input (E = F = 1, one input a channel); applied along an axis it is a
    1 x 1 convolution of as many columns. A 1-D convolution (C, W) has height 1.

    Raises ``ValueError`` if the output shape is not the one that input, taps, stride and padding give.
    """
    weight = operation.weight_shape
    if weight is None or operation.operator not in ("conv", "linear"):
        return None
    if operation.operator == "linear":
        return Shape(channels=weight[1], filters=weight[0], height=1, width=prod(operation.input_shape) // weight[1])
    dimensions = len(weight) - 2
    if dimensions not in (1, 2):
        return None
    flat = (1,) * (2 - dimensions)
    stride = (*flat, *(operation.stride or (1,) * dimensions))
    dilation = (*flat, *(operation.dilation or (1,) * dimensions))
    padding = operation.padding or (0,) * dimensions
    padded = (*flat, *(size + 2 * pad for size, pad in zip(operation.input_shape[1:], padding, strict=True)))
    taps = (*flat, *weight[2:])
    shape = Shape(
        groups=operation.groups,
        channels=weight[1],
        filters=weight[0] // operation.groups,
        height=padded[0],
        width=padded[1],
        kernel_height=taps[0],
        kernel_width=taps[1],
        stride_height=stride[0],
        stride_width=stride[1],
        dilation_height=dilation[0],
        dilation_width=dilation[1],
    )
    expected = (weight[0], *(shape.out_height, shape.out_width)[2 - dimensions :])
    if operation.output_shape != expected:
        raise ValueError(f"{operation.layer!r}: shapes give an output of {expected}, recorded {operation.output_shape}")
    return shape


def stored_words(bits: int, density: float, chip: Description) -> float:
    """Words that one element takes in DRAM and buffer, dense or run-length coded, whichever is smaller.

    An entry is a count of zeros (5 bits: 0 to 31) and a value, so it stands for at most 32 elements. With zeros at
    random an entry stands for (1 - z^32) / (1 - z) elements on average, z = 1 - density (derived: the mean of a
    geometric length cut at 32).

    >>> chip = Description.eyeriss()
    >>> stored_words(16, 1.0, chip), round(stored_words(16, 0.25, chip), 4), stored_words(16, 0.0, chip)
    (1.0, 0.3282, 0.041015625)
    """
    longest = 2**chip.run_bits
    entries: float = density / (1 - (1 - density) ** longest) if density > 0 else 1 / longest
    return min(float(bits), entries * (bits + chip.run_bits)) / chip.word_bits
