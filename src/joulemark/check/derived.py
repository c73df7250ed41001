"""What a record says against what its own raw blocks, bits and conditions give again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

from joulemark.benchmarking.output_agreement import wilson
from joulemark.check.block_order import disordered_free, disordered_trial
from joulemark.judging.losses import Truths, pooled_loss, right_rows
from joulemark.judging.metrics.metric import metric
from joulemark.judging.repeated import AGREE, same
from joulemark.judging.stability import disturbances, recomputed, warnings
from joulemark.judging.statistics import bootstrap_median, paired_ratio
from joulemark.judging.truths import predicted_of
from joulemark.record import Agreement, FreeTrial, Paced, PacedSide, Quantity, Ratio, Timing, Trial

HOUR = 3600.0


def timing_faults(timing: Timing) -> Iterator[str]:
    """Ratios, medians and the choice of the reference of one timing; its blocks must be positive."""
    try:
        found = recomputed(timing)
    except ValueError:
        yield "has other numbers of blocks for itself and for its reference"
        return
    for name, ratio in found.items():
        yield from _same_ratio(name, getattr(timing, name), ratio)
    baseline = [one for first, _, last in timing.blocks for one in (first, last)]
    yield from _same_median("seconds", timing.seconds, [middle for _, middle, _ in timing.blocks])
    yield from _same_median("baseline_seconds", timing.baseline_seconds, baseline)
    if timing.joules_blocks:
        yield from _same_median("joules", timing.joules, [middle for _, middle, _ in timing.joules_blocks])
    fastest = min(timing.screening, key=lambda name: timing.screening[name], default=None)
    if timing.reference != fastest:
        yield f"reference is {timing.reference}, its screening was won by {fastest or 'nobody'}"
    if timing.reference == timing.backend:
        if timing.reference_blocks or timing.reference_joules_blocks:
            yield "has blocks of a reference, which is its own backend"
        yield from _same_median("reference_seconds", timing.reference_seconds, baseline)
    else:
        windows = [one for both in timing.reference_blocks for one in both]
        yield from _same_median("reference_seconds", timing.reference_seconds, windows)


def trial_faults(trial: Trial) -> Iterator[str]:
    """Order, warnings and the pace of a trial; its blocks must be positive."""
    judged = tuple(warnings(trial))
    if judged != trial.warnings:
        yield f"warns of {_listed(trial.warnings)}; its own numbers warn of {_listed(judged)}"
    yield from disordered_trial(trial)
    screenings: dict[int, dict[str, float]] = {}
    for timing in trial.timings:
        if screenings.setdefault(timing.batch_size, timing.screening) != timing.screening:
            yield f"was screened twice at batch {timing.batch_size}, with other figures"
    for paced in trial.paced:
        singles = screenings.get(1)
        if singles and paced.reference != min(singles, key=lambda name: singles[name]):
            yield f"is paced against {paced.reference}, which is not the fastest at batch 1"
        beside = {(timing.execution, timing.reason) for timing in trial.timings if timing.backend == paced.backend}
        if beside and (paced.execution, paced.reason) not in beside:
            yield f"is {paced.execution} on {paced.backend} when paced, and not when timed"


def free_faults(free: FreeTrial, truths: Truths) -> Iterator[str]:
    """Ratios, medians, loss, agreement, flags and order of a free setting; its blocks must be positive."""
    for kind in ("", "cpu_", "joules_"):
        blocks = getattr(free, f"{kind}blocks")
        yield from _same_ratio(f"{kind}ratio", getattr(free, f"{kind}ratio"), paired_ratio(blocks))
    for name, blocks in (("seconds", free.blocks), ("cpu_seconds", free.cpu_blocks), ("joules", free.joules_blocks)):
        if name != "joules" or blocks:
            yield from _same_median(name, getattr(free, name), [middle for _, middle, _ in blocks])
    yield from _free_loss(free, truths)
    flags = tuple(disturbances(free.conditions))
    if flags != free.flags:
        yield f"flags: says {_listed(free.flags)}, its conditions give {_listed(flags)}"
    if free.control and (free.options or free.batch_size != 1):
        yield "is called the control, which runs at batch 1 without options"
    yield from disordered_free(free)


def paced_faults(paced: Paced) -> Iterator[str]:
    """The ratios of busy seconds, and counts that fit the rate and the windows."""
    if min(paced.inputs_per_second, paced.window_seconds, paced.baseline.busy_seconds_per_hour) <= 0:
        yield "has a rate, a window or busy seconds that are not positive"
        return
    for name, side in (("baseline", paced.baseline), ("candidate", paced.candidate)):
        yield from (f"{name}: {fault}" for fault in _side(side, paced))
    busy = paced.candidate.busy_seconds_per_hour
    ratio = paced.baseline.busy_seconds_per_hour / busy if busy > 0 else None
    if not same(paced.busy_ratio, ratio):
        yield f"busy_ratio: says {paced.busy_ratio:g}, the busy seconds of the two give {ratio or math.nan:g}"
    yield from _same_ratio("busy", paced.busy, paired_ratio(paced.blocks))


def _side(side: PacedSide, paced: Paced) -> Iterator[str]:
    windows = 2 * len(paced.blocks)
    sent = windows * round(paced.inputs_per_second * paced.window_seconds)
    if side.inputs != sent:
        yield f"counts {side.inputs} inputs, {windows} windows at its rate hold {sent}"
    if not 0 <= side.missed <= side.inputs:
        yield f"missed {side.missed} of {side.inputs} inputs"
    if not 0 < side.latency_seconds <= side.latency_95_seconds * (1 + AGREE):
        yield f"its median latency, {side.latency_seconds:g} s, does not lie between 0 and its 95th percentile"
    if not 0 < side.busy_seconds_per_hour <= HOUR * (1 + AGREE) or side.cpu_seconds_per_hour < 0:
        yield "its busy or CPU-seconds cannot be of one hour"


def agreement_faults(agreement: Agreement) -> Iterator[str]:
    """A share of whole images with its own interval, and differences that are none of them negative."""
    if agreement.images < 1:
        yield f"is of {agreement.images} images"
        return
    if min(agreement.largest_difference, agreement.mean_relative, agreement.largest_relative) < 0:
        yield "has a negative difference"
    if agreement.mean_relative > agreement.largest_relative * (1 + AGREE):
        yield "its mean difference is above its largest one"
    share = agreement.same_class
    if share is None:
        if agreement.low is not None or agreement.high is not None:
            yield "has an interval and no share"
        return
    alike = round(share * agreement.images)
    if not 0 <= share <= 1 or not same(share, alike / agreement.images):
        yield f"same_class: {share:g} is no share of {agreement.images} images"
        return
    low, high = wilson(alike, agreement.images)
    if not (same(agreement.low, low) and same(agreement.high, high)):
        yield f"says {share:g} ({agreement.low} to {agreement.high}), that share gives {low:g} to {high:g}"


def _free_loss(free: FreeTrial, truths: Truths) -> Iterator[str]:
    """The loss from both scores, and classes that agree on the images that only one of them gets right."""
    if free.score is None or free.baseline_score is None:
        if (free.score, free.baseline_score, free.loss_points, free.loss_bound) != (None,) * 4:
            yield "has a score or a loss without both scores behind it"
        return
    loss, bound = pooled_loss([free.baseline_score], [free.score], truths)
    if not (_near(free.loss_points, loss) and _near(free.loss_bound, bound)):
        yield f"loses {free.loss_points} points (at most {free.loss_bound}), its scores give {loss:g} ({bound:g})"
    near = free.agreement
    if near is None or near.same_class is None:
        return
    if near.images != free.score.rows:
        yield f"agreement: is of {near.images} images, the scores of {free.score.rows}"
        return
    one_class = free.score.predicted is None or predicted_of(free.score).ndim == 1
    if not one_class or metric(free.score.metric).right is None:
        return  # that a row is right does not say which class comes first
    differ = int((right_rows(free.score, truths) != right_rows(free.baseline_score, truths)).sum())
    if differ > round((1 - near.same_class) * near.images):
        yield f"agreement: {differ} images are right in one score alone, yet {near.same_class:g} have the same class"


def _near(stated: float | None, found: float) -> bool:
    """Points may be 0 by cancelling, where a relative difference says nothing."""
    return stated is not None and abs(stated - found) <= AGREE * max(1.0, abs(found))


def _same_ratio(name: str, stated: Ratio | None, found: Ratio | None) -> Iterator[str]:
    """A stored ratio against the one that its raw blocks give."""
    if stated is None or found is None:
        if stated is not found:
            yield f"{name}: " + ("is missing, though its blocks give one" if found else "has too few blocks behind it")
        return
    pairs = ((stated.value, found.value), (stated.low, found.low), (stated.high, found.high))
    if stated.count != found.count or not all(same(a, b) for a, b in pairs):
        yield f"{name}: says {_shown(stated)}, its raw blocks give {_shown(found)}"


def _shown(ratio: Ratio) -> str:
    return f"{ratio.value:.6g} ({ratio.low:.6g} to {ratio.high:.6g}) of {ratio.count}"


def _same_median(name: str, stated: Quantity | None, values: Sequence[float]) -> Iterator[str]:
    """A stored quantity against the median of its windows and the bootstrap interval of that (its seed is fixed)."""
    if stated is None or stated.value is None:
        if values:
            yield f"{name}: is unknown, though there are {len(values)} windows of it"
        return
    if not values:
        yield f"{name}: has no windows behind it"
        return
    low, high = bootstrap_median(values)
    middle = median(values)
    if not (same(stated.value, middle) and same(stated.low, low) and same(stated.high, high)):
        said = f"{stated.value:.6g} ({stated.low} to {stated.high}) {stated.unit}"
        yield f"{name}: says {said}, the median of its blocks is {middle:.6g} ({low:.6g} to {high:.6g})"
    elif stated.count != len(values):
        yield f"{name}: is said to be of {stated.count} windows, and is of {len(values)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"
