"""A net layer by layer: shapes, MACs, bytes and the joules that several models give it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import torch
from torch import Tensor

from joulemark.energy.model import Compared, EnergyModel
from joulemark.energy.proxies import moved_bytes, proxies
from joulemark.profiling.opening import Opened
from joulemark.record import EnergyReport, LayerEnergy, Quantity, Record
from joulemark.workloads.workload import Operation, Workload

INPUTS = 1
"""Random inputs of a net whose rows all take one way: nothing but the share of zeros differs between them."""
DYNAMIC_INPUTS = 64
"""Random inputs of a net whose rows take different ways: how many reach a layer is an average over them."""
NO_MAPPING = "does not fit the "
"""How an accelerator's report begins to say why a layer is left out."""
LARGEST_IMAGES = 2**31
"""Bytes of inputs beyond which a shape or a batch is a slip."""


class Layer(Record, frozen=True, kw_only=True):
    """One operator of one layer; per input, except for the shapes."""

    layer: str
    operator: str
    input: str
    output: str
    weights: str | None
    rows: float  # below 1: not every input comes here
    macs: float
    bytes: float  # input, output and weights once a call, at their bits
    joules: dict[str, dict[str, float]]  # model -> component; a model that does not describe the operator is missing
    seconds: dict[str, float] = {}  # model -> seconds, of models that give times


class Beside(Record, frozen=True, kw_only=True):
    """A figure of the literature beside what the model says."""

    net: str
    joules: float
    ratio: float  # the model's over the published figure
    source: str
    remark: str


class Modelled(Record, frozen=True, kw_only=True):
    """What one model says of the whole net."""

    model: str
    joules: Quantity  # per input
    components: dict[str, float]  # joules per input
    coverage: float  # share of the MACs that it describes; those of operators without a rule are not known
    missing: dict[str, float]  # operators that multiply and that it does not describe: share of the MACs
    published: tuple[Beside, ...]
    assumptions: tuple[str, ...]
    sources: tuple[str, ...]
    seconds: Quantity | None = None  # per input; None: the model gives no times


class Profile(Record, frozen=True, kw_only=True):
    """A profile: layers, proxies and models, and what they rest on."""

    net: str
    input_shape: tuple[int, ...]
    batch_size: int
    inputs: int  # that were run
    bits: tuple[int, int] | None  # of weights and activations, if assumed
    dynamic: bool  # rows take different ways: all figures are averages over the inputs
    layers: tuple[Layer, ...]
    proxies: dict[str, float | None]  # None: not known, because of operators without a rule
    models: tuple[Modelled, ...]
    unknown: dict[str, float]  # operators without a rule: share of all output elements
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    known_share: float = 1.0  # of all output elements
    known_macs_per_input: float | None = None  # of the operators with a rule: the net executes at least so many
    random: bool = True  # inputs are noise; False: those of the caller


def profile_net(
    net: Opened,
    models: Sequence[EnergyModel],
    *,
    batch_size: int | None = None,
    inputs: int | None = None,
    bits: tuple[int, int] | None = None,
    images: Tensor | None = None,
) -> Profile:
    """Run random inputs (seeded, normal) through ``net``, or these ``images``, and describe what was executed.

    Not given, the batch is 1 (or what the file fixes) and inputs are as many as tell enough. ``images`` are whole
    batches, (inputs, ...), and stand in place of random ones. ``bits`` of weights and activations are put in place of
    those that the net has. ``ValueError`` for what cannot be run.
    """
    if images is None:
        workload, count, notes = executed(net, batch_size, inputs)
    else:
        workload, count, notes = net.record(images, batch_size_of(net, batch_size)), len(images), []
    if bits is not None:
        workload = with_bits(workload, bits)
        notes.append(f"Bits are assumed: {bits[0]} for weights, {bits[1]} for activations; nobody quantised the net.")
    reports = [model.estimate(workload) for model in models]
    found = [by_operation(report, workload) for report in reports]
    joules = [[{} if one is None else one.joules for one in described] for described in found]
    described = [_modelled(net, model, report, workload, parts)
                 for model, report, parts in zip(models, reports, joules, strict=True)]  # fmt: skip
    return Profile(
        net=net.name,
        input_shape=net.shape,
        batch_size=workload.batch_size,
        inputs=count,
        bits=bits,
        dynamic=net.dynamic,
        layers=tuple(
            _layer(operation, workload.inputs, {m.name: f[at] for m, f in zip(models, found, strict=True)})
            for at, operation in enumerate(workload.operations)
        ),
        proxies=proxies(workload, parameters=net.parameters, nonzeros=net.nonzeros),
        models=tuple(described),
        unknown=workload.unknown,
        known_share=workload.known_share,
        known_macs_per_input=workload.known_macs_per_input,
        warnings=tuple(_warnings(workload, described)),
        notes=tuple(notes),
        random=images is None,
    )


def batch_size_of(net: Opened, batch_size: int | None) -> int:
    """The batch size that ``net`` is run at. ``ValueError`` for another than the file fixes."""
    size = batch_size or net.batch or 1
    if net.batch is not None and size != net.batch:
        raise ValueError(
            f"{net.name} fixes its batch at {net.batch}: leave --batch out, or export it with a free batch"
        )
    return size


def executed(net: Opened, batch_size: int | None, inputs: int | None) -> tuple[Workload, int, list[str]]:
    """What ``net`` executes at that batch size, how many random inputs were run, and what is to be said of it.

    A net whose rows all take one way need not be run on whole batches: one input stands for a batch of its likes.
    """
    size = batch_size_of(net, batch_size)
    count = inputs or (DYNAMIC_INPUTS if net.dynamic else INPUTS)
    notes = ["Inputs are random numbers: zeros and the ways that rows take depend on them."]
    alone = count < size and not net.dynamic and net.batch is None
    whole = count if alone else -(-count // size) * size
    if whole > count and inputs is not None:
        notes.append(f"{count} inputs are no whole batches of {size}: {whole} were run.")
    if alone and inputs is not None:
        notes.append(f"{count} inputs make no batch of {size}: each stands for a batch of its likes.")
    if whole * 4 * torch.Size(net.shape).numel() > LARGEST_IMAGES:
        raise ValueError(
            f"{whole} inputs of shape {net.shape} are over 2 GiB: give a smaller --shape, --batch or --inputs"
        )
    images = torch.randn(whole, *net.shape, generator=torch.Generator().manual_seed(0))
    workload = net.record(images, 1 if alone else size)
    return (in_batches(workload, size) if alone else workload), whole, notes


def in_batches(workload: Workload, size: int) -> Workload:
    """A workload of single inputs as that of as many batches, each of ``size`` inputs like the one.

    >>> from joulemark.workloads.workload import Operation
    >>> layer = Operation(layer="fc", operator="linear", input_shape=(4,), output_shape=(2,), rows=3, calls=3, macs=24)
    >>> many = in_batches(Workload(inputs=3, batch_size=1, operations=(layer,)), 10)
    >>> many.inputs, many.batch_size, many.operations[0].rows, many.operations[0].calls, many.macs_per_input
    (30, 10, 30, 3, 8.0)
    """
    peak = workload.peak_activation_bytes
    return msgspec.structs.replace(
        workload,
        inputs=workload.inputs * size,
        batch_size=size,
        operations=tuple(
            msgspec.structs.replace(one, rows=one.rows * size, macs=one.macs * size) for one in workload.operations
        ),
        peak_activation_bytes=None if peak is None else peak * size,
    )


def with_bits(workload: Workload, bits: tuple[int, int]) -> Workload:
    """The workload with these bits of weights and activations in every operator."""
    peak = workload.peak_activation_bytes
    if peak is not None and all(one.activation_bits == 32 for one in workload.operations):
        peak *= bits[1] / 32
    return msgspec.structs.replace(
        workload,
        operations=tuple(
            msgspec.structs.replace(one, weight_bits=bits[0], activation_bits=bits[1]) for one in workload.operations
        ),
        peak_activation_bytes=peak,
    )


def by_operation(report: EnergyReport, workload: Workload) -> list[LayerEnergy | None]:
    """What the model says of each operation; ``None`` where it does not describe it.

    A layer may run an operator in several shapes; its figures come in the order of the workload.
    """
    waiting: dict[tuple[str, str], list[LayerEnergy]] = {}
    for one in report.layers:
        waiting.setdefault((one.layer, one.operator), []).append(one)
    found = [waiting.get((one.layer, one.operator)) for one in workload.operations]
    return [queue.pop(0) if queue else None for queue in found]


def _modelled(
    net: Opened, model: EnergyModel, report: EnergyReport, workload: Workload, parts: Sequence[dict[str, float]]
) -> Modelled:
    components: dict[str, float] = {}
    missing: dict[str, float] = {}
    macs = sum(one.macs for one in workload.operations)
    for operation, joules in zip(workload.operations, parts, strict=True):
        for part, value in joules.items():
            components[part] = components.get(part, 0.0) + value
        if operation.macs and not joules and report.coverage < 1 and report.seconds is None:
            missing[operation.operator] = missing.get(operation.operator, 0.0) + operation.macs / macs
    known = report.joules.value
    published = model.published if isinstance(model, Compared) and known is not None else ()
    return Modelled(
        model=report.model,
        joules=report.joules,
        components=components,
        coverage=report.coverage,
        missing=missing,
        published=tuple(
            Beside(net=one.net, joules=one.joules, ratio=known / one.joules, source=one.source, remark=one.remark)
            for one in published
            if known is not None and one.net == net.kind and one.input_shape == net.shape
        ),
        assumptions=report.assumptions,
        sources=report.sources,
        seconds=report.seconds,
    )


def _layer(operation: Operation, inputs: int, found: dict[str, LayerEnergy | None]) -> Layer:
    known = {model: one for model, one in found.items() if one is not None}
    return Layer(
        layer=operation.layer or "(the net itself)",
        operator=operation.operator,
        input=_shape(operation.input_shape),
        output=_shape(operation.output_shape),
        weights=_shape(operation.weight_shape) if operation.weight_shape else None,
        rows=operation.rows / inputs,
        macs=operation.macs / inputs,
        bytes=moved_bytes(operation) / inputs,
        joules={model: one.joules for model, one in known.items() if one.joules},
        seconds={model: one.seconds for model, one in known.items() if isinstance(one.seconds, float)},
    )


def _warnings(workload: Workload, models: Sequence[Modelled]) -> list[str]:
    """What the figures leave out, one sentence each."""
    left_out = [
        f"no rule for {name}, {share:.1%} of all output elements: the multiplications in it, if any, are in no figure"
        for name, share in workload.unknown.items()
    ]
    for one in models:
        left_out += [
            f"{one.model} does not describe {name}, {share:.1%} of the MACs" for name, share in one.missing.items()
        ]
        left_out += [f"{one.model}: {words}" for words in one.assumptions if words.startswith(NO_MAPPING)]
    return left_out


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "1"
