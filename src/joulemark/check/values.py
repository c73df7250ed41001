"""What is wrong with the values inside one record, told by the record alone.

A record is walked field by field; each type of value in it has its rules below. New kinds of records are walked too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from joulemark.check.derived import (
    agreement_faults,
    free_faults,
    paced_faults,
    timing_faults,
    trial_faults,
)
from joulemark.check.scores import score_faults, truth_faults
from joulemark.judging.fields import values_in
from joulemark.judging.losses import Truths
from joulemark.judging.repeated import AGREE, same
from joulemark.judging.settings import links_of
from joulemark.judging.trace import is_unit
from joulemark.record import (
    Agreement,
    Attempt,
    Conditions,
    EnergyReport,
    FreeTrial,
    Kind,
    LayerEnergy,
    Machine,
    Made,
    Making,
    Paced,
    Quantity,
    Ratio,
    Record,
    Score,
    Study,
    Timing,
    Trial,
    Truth,
)
from joulemark.task import BASELINE

KEY = re.compile(r"[0-9a-f]{16}(-[0-9a-f]{8})?")  # of inputs, and of code since records keep that
"""A content key or the hash of a net."""

WHOLE = ("parameters", "nonzero_parameters", "macs")
"""Proxies that count whole things of one net or one input."""


def faults(record: Record, truths: Truths) -> list[str]:
    """Everything wrong with the values of one record, one sentence each with the field's path; empty if all is well.

    ``truths`` are what its scores are judged by.
    """
    return [f"{path}: {fault}" if path else fault for path, fault in _faults(record, truths)]


def _faults(record: Record, truths: Truths) -> Iterator[tuple[str, str]]:
    for path, value in values_in(record):
        if isinstance(value, float) and not math.isfinite(value):
            yield path, "is not a finite number"
        try:
            for fault in _told(value, truths):
                yield path, fault
        except (ValueError, ArithmeticError) as error:  # values that a rule cannot even compute with
            yield path, f"cannot be judged: {error}"


def _told(value: Any, truths: Truths) -> Iterator[str]:
    if isinstance(value, Score):
        yield from score_faults(value, truths)
    elif isinstance(value, FreeTrial):
        yield from _free(value, truths)
    elif type(value) in _RULES:
        yield from _RULES[type(value)](value)


def _quantity(quantity: Quantity) -> Iterator[str]:
    value = quantity.value
    if quantity.coverage is not None and not 0 <= quantity.coverage <= 1:
        yield f"covers {quantity.coverage:g} of its window"
    if quantity.lost_seconds is not None and quantity.lost_seconds < 0:
        yield f"has lost {quantity.lost_seconds:g} seconds"
    if value is None:
        if not quantity.reason:
            yield "is unknown without a reason"
        if not quantity.lost_seconds and (quantity.low is not None or quantity.high is not None):
            yield "is unknown and has an interval, though no time was lost"
        return
    if value < 0:
        yield f"is negative: {value:g} {quantity.unit}"
    if value == 0 and quantity.kind is Kind.MEASURED and "too_short" not in quantity.flags:
        yield "is 0, though measured: what is unknown is null with a reason, never 0"
    yield from _interval(quantity.low, value, quantity.high)
    if any(part is not None and part < 0 for part in (quantity.random, quantity.systematic)):
        yield "has a negative uncertainty"
    if quantity.count is not None and quantity.count < 1:
        yield f"is made of {quantity.count} windows"


def _interval(low: float | None, value: float, high: float | None) -> Iterator[str]:
    slack = AGREE * abs(value)
    if (low is None) != (high is None):
        yield "has half an interval"
    if (low is not None and low > value + slack) or (high is not None and high < value - slack):
        yield f"its interval {low:g} to {high:g} does not hold its value {value:g}"


def _ratio(ratio: Ratio) -> Iterator[str]:
    if min(ratio.value, ratio.low, ratio.high) <= 0:
        yield "is not positive"
    if ratio.count < 1:
        yield f"is made of {ratio.count} blocks"
    yield from _interval(ratio.low, ratio.value, ratio.high)


def _timing(timing: Timing) -> Iterator[str]:
    yield from _executed(timing.execution, timing.reason)
    if timing.batch_size < 1 or timing.threads < 1:
        yield f"says batch {timing.batch_size} on {timing.threads} threads"
    yield from _kinds({"seconds": timing.seconds, "baseline_seconds": timing.baseline_seconds}, Kind.MEASURED, "s")
    yield from _kinds({"joules": timing.joules}, Kind.MEASURED, "J")
    if timing.joules_ratio is not None and (timing.joules.value is None or not timing.joules_blocks):
        yield "joules_ratio: has no joules or no raw blocks behind it"
    rows = (timing.blocks, timing.joules_blocks, timing.reference_blocks, timing.reference_joules_blocks)
    if any(one <= 0 for blocks in rows for block in blocks for one in block):
        yield "a block is not positive"
        return
    yield from timing_faults(timing)


def _executed(execution: str, reason: str | None) -> Iterator[str]:
    if execution not in ("real", "simulated"):
        yield f"execution is {execution!r}, neither real nor simulated"
    if execution == "simulated" and not reason:
        yield "is simulated without a reason"
    if execution == "real" and reason:
        yield f"is real, yet has a reason why it is simulated: {reason}"


def _kinds(quantities: Mapping[str, Quantity], kind: Kind, unit: str) -> Iterator[str]:
    for name, quantity in quantities.items():
        if quantity.kind is not kind or quantity.unit.partition("/")[0] != unit:
            yield f"{name}: is {quantity.kind} in {quantity.unit}, not {kind} in {unit}"


def _making(making: Making) -> Iterator[str]:
    if min(making.seconds, making.cpu_seconds, making.image_passes) < 0:
        yield "has a negative cost"
    yield from _kinds({"joules": making.joules}, Kind.MEASURED, "J")


def _report(report: EnergyReport) -> Iterator[str]:
    yield from _kinds({"joules": report.joules}, Kind.MODELLED, "J")
    if not 0 <= report.coverage <= 1 + AGREE:
        yield f"coverage is {report.coverage:g}"
    if any(part < 0 for layer in report.layers for part in (layer.macs, *layer.joules.values())):
        yield "a layer has negative joules or MACs"
    yield from (fault for layer in report.layers for fault in _operands(layer))
    total = math.fsum(part for layer in report.layers for part in layer.joules.values())
    if report.joules.value is not None and not same(report.joules.value, total):
        yield f"says {report.joules.value:g} J, its layers add up to {total:g} J"


def _operands(layer: LayerEnergy) -> Iterator[str]:
    if layer.operands is msgspec.UNSET:
        return
    components = dict.fromkeys(component for split in layer.operands.values() for component in split)
    for component in components:
        parts = [split.get(component, 0.0) for split in layer.operands.values()]
        if min(parts) < 0 or not same(math.fsum(parts), layer.joules.get(component)):
            yield f"{component} of {layer.layer!r} is {layer.joules.get(component)} J, its operands are {parts}"


def _proxies(proxies: Mapping[str, float]) -> Iterator[str]:
    for name, value in proxies.items():
        if value < 0 or (name in WHOLE and value != math.floor(value)):
            yield f"proxies.{name}: {value:g} is no {'count' if value >= 0 else 'amount'}"
    if proxies.get("nonzero_parameters", 0) > proxies.get("parameters", math.inf):
        yield "proxies: more non-zero parameters than parameters"


def _machine(machine: Machine) -> Iterator[str]:
    if machine.cores < 1 or (machine.memory_bytes is not None and machine.memory_bytes < 1):
        yield f"has {machine.cores} cores and {machine.memory_bytes} bytes"


def _made(made: Made) -> Iterator[str]:
    yield from _keys(key=made.key, net=made.net, start=made.start)
    yield from _units(made)
    yield from _of_its_chain(made)
    if (made.start is None) != (made.technique == BASELINE):
        yield f"{made.technique} starts from {made.start or 'nothing'}"


def _attempt(attempt: Attempt) -> Iterator[str]:
    yield from _keys(key=attempt.key, made=attempt.made, net=attempt.net)
    yield from _units(attempt)
    yield from _of_its_chain(attempt)
    yield from _executed(attempt.execution, attempt.reason)
    yield from _splits([attempt.score], "validation")
    yield from _kinds({"seconds": attempt.seconds}, Kind.MEASURED, "s")
    yield from _kinds({"joules": attempt.joules}, Kind.MEASURED, "J")
    yield from _kinds({f"models.{name}": one for name, one in attempt.models.items()}, Kind.MODELLED, "J")
    yield from _proxies(attempt.proxies)


def _trial(trial: Trial) -> Iterator[str]:
    yield from _keys(key=trial.key, attempt=trial.attempt, net=trial.net)
    yield from _units(trial)
    yield from _of_its_chain(trial)
    yield from _splits(trial.scores.values(), "test")
    yield from _proxies(trial.proxies)
    if untested := sorted({timing.backend for timing in trial.timings} - set(trial.scores)):
        yield f"is timed on {untested[0]}, where it was not tested"
    if not any(one <= 0 for timing in trial.timings for block in timing.blocks for one in block):
        yield from trial_faults(trial)
    executed = trial.proxies.get("macs_per_input")
    for report in trial.models:
        macs = math.fsum(layer.macs for layer in report.layers)
        if executed is not None and abs(macs - report.coverage * executed) > AGREE * executed:
            yield f"models: {report.model} counts {macs:g} MACs, {report.coverage:g} of {executed:g} were said"


def _free(free: FreeTrial, truths: Truths) -> Iterator[str]:
    yield from _keys(key=free.key, net=free.net)
    yield from _units(free)
    yield from _splits([free.score, free.baseline_score], "validation")
    yield from _kinds({"seconds": free.seconds, "cpu_seconds": free.cpu_seconds}, Kind.MEASURED, "s")
    yield from _kinds({"joules": free.joules}, Kind.MEASURED, "J")
    if (free.reason is None) == (free.seconds.value is None):
        yield "has both seconds and a reason why it could not run, or neither"
    if any(one <= 0 for block in (*free.blocks, *free.cpu_blocks, *free.joules_blocks) for one in block):
        yield "a block is not positive"
        return
    yield from free_faults(free, truths)


def _paced(paced: Paced) -> Iterator[str]:
    yield from _executed(paced.execution, paced.reason)
    hourly = {"candidate": paced.candidate, "baseline": paced.baseline}
    yield from _kinds(
        {f"{name}.joules_per_hour": side.joules_per_hour for name, side in hourly.items()}, Kind.MEASURED, "J"
    )
    yield from paced_faults(paced)


def _conditions(conditions: Conditions) -> Iterator[str]:
    seen = (conditions.own_cpu_seconds, conditions.busy_cpu_seconds, conditions.stolen_seconds, conditions.throttles)
    if conditions.seconds <= 0 or conditions.cores < 1 or any(one is not None and one < 0 for one in seen):
        yield "cannot be: a time, a count of cores or of events is negative or 0"


def _study(study: Study) -> Iterator[str]:
    named = [*study.baselines, *(key for keys in study.attempts.values() for key in keys)]
    for what, keys in (("an attempt", named), ("a trial", study.trials), ("a free setting", study.free)):
        if len(set(keys)) < len(keys):
            yield f"names {what} twice"


def _keys(**keys: str | None) -> Iterator[str]:
    for name, key in keys.items():
        if key is not None and not KEY.fullmatch(key):
            yield f"{name}: {key!r} is no content key"


def _units(record: Made | Attempt | Trial | FreeTrial) -> Iterator[str]:
    for unit in record.code:
        if not is_unit(unit):
            yield f"code: {unit!r:.80} is no unit of code"


def _of_its_chain(record: Made | Attempt | Trial) -> Iterator[str]:
    if len(record.knobs) != len(links_of(record.technique)):
        yield f"knobs: there are {len(record.knobs)} sets of them for {len(links_of(record.technique))} techniques"


def _splits(scores: Any, split: str) -> Iterator[str]:
    for score in scores:
        if score is not None and score.split != split:
            yield f"holds a score on the {score.split} images where {split} images belong"


_RULES: dict[type, Callable[[Any], Iterator[str]]] = {
    Quantity: _quantity,
    Ratio: _ratio,
    Timing: _timing,
    Making: _making,
    EnergyReport: _report,
    Machine: _machine,
    Made: _made,
    Attempt: _attempt,
    Trial: _trial,
    Paced: _paced,
    Agreement: agreement_faults,
    Conditions: _conditions,
    Study: _study,
    Truth: truth_faults,
}
