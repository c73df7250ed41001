"""The paced scenario as a table: what one net does in an hour of single inputs at a fixed rate, idle included."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from joulemark.judging.settings import setting_key
from joulemark.record import Paced, Record, Trial
from joulemark.report.results import Results


class PacedRow(Record, frozen=True, kw_only=True):
    """One setting of one technique at one rate beside the fp32 baseline, means over seeds; hours are scaled up."""

    inputs_per_second: float
    technique: str
    knobs: tuple[dict[str, Any], ...]
    seeds: tuple[int, ...]
    backend: str
    reference: str  # backend of the baseline
    execution: str
    latency_seconds: float
    latency_95_seconds: float
    missed: int  # of all inputs of all seeds
    inputs: int
    busy_seconds_per_hour: float
    baseline_busy_seconds_per_hour: float
    busy_ratio: float  # geometric mean over seeds
    cpu_seconds_per_hour: float
    joules_per_hour: float | None
    baseline_joules_per_hour: float | None
    idle_joules_per_hour: float | None
    reason: str | None  # why there are no joules


def paced_rows(results: Results) -> list[PacedRow]:
    """Every tested setting at every rate, rate by rate; empty where the suite has no paced scenario."""
    groups: dict[tuple[float, tuple[str, str]], list[tuple[Trial, Paced]]] = defaultdict(list)
    for trial in results.trials:
        for paced in trial.paced:
            groups[paced.inputs_per_second, setting_key(trial.technique, trial.knobs)].append((trial, paced))
    return [_row(groups[key]) for key in sorted(groups)]


def _row(group: Sequence[tuple[Trial, Paced]]) -> PacedRow:
    trial, first = group[0]
    known = [paced for _, paced in group]
    simulated = any(paced.execution != "real" for paced in known)
    return PacedRow(
        inputs_per_second=first.inputs_per_second,
        technique=trial.technique,
        knobs=trial.knobs,
        seeds=tuple(sorted(one.seed for one, _ in group)),
        backend=first.backend,
        reference=first.reference,
        execution="simulated" if simulated else "real",
        latency_seconds=fmean(paced.candidate.latency_seconds for paced in known),
        latency_95_seconds=fmean(paced.candidate.latency_95_seconds for paced in known),
        missed=sum(paced.candidate.missed for paced in known),
        inputs=sum(paced.candidate.inputs for paced in known),
        busy_seconds_per_hour=fmean(paced.candidate.busy_seconds_per_hour for paced in known),
        baseline_busy_seconds_per_hour=fmean(paced.baseline.busy_seconds_per_hour for paced in known),
        busy_ratio=float(np.exp(np.mean(np.log([paced.busy_ratio for paced in known])))),
        cpu_seconds_per_hour=fmean(paced.candidate.cpu_seconds_per_hour for paced in known),
        joules_per_hour=_mean([paced.candidate.joules_per_hour.value for paced in known]),
        baseline_joules_per_hour=_mean([paced.baseline.joules_per_hour.value for paced in known]),
        idle_joules_per_hour=_mean([paced.idle_joules_per_hour.value for paced in known]),
        reason=next((why for paced in known if (why := paced.candidate.joules_per_hour.reason) is not None), None),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
