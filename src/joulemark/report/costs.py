"""What a trial costs against its baseline: ratios per board, test losses, and the price of making it.

Everything here takes records and returns numbers; the board decides what to show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from joulemark.judging.losses import Truths, pooled_interval, pooled_loss
from joulemark.judging.rules import Board
from joulemark.judging.statistics import combine_ratios
from joulemark.record import Attempt, EnergyReport, Ratio, Record, Score, Timing, Trial


class Loss(Record, frozen=True, kw_only=True):
    """Loss of the metric against the baselines of the same seeds, in points; both bounds are one-sided at ``level``."""

    value: float  # of the metric, mean over seeds, 0 to 1
    points: float  # positive: worse than the baseline
    bound: float  # the loss is at most this
    best: float  # the loss is at least this (negative: it may even gain)
    level: float = 0.95  # higher where several settings were tried: joulemark.judging.rules.level_of
    interval: tuple[float, float] | None = None  # two-sided, 95 %; None: not asked for


class MakingTotal(Record, frozen=True, kw_only=True):
    """What all attempts of one technique cost together, losers and every seed included."""

    attempts: int = 0
    seconds: float = 0
    cpu_seconds: float = 0
    image_passes: int = 0
    joules: float | None = None  # None unless every attempt was metered


def making_total(attempts: Iterable[Attempt], technique: str) -> MakingTotal:
    """Sum of the making-of costs over every attempt of a technique."""
    makings = [attempt.making for attempt in attempts if attempt.technique == technique]
    joules = [making.joules.value for making in makings]
    known = [value for value in joules if value is not None]
    return MakingTotal(
        attempts=len(makings),
        seconds=sum(making.seconds for making in makings),
        cpu_seconds=sum(making.cpu_seconds for making in makings),
        image_passes=sum(making.image_passes for making in makings),
        joules=sum(known) if makings and len(known) == len(makings) else None,
    )


def measure_loss(baseline: Sequence[Score], candidate: Sequence[Score], truths: Truths) -> Loss:
    """Loss of paired scores with a bound on either side (the lower one is the bound with the roles exchanged).

    The interval is wider than the two bounds, which together leave out 10 %.
    """
    points, bound = pooled_loss(baseline, candidate, truths)
    _, gain = pooled_loss(candidate, baseline, truths)
    value = float(np.mean([score.value for score in candidate]))
    interval = pooled_interval(baseline, candidate, truths)
    return Loss(value=value, points=points, bound=bound, best=-gain, interval=interval)


def timing_at(trial: Trial, backend: str, batch_size: int) -> Timing | None:
    """Find the timing of a trial on one backend at one batch size."""
    matching = (t for t in trial.timings if t.backend == backend and t.batch_size == batch_size)
    return next(matching, None)


def home_timing(trial: Trial, batch_size: int) -> Timing | None:
    """Find the timing that speaks for a trial: on the suite's first backend with real kernels, or else on its first."""
    at_size = [timing for timing in trial.timings if timing.batch_size == batch_size]
    return next((timing for timing in at_size if timing.execution == "real"), at_size[0] if at_size else None)


def headline_ratio(timing: Timing, board: Board) -> Ratio | None:
    """Ratio of a measured board: over the fastest fp32 baseline; of older records, over that of the same backend."""
    if board.cost == "joules":
        return timing.joules_ratio if timing.reference is None else timing.reference_joules_ratio
    return timing.ratio if timing.reference is None else timing.reference_ratio


def same_backend_ratio(timing: Timing, board: Board) -> Ratio | None:
    """Ratio of a measured board over the fp32 baseline on the same backend."""
    return timing.joules_ratio if board.cost == "joules" else timing.ratio


def energy_of(trial: Trial, model: str) -> EnergyReport | None:
    """Find what one energy model says of a trial."""
    return next((report for report in trial.models if report.model == model), None)


def modelled_ratio(baseline: Trial, candidate: Trial, model: str) -> Ratio | None:
    """Modelled joules of the baseline over those of the candidate.

    A model is deterministic, so the interval of one seed is a point; several seeds get theirs from their spread.
    """
    reports = energy_of(baseline, model), energy_of(candidate, model)
    values = [report.joules.value if report is not None else None for report in reports]
    if not values[0] or not values[1]:
        return None
    ratio = values[0] / values[1]
    return Ratio(value=ratio, low=ratio, high=ratio, count=1)


def seed_ratio(baseline: Trial, candidate: Trial, board: Board, batch_size: int) -> Ratio | None:
    """Cost ratio of one seed on a board, as the board ranks it; ``None`` where it is unknown."""
    if board.cost.startswith("model:"):
        return modelled_ratio(baseline, candidate, board.cost.removeprefix("model:"))
    timing = home_timing(candidate, batch_size)
    return None if timing is None else headline_ratio(timing, board)


def own_ratio(timings: Iterable[Timing | None], board: Board) -> Ratio | None:
    """Ratio over the fp32 baseline on the same backend, timings of several seeds; of a baseline, the A/A control."""
    ratios = [same_backend_ratio(timing, board) for timing in timings if timing is not None]
    return combine_ratios([ratio for ratio in ratios if ratio is not None])


def baseline_cost(trials: Sequence[Trial], board: Board, batch_size: int) -> float | None:
    """Mean cost per input of the baseline's own trials on a board: on its fastest backend, where that is measured."""
    values: list[float | None] = []
    for trial in trials:
        timing = home_timing(trial, batch_size)
        if board.cost.startswith("model:"):
            report = energy_of(trial, board.cost.removeprefix("model:"))
            values.append(report.joules.value if report is not None else None)
        elif timing is not None:
            values.append(denominator(timing, board))
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def denominator(timing: Timing, board: Board) -> float | None:
    """Cost per input that the headline of a measured board divides by, in seconds or joules."""
    elsewhere = timing.reference not in (None, timing.backend)
    if board.cost == "seconds":
        quantity = timing.reference_seconds if elsewhere else timing.seconds
        return None if quantity is None else quantity.value
    if not elsewhere:
        return timing.joules.value
    joules = [value for both in timing.reference_joules_blocks for value in both]
    return float(np.median(joules)) if joules else None
