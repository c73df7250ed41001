"""One report from the layers of a model of an accelerator: the sum, and what it covers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from joulemark.energy.row_stationary import NoMapping
from joulemark.energy.shapes import Shape, layer_shape
from joulemark.record import EnergyReport, Kind, LayerEnergy, Quantity
from joulemark.workloads.workload import Operation, Workload


class Described(NamedTuple):
    """The layers that a model describes, their MACs over all inputs, and what is to be said of the others."""

    layers: list[LayerEnergy]
    covered: int
    notes: list[str]


def described(
    workload: Workload, layer: Callable[[Operation, Shape], tuple[LayerEnergy, Sequence[str]]], *, where: str
) -> Described:
    """Ask ``layer`` for every convolution and linear layer; one that raises ``NoMapping`` does not fit ``where``.

    Raises ``ValueError`` for a workload without inputs and for a layer whose shapes contradict each other.
    """
    check_inputs(workload)
    found = Described([], 0, [])
    covered = 0
    for operation in workload.operations:
        shape = layer_shape(operation)
        if shape is None:
            if operation.macs:
                found.notes.append(f"not described: {operation.operator} of {operation.layer!r}, {operation.macs} MACs")
            continue
        try:
            energy, notes = layer(operation, shape)
        except NoMapping as reason:
            found.notes.append(f"does not fit {where}: {operation.layer!r}, {operation.macs} MACs: {reason}")
            continue
        found.layers.append(energy)
        found.notes.extend(notes)
        covered += operation.macs
    return found._replace(covered=covered)


def check_inputs(workload: Workload) -> None:
    """Raise ``ValueError`` for a workload that no joules per input can be given for."""
    if workload.inputs < 1 or workload.batch_size < 1:
        raise ValueError(f"need inputs and a batch size of at least 1: {workload.inputs}, {workload.batch_size}")


def unknown_flags(workload: Workload) -> tuple[str, ...]:
    """The flag of joules that lack those of operators without a rule."""
    return ("unknown operators",) if workload.unknown else ()


def unknown_notes(workload: Workload) -> list[str]:
    """One sentence for each operator without a rule."""
    return [f"unknown operator: {name}, {share:.2%} of outputs" for name, share in workload.unknown.items()]


def summed(
    workload: Workload,
    found: Described,
    *,
    model: str,
    title: str,
    word_bits: int,
    assumptions: Sequence[str],
    sources: Sequence[str],
) -> EnergyReport:
    """Sum the layers that a model describes; the MACs of the others lower the coverage.

    Its notes say what had to be assumed for this very workload; they stand behind the model's own ``assumptions``.
    """
    layers, covered, notes = found
    macs = sum(operation.macs for operation in workload.operations)
    coverage = covered / macs if macs else 0.0
    told = {(layer.layer, layer.operator) for layer in layers}
    costed = [one for one in workload.operations if (one.layer, one.operator) in told]
    widest = max((max(one.weight_bits, one.activation_bits) for one in costed), default=0)
    wide = (f"wider data is run as the accelerator's native {word_bits}-bit fixed point",) if widest > word_bits else ()
    joules = Quantity(
        value=sum(sum(layer.joules.values()) for layer in layers) if layers else None,
        unit="J/input",
        kind=Kind.MODELLED,
        method=f"{model} model, batch {workload.batch_size}",
        scope=f"{title}: MACs and data of convolutions and linear layers",
        source="; ".join(sources),
        flags=(*(("incomplete coverage",) if layers and coverage < 1 else ()), *unknown_flags(workload)),
        reason=None if layers else "the workload has no layer that the model describes",
    )
    return EnergyReport(
        model=model,
        joules=joules,
        layers=tuple(layers),
        coverage=coverage,
        assumptions=(*assumptions, *wide, *notes, *unknown_notes(workload)),
        sources=tuple(sources),
    )
