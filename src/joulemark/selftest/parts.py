"""The experiments in four parts, each under eight minutes; a finished experiment is not repeated."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from joulemark.machine.machine import versions
from joulemark.meters.source import ReadError, SourceLost
from joulemark.selftest import disturbance, instrument, repeatability, response
from joulemark.selftest.outcome import Found, Outcome, read, write
from joulemark.selftest.rig import Bench


@dataclass(frozen=True)
class Experiment:
    """One experiment: its number, what it asks, and how."""

    name: str
    title: str
    run: Callable[[Bench], Found]


@dataclass(frozen=True)
class Failed:
    """An experiment that could not be finished, and why; it is tried again next time."""

    experiment: str
    title: str
    reason: str


PARTS: dict[int, tuple[Experiment, ...]] = {
    1: (
        Experiment("V0", "driver, limits, fields", instrument.dump),
        Experiment("V1", "update periods and the time of a read", instrument.updates),
        Experiment("V2", "counter against integrated power", instrument.agreement),
        Experiment("V10", "plausible watts", instrument.plausibility),
    ),
    # V5 comes before anything takes the board: its first minute is cold.
    2: (
        Experiment("V5", "idle: cold, with a context, after work", response.idling),
        Experiment("V4", "joules are linear in the work", response.linearity),
    ),
    3: (
        Experiment("V3", "square waves at four phases", disturbance.square_waves),
        Experiment("V7", "order of the windows", disturbance.order),
        Experiment("V8", "values computed on", disturbance.data),
        Experiment("V9", "overhead of the meter", disturbance.overhead),
    ),
    4: (
        Experiment("V6", "repeatability and A/A", repeatability.repeatability),
        Experiment("V11", "another tool on the same interval", repeatability.other_tools),
    ),
}


def run_part(part: int, bench: Bench, folder: Path) -> Iterator[tuple[Outcome | Failed, bool]]:
    """Do the experiments of a part, and store each as it ends; yields what was found, and whether it is an old one.

    A lost board ends the part. Raises ``OSError`` if a result cannot be stored, ``KeyError`` for no such part.
    """
    for experiment in PARTS[part]:
        known = read(folder, experiment.name, bench.board)
        if known is not None:
            yield known, True
            continue
        started, begun = datetime.now(UTC), time.monotonic()
        try:
            targets, figures = experiment.run(bench)
        except (ReadError, RuntimeError) as error:  # torch tells its troubles by RuntimeError
            yield Failed(experiment.name, experiment.title, " ".join(str(error).split())), False
            if isinstance(error, SourceLost):
                return
            continue
        outcome = Outcome(
            experiment=experiment.name,
            title=experiment.title,
            board=bench.board,
            started=started.isoformat(timespec="seconds"),
            seconds=time.monotonic() - begun,
            targets=tuple(targets),
            figures=figures,
            facts={**instrument.facts(bench.board), "versions": versions()},
        )
        write(folder, outcome)
        yield outcome, False
