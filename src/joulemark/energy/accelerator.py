"""Modelled joules on an Eyeriss-like accelerator (Yang, Chen, Sze: Energy-Aware Pruning, CVPR 2017).

A layer costs its multiply-accumulates plus the words it moves through DRAM, buffer, array and registers under the
mapping that costs least for its shape (:mod:`joulemark.energy.row_stationary`). Sparsity and bit width then scale what
is moved and computed; they do not change the mapping. Costs and sizes stand in a TOML file with their sources
(:mod:`joulemark.energy.hardware`).

With b_w and b_a = bits over 16 (at most 1) and d_w, d_a, d_j = density of weights, inputs and pairs, a layer costs, for
the words n of each kind that pass each level, and in units of one 16-bit multiply-accumulate at the costs of the
Eyeriss paper:

    DRAM      200 (n_weights s_w + n_inputs s_a + n_outputs b_a)
    buffer      6 (n_weights s_w + n_inputs s_a + n_sums)
    array       2 (n_weights b_w d_w + n_inputs b_a d_a + n_sums)
    register    1 (n_weights b_w d_w + n_inputs b_a d_a + n_sums d_j)
    MAC         1 n_macs b_w b_a d_j

s is the stored size of an element in 16-bit words, compressed where that is smaller
(:func:`joulemark.energy.hardware.stored_words`).
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from joulemark.energy.hardware import Description, stored_words
from joulemark.energy.row_stationary import Costs, Mapping, accesses, search
from joulemark.energy.shapes import Shape, layer_shape
from joulemark.energy.summing import described, summed
from joulemark.record import EnergyReport, LayerEnergy, content_key
from joulemark.workloads.workload import Operation, Workload

OPERANDS = {"weights": "weights", "inputs": "inputs", "outputs": "sums"}
"""What is moved, as reports call it -> as traffic and costs call it."""

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


class Accelerator:
    """Energy model of one accelerator with the row-stationary dataflow.

    >>> from joulemark.workloads.workload import Operation, Workload
    >>> layer = Operation(layer="fc", operator="linear", input_shape=(1000,), output_shape=(10,),
    ...                   weight_shape=(10, 1000), rows=1, calls=1, macs=10_000)
    >>> report = Accelerator().estimate(Workload(inputs=1, batch_size=1, operations=(layer,)))
    >>> f"{report.joules.value:.3g} J, of which DRAM {report.layers[0].joules['DRAM']:.3g} J"
    '1.94e-06 J, of which DRAM 1.87e-06 J'
    >>> {name: f"{parts['DRAM']:.3g}" for name, parts in report.layers[0].operands.items()}
    {'weights': '1.7e-06', 'inputs': '1.7e-07', 'outputs': '1.7e-09'}
    """

    def __init__(self, description: Description | None = None) -> None:
        """Take a description; without one, ``Description.shipped("eyeriss")``. ``ValueError`` for impossible costs."""
        self.description = description or Description.shipped("eyeriss")
        self._hardware = self.description.hardware()

    @property
    def name(self) -> str:
        """Name of the model, "row-stationary" unless the description says otherwise."""
        return self.description.name

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources of method and constants."""
        return self.description.sources

    @property
    def content(self) -> str:
        """Content key of the description, which may be a file of the user's."""
        return content_key("accelerator", msgspec.to_builtins(self.description))

    def mapping(self, operation: Operation, rows: int) -> Mapping | None:
        """The mapping chosen for ``rows`` images of a layer; ``None`` for an operator that the model does not describe.

        Raises ``NoMapping``, which names the constraint, for a layer that fits in no way.
        """
        shape = layer_shape(operation)
        return None if shape is None else search(shape, rows, self._hardware)

    def estimate(self, workload: Workload) -> EnergyReport:
        """Joules per input of convolutions and linear layers; other operators that multiply lower the coverage.

        At batch N (``workload.batch_size``) a layer that a share p = rows / inputs of the inputs reaches costs
        E(layer, N p) / N per input. N p need not be whole: with k = max(1, round(N p)) this is E(layer, k) / k * p.

        Raises ``ValueError`` for a workload without inputs and for a layer whose shapes contradict each other.
        """
        found = described(
            workload,
            lambda operation, shape: self._layer(operation, shape, workload),
            where="the accelerator in any mapping",
        )
        return summed(
            workload,
            found,
            model=self.name,
            title=self.description.title,
            word_bits=self.description.word_bits,
            assumptions=(*ASSUMPTIONS, *self.description.assumptions),
            sources=self.sources,
        )

    def _layer(self, operation: Operation, shape: Shape, workload: Workload) -> tuple[LayerEnergy, list[str]]:
        """One layer's joules per input by component and operand, and what had to be assumed for it."""
        chip, share, notes = self.description, operation.rows / workload.inputs, []
        rows = max(1, round(workload.batch_size * share))
        # A layer whose width changes from call to call is recorded with the shape of its first call, but with all MACs.
        scale = operation.macs / (shape.macs * operation.rows) if operation.rows else 0.0
        if operation.rows and operation.macs != shape.macs * operation.rows:
            notes.append(f"{operation.layer!r} ran {scale:.3g} times the MACs of its shape: all its traffic scaled so")
        joules_of_unit = chip.unit_joules * scale * share / rows
        words = accesses(shape, rows, search(shape, rows, self._hardware))
        sizes = _sizes(operation, chip)
        parts = {
            component: {
                operand: joules_of_unit * getattr(costs, kind) * getattr(getattr(words, level), kind) * size
                for (operand, kind), size in zip(OPERANDS.items(), sizes[level], strict=True)
            }
            for component, level, costs in self._levels()
        }
        joules = {component: sum(split.values()) for component, split in parts.items()}
        bits_w, bits_a = (min(bits, chip.word_bits) for bits in (operation.weight_bits, operation.activation_bits))
        bilinear = bits_w * bits_a / chip.word_bits**2
        joules["MAC"] = joules_of_unit * chip.mac * rows * shape.macs * bilinear * operation.joint_density
        operands = {operand: {component: parts[component][operand] for component in parts} for operand in OPERANDS}
        macs = operation.macs / workload.inputs
        layer = LayerEnergy(
            layer=operation.layer, operator=operation.operator, joules=joules, macs=macs, operands=operands
        )
        return layer, notes

    def _levels(self) -> tuple[tuple[str, str, Costs], ...]:
        """Component as reports call it, level as ``Accesses`` calls it, and its costs."""
        hardware = self._hardware
        return (
            ("DRAM", "dram", hardware.dram),
            ("buffer", "buffer", hardware.buffer),
            ("array", "array", hardware.array),
            ("register file", "register", hardware.register),
        )


def from_file(path: Path) -> Accelerator:
    """An accelerator of one's own, described as in ``eyeriss.toml``.

    Raises ``ValueError`` in one sentence for a file that is not there or that describes no accelerator.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        return Accelerator(Description.read(path.read_text(encoding="utf-8")))
    except (ValueError, OSError, msgspec.ValidationError) as error:
        raise ValueError(f"{path} does not describe an accelerator: {error}") from error


def horowitz() -> Accelerator:
    """The same accelerator at Horowitz's picojoules."""
    return Accelerator(Description.shipped("horowitz"))


def accelergy() -> Accelerator:
    """The same accelerator at the picojoules of Accelergy's example."""
    return Accelerator(Description.shipped("accelergy"))


def _sizes(operation: Operation, chip: Description) -> dict[str, tuple[float, float, float]]:
    """Words that a dense word of weights, inputs and sums shrinks to at each level."""
    bits_w, bits_a = (min(bits, chip.word_bits) for bits in (operation.weight_bits, operation.activation_bits))
    b_w, b_a = bits_w / chip.word_bits, bits_a / chip.word_bits
    d_w, d_a, d_j = operation.weight_density, operation.activation_density, operation.joint_density
    s_w, s_a = stored_words(bits_w, d_w, chip), stored_words(bits_a, d_a, chip)
    return {
        "dram": (s_w, s_a, b_a),
        "buffer": (s_w, s_a, 1.0),
        "array": (b_w * d_w, b_a * d_a, 1.0),
        "register": (b_w * d_w, b_a * d_a, d_j),
    }
