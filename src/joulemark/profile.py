"""A net layer by layer: shapes, MACs, bytes and modelled joules."""

from __future__ import annotations

from pathlib import Path

import torch

from joulemark.energy.model import EnergyModel
from joulemark.energy.proxies import moved_bytes, proxies
from joulemark.nets.net import Net, usual_input_shape
from joulemark.record import Record
from joulemark.workload import record

BAR = 16


class Layer(Record, frozen=True, kw_only=True):
    """One row of a profile; per input, except for the shapes."""

    layer: str
    operator: str
    input: str
    output: str
    weights: str | None
    macs: float
    bytes: float  # input, output and weights once a call, at their bits
    joules: float | None  # None: the model does not describe this operator
    components: dict[str, float]
    bar: str


class Profile(Record, frozen=True, kw_only=True):
    """A profile: layers, proxies and what the model rests on."""

    layers: tuple[Layer, ...]
    proxies: dict[str, float]
    model: str
    joules: float | None
    coverage: float
    assumptions: tuple[str, ...]
    summary: list[str]


def open_net(name: str) -> Net:
    """A saved net by its path, or a freshly initialised one by its name. ``ValueError`` says what is wrong."""
    if name.endswith(".safetensors"):
        path = Path(name)
        if not path.is_file():
            raise ValueError(f"there is no file {name}")
        return Net.from_bytes(path.read_bytes())
    shape = usual_input_shape(name)
    if shape is None:
        raise ValueError(f"builder {name!r} does not state its INPUT_SHAPE, so it cannot be profiled by name")
    return Net.new(name, shape, seed=0)


def profile_net(net: Net, model: EnergyModel, *, batch_size: int, inputs: int) -> Profile:
    """Run random inputs (seeded, normal) through ``net`` and describe what was executed."""
    images = torch.randn(inputs, *net.input_shape, generator=torch.Generator().manual_seed(0))
    workload = record(net.module(), images, batch_size=batch_size, formats=net.formats)
    report = model.estimate(workload)
    joules: dict[tuple[str, str], list[dict[str, float]]] = {}
    for one in report.layers:  # one layer may run an operator in several shapes, in the order of the workload
        joules.setdefault((one.layer, one.operator), []).append(one.joules)
    largest = max((sum(one.joules.values()) for one in report.layers), default=0.0)
    layers = []
    for operation in workload.operations:
        found = joules.get((operation.layer, operation.operator))
        parts = found.pop(0) if found else {}
        total = sum(parts.values()) if parts else None
        layers.append(
            Layer(
                layer=operation.layer,
                operator=operation.operator,
                input=_shape(operation.input_shape),
                output=_shape(operation.output_shape),
                weights=_shape(operation.weight_shape) if operation.weight_shape else None,
                macs=operation.macs / inputs,
                bytes=moved_bytes(operation) / inputs,
                joules=total,
                components=parts,
                bar="█" * round(BAR * total / largest) if total and largest else "",
            )
        )
    known = proxies(workload, parameters=net.parameters(), nonzeros=net.nonzeros())
    total = report.joules.value
    summary = [
        f"{net.builder}: {known['parameters']:,.0f} parameters, {known['macs_per_input']:,.0f} MACs per input, "
        f"batch {batch_size}, {inputs} random inputs (activation zeros depend on the inputs).",
        f"{report.model}: {'unknown' if total is None else f'{total:.3g} J per input'}, modelled, not measured; "
        f"covers {report.coverage:.0%} of the MACs.",
        *(f"No rule for {name}: {share:.1%} of all output elements." for name, share in workload.unknown.items()),
    ]
    return Profile(
        layers=tuple(layers), proxies=known, model=report.model, joules=total, coverage=report.coverage,
        assumptions=report.assumptions, summary=summary,
    )  # fmt: skip


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "1"


def short(value: float) -> str:
    """A count in a few characters.

    >>> short(1_600_000), short(950), short(0)
    ('1.6 M', '950', '')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.0f}" if value else ""
