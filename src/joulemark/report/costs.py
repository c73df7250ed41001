"""What a trial costs against its baseline: ratios per board, test losses, and the price of making it.

Everything here takes records and returns numbers; the board decides what to show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from joulemark.record import Attempt, EnergyReport, Ratio, Record, Score, Timing, Trial
from joulemark.rules import Board, pooled_loss
from joulemark.stats import combine_ratios


class Loss(Record, frozen=True, kw_only=True):
    """Accuracy loss against the baselines of the same seeds, in points; both bounds are one-sided at 95 %."""

    accuracy: float  # mean over seeds, 0 to 1
    points: float  # positive: less accurate than the baseline
    bound: float  # the loss is at most this
    best: float  # the loss is at least this (negative: it may even gain)


class MakingTotal(Record, frozen=True, kw_only=True):
    """What all attempts of one technique cost together, losers and every seed included."""

    attempts: int
    seconds: float
    cpu_seconds: float
    image_passes: int
    joules: float | None  # None unless every attempt was metered


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


def measure_loss(baseline: Sequence[Score], candidate: Sequence[Score]) -> Loss:
    """Loss of paired scores with a bound on either side (the lower one is the bound with the roles exchanged)."""
    points, bound = pooled_loss(baseline, candidate)
    _, gain = pooled_loss(candidate, baseline)
    accuracy = float(np.mean([score.accuracy for score in candidate]))
    return Loss(accuracy=accuracy, points=points, bound=bound, best=-gain)


def timing_at(trial: Trial, backend: str, batch_size: int) -> Timing | None:
    """Find the timing of a trial on one backend at one batch size."""
    matching = (t for t in trial.timings if t.backend == backend and t.batch_size == batch_size)
    return next(matching, None)


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


def board_ratio(pairs: Sequence[tuple[Trial, Trial]], board: Board, backend: str, batch_size: int) -> Ratio | None:
    """Cost ratio on a board over (baseline, candidate) trials of the same seeds; ``None`` where none is known."""
    ratios = []
    for baseline, candidate in pairs:
        timing = timing_at(candidate, backend, batch_size)
        if board.cost == "seconds":
            ratio = timing.ratio if timing is not None else None
        elif board.cost == "joules":
            ratio = timing.joules_ratio if timing is not None else None
        else:
            ratio = modelled_ratio(baseline, candidate, board.cost.removeprefix("model:"))
        if ratio is not None:
            ratios.append(ratio)
    return combine_ratios(ratios)


def proxy_ratio(pairs: Sequence[tuple[Trial, Trial]], proxy: str) -> float | None:
    """How many times smaller a proxy became: geometric mean over seeds of baseline / candidate."""
    values = [(b.proxies.get(proxy), c.proxies.get(proxy)) for b, c in pairs]
    logs = [np.log(before / after) for before, after in values if before and after]
    return float(np.exp(np.mean(logs))) if logs and len(logs) == len(values) else None


def baseline_cost(trials: Sequence[Trial], board: Board, backend: str, batch_size: int) -> float | None:
    """Mean cost per input of the baseline's own trials on a board."""
    values: list[float | None] = []
    for trial in trials:
        timing = timing_at(trial, backend, batch_size)
        if board.cost.startswith("model:"):
            report = energy_of(trial, board.cost.removeprefix("model:"))
            values.append(report.joules.value if report is not None else None)
        elif timing is not None:
            values.append(timing.joules.value if board.cost == "joules" else timing.seconds.value)
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
