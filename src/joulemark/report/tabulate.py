"""The table: all that is drawn of one study, computed once from its records.

Records go in, lines of figures come out. Whatever is drawn (boards, tables beside them, figures, page) reads the lines.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from joulemark.judging.losses import Truths
from joulemark.judging.rules import Board, cost_of
from joulemark.judging.settings import setting_key
from joulemark.record import Attempt, Ratio, Record, Score, Timing, Trial
from joulemark.report.by_layer import components
from joulemark.report.costs import MakingTotal, baseline_cost, energy_of, home_timing, making_total, timing_at
from joulemark.report.line import Line, Pairs, line_of, references
from joulemark.task import BASELINE


class Screened(Record, frozen=True, kw_only=True):
    """One attempt beside the baseline of its seed, as both were screened on validation images."""

    technique: str
    knobs: tuple[dict[str, Any], ...]
    seed: int
    execution: str
    costs: dict[str, tuple[float, float]]  # board -> of the baseline, of the attempt
    points: float | None  # change of the metric


class Windows(Record, frozen=True, kw_only=True):
    """The raw windows of one trial at the headline's backend and batch size."""

    technique: str
    knobs: tuple[dict[str, Any], ...]
    seed: int
    timing: Timing


class Table(Record, frozen=True, kw_only=True):
    """The lines of one study and what else is drawn of it."""

    baseline: Line
    settings: tuple[Line, ...]  # one a tested setting of a technique, in the order of the tests
    of_attempts: dict[tuple[str, ...], Line]  # attempts of a setting, seeds pooled -> its line; left out: not tested
    of_trials: dict[tuple[str, ...], Line]  # keys of a line's trials -> the line; the baseline's too
    costs: dict[str, dict[int, float | None]]  # board -> batch size -> of the baseline, per input
    speeds: dict[int, dict[str, float]]  # batch size -> backend -> seconds per input of the fp32 baseline
    references: dict[int, tuple[str, ...]]  # batch size -> backends of the baselines that the headline divides by
    making: dict[str, MakingTotal]  # technique -> all its attempts together
    screened: tuple[Screened, ...]
    windows: tuple[Windows, ...]
    proxies: frozenset[str]  # names
    components: dict[str, tuple[str, ...]]  # energy model -> components of its joules
    unknown: dict[str, str]  # board -> why nobody knows its costs

    def control(self, board: Board, backend: str, batch_size: int) -> Ratio | None:
        """The A/A control on one backend at one batch size, in the cost of a measured board; of a model there is none.

        Where the baselines have no windows on that backend, it is that of the backend that speaks for them.
        """
        at = self.baseline.at[batch_size]
        return (at.on[backend].own.get(board.name) if backend in at.on else None) or at.own.get(board.name)

    def controls(self, board: Board, backends: Sequence[str], batch_size: int) -> dict[str, Ratio]:
        """The A/A control of every backend on which the baselines were measured at one batch size."""
        on = self.baseline.at[batch_size].on
        return {name: on[name].own[board.name] for name in backends if board.name in on[name].own}


def tabulate(
    attempts: Sequence[Attempt],
    trials: Sequence[Trial],
    *,
    truths: Truths,
    pooled: Iterable[tuple[str, ...]],
    boards: Sequence[Board],
    backends: Sequence[str],
    batch_sizes: Sequence[int],
) -> Table:
    """Compute the table of one study; ``pooled`` are the attempts of each setting that the benchmark pooled."""
    baselines = {trial.seed: trial for trial in trials if trial.technique == BASELINE}
    seeds = sorted(baselines)
    ordered = [baselines[seed] for seed in seeds]
    itself = [(trial, trial) for trial in ordered]
    settings, judged = pairs_of(trials, _settings(trials), baselines), pairs_of(trials, pooled, baselines)
    lines = {
        _keys(pairs): line_of(pairs, seeds, truths=truths, boards=boards, backends=backends, batch_sizes=batch_sizes)
        for pairs in {_keys(pairs): pairs for pairs in (itself, *settings.values(), *judged.values())}.values()
    }
    return Table(
        baseline=lines[_keys(itself)],
        settings=tuple(lines[_keys(pairs)] for pairs in settings.values()),
        of_attempts={attempt_keys: lines[_keys(pairs)] for attempt_keys, pairs in judged.items()},
        of_trials=lines,
        costs={one.name: {size: baseline_cost(ordered, one, size) for size in batch_sizes} for one in boards},
        speeds={size: _speeds(ordered, backends, size) for size in batch_sizes},
        references={size: _references(trials, size) for size in batch_sizes},
        making={name: making_total(attempts, name) for name in dict.fromkeys(one.technique for one in attempts)},
        screened=tuple(_screened(attempts, boards)),
        windows=tuple(_windows(trials, backends[0], batch_sizes[0])),
        proxies=frozenset(name for trial in trials for name in trial.proxies),
        components={one.name: components(trials, one.name) for one in boards if not one.needs_real},
        unknown={one.name: why for one in boards if (why := why_unknown(attempts, trials, one)) is not None},
    )


def _settings(trials: Sequence[Trial]) -> list[tuple[str, ...]]:
    """The attempts of each setting of a technique that was tested, in the order of the tests."""
    groups: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for trial in trials:
        if trial.technique != BASELINE:
            groups[setting_key(trial.technique, trial.knobs)][trial.attempt] = None
    return [tuple(attempts) for attempts in groups.values()]


def pairs_of(
    trials: Sequence[Trial], settings: Iterable[tuple[str, ...]], baselines: Mapping[int, Trial]
) -> dict[tuple[str, ...], Pairs]:
    """(baseline, candidate) trials of each setting by seed; a setting with none is left out."""
    of_attempt: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.seed in baselines:
            of_attempt[trial.attempt].append(trial)
    chosen = {keys: [trial for key in keys for trial in of_attempt.get(key, ())] for keys in settings}
    return {
        keys: [(baselines[trial.seed], trial) for trial in sorted(found, key=lambda trial: trial.seed)]
        for keys, found in chosen.items()
        if found
    }


def _keys(pairs: Pairs) -> tuple[str, ...]:
    return tuple(trial.key for _, trial in pairs)


def why_unknown(attempts: Sequence[Attempt], trials: Sequence[Trial], board: Board) -> str | None:
    """Why nobody knows the joules of a board, as its quantities say: no counter, or a model of seconds alone."""
    if board.cost.startswith("model:"):
        return _why_not_modelled(attempts, trials, board.name)
    if board.cost != "joules":
        return None
    quantities = [timing.joules for trial in trials for timing in trial.timings]
    quantities += [attempt.joules for attempt in attempts]
    if any(quantity.value is not None for quantity in quantities):
        return None
    reason = next((quantity.reason for quantity in quantities if quantity.reason), "no energy counter was read")
    return f"Empty: joules were not measured here ({reason}). A model stands in for a measurement nowhere."


def _why_not_modelled(attempts: Sequence[Attempt], trials: Sequence[Trial], model: str) -> str | None:
    quantities = [report.joules for trial in trials if (report := energy_of(trial, model)) is not None]
    quantities += [attempt.models[model] for attempt in attempts if model in attempt.models]
    if not quantities or any(quantity.value is not None for quantity in quantities):
        return None
    reason = next((quantity.reason for quantity in quantities if quantity.reason), "it gives no reason")
    return f"Empty: {model} knows no joules ({reason})."


def _references(trials: Sequence[Trial], batch_size: int) -> tuple[str, ...]:
    homes = [home_timing(trial, batch_size) for trial in trials]
    return references([timing for timing in homes if timing is not None])


def _speeds(baselines: Sequence[Trial], backends: Sequence[str], batch_size: int) -> dict[str, float]:
    """Seconds per input of the fp32 baseline: of its windows, or of the screening where it has none."""
    homes = [timing for trial in baselines if (timing := home_timing(trial, batch_size)) is not None]
    speeds = {}
    for name in backends:
        timings = [timing_at(trial, name, batch_size) for trial in baselines]
        values = [t.seconds.value for t in timings if t is not None and t.seconds.value is not None]
        values = values or [home.screening[name] for home in homes if name in home.screening]
        if values:
            speeds[name] = float(np.mean(values))
    return speeds


def _screened(attempts: Sequence[Attempt], boards: Sequence[Board]) -> Iterator[Screened]:
    """Every attempt whose baseline was screened too, by the costs and the accuracy of the same pair."""
    references: dict[int, Attempt] = {}
    for attempt in attempts:
        if attempt.technique == BASELINE:
            references.setdefault(attempt.seed, attempt)
    for attempt in attempts:
        reference = references.get(attempt.seed)
        if reference is None or attempt.technique == BASELINE:
            continue
        costs = {board.name: (cost_of(reference, board), cost_of(attempt, board)) for board in boards}
        yield Screened(
            technique=attempt.technique,
            knobs=attempt.knobs,
            seed=attempt.seed,
            execution=attempt.execution,
            costs={name: (before, after) for name, (before, after) in costs.items() if before and after},
            points=metric_change(reference.score, attempt.score),
        )


def metric_change(reference: Score | None, score: Score | None) -> float | None:
    """Difference of two scores in points."""
    return None if reference is None or score is None else 100.0 * (score.value - reference.value)


def _windows(trials: Sequence[Trial], backend: str, batch_size: int) -> Iterator[Windows]:
    for trial in trials:
        timing = timing_at(trial, backend, batch_size)
        if timing is not None and timing.blocks:
            yield Windows(technique=trial.technique, knobs=trial.knobs, seed=trial.seed, timing=timing)
