"""One line of the table: every figure of one tested setting, seeds pooled, computed once from its trials.

The boards and the tables beside them read these lines, and never the trials again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from joulemark.judging.losses import Truths
from joulemark.judging.rules import Board
from joulemark.judging.stability import CONTROL_WARNINGS, control_warnings
from joulemark.judging.statistics import combine_ratios
from joulemark.record import Ratio, Record, Score, Timing, Trial
from joulemark.report.by_layer import Stacks, convolutions_left, mean_layers
from joulemark.report.costs import (
    Loss,
    headline_ratio,
    home_timing,
    measure_loss,
    own_ratio,
    seed_ratio,
    timing_at,
)
from joulemark.task import BASELINE

ITSELF = Ratio(value=1.0, low=1.0, high=1.0, count=1)
"""The baseline's ratio to itself, by definition."""

Pairs = Sequence[tuple[Trial, Trial]]
"""(baseline, candidate) of one setting, by seed."""


class OnBackend(Record, frozen=True, kw_only=True):
    """A setting on one backend at one batch size. The ratios are by measured board."""

    own: dict[str, Ratio]  # over the baseline on this backend
    headline: dict[str, Ratio]  # as the board ranks; left out where a seed lacks it
    executions: tuple[str | None, ...]  # "real" or "simulated", seed by seed; None: not timed

    @property
    def real(self) -> bool:
        """Whether every seed that was timed ran on real kernels."""
        timed = [execution for execution in self.executions if execution is not None]
        return bool(timed) and all(execution == "real" for execution in timed)


class AtBatch(Record, frozen=True, kw_only=True):
    """A setting at one batch size, on the backends that speak for its seeds. The ratios are by board."""

    home: str | None  # the backend of the first seed that was timed
    execution: str | None  # one simulated seed makes it "simulated"; None: not timed
    reason: str | None  # why it is simulated
    by_seed: dict[str, tuple[Ratio | None, ...]]  # a place for each seed of the baselines, in order
    ratios: dict[str, Ratio]  # pooled over the seeds that have one
    own: dict[str, Ratio]  # measured boards: over the baseline on the same backend
    on: dict[str, OnBackend]  # every backend
    denominators: dict[int, str]  # seed -> backend of the baseline that its measured ratios divide by
    references: tuple[str, ...]  # the fastest fp32 backends among them; none of older records
    unsteady: tuple[str, ...]  # what made the machine unsteady, by name
    meter_flags: tuple[str, ...]  # what a meter said of the joules


class Proxy(Record, frozen=True, kw_only=True):
    """One proxy of the baselines and of the nets, seed by seed; None: not known."""

    before: tuple[float | None, ...]
    after: tuple[float | None, ...]

    @property
    def mean(self) -> float | None:
        """Mean over the nets; ``None`` where one of them lacks it."""
        known = [value for value in self.after if value is not None]
        return fmean(known) if known and len(known) == len(self.after) else None

    @property
    def ratio(self) -> float | None:
        """How many times smaller it became: geometric mean over seeds of baseline / net."""
        pairs = list(zip(self.before, self.after, strict=True))
        logs = [np.log(before / after) for before, after in pairs if before and after]
        return float(np.exp(np.mean(logs))) if logs and len(logs) == len(pairs) else None


NO_PROXY = Proxy(before=(), after=())
"""One that no record has."""


class Line(Record, frozen=True, kw_only=True):
    """One setting of a technique that was measured and tested, or the baseline itself."""

    technique: str
    knobs: tuple[dict[str, Any], ...]
    seeds: tuple[int, ...]
    trials: tuple[str, ...]  # keys
    nets: tuple[str, ...]  # hashes
    records: frozenset[str]  # keys of all records behind it, the baselines' too
    scores: dict[str, dict[int, Score]]  # backend -> seed -> test score
    losses: dict[str, Loss]  # backend -> loss on the test images of the object that was timed there
    proxies: dict[str, Proxy]
    convolutions: dict[str, float | None]  # path -> share of its MACs left; None: cannot be told
    layers: dict[str, tuple[Stacks, Stacks]]  # energy model -> of the baselines, of the nets
    at: dict[int, AtBatch]  # batch size -> figures


def line_of(
    pairs: Pairs,
    seeds: Sequence[int],
    *,
    truths: Truths,
    boards: Sequence[Board],
    backends: Sequence[str],
    batch_sizes: Sequence[int],
) -> Line:
    """Draw up the line of one setting; ``seeds`` are those of all baselines, in order."""
    trials = [trial for _, trial in pairs]
    names = dict.fromkeys(name for pair in pairs for trial in pair for name in trial.proxies)
    scored = dict.fromkeys(name for trial in trials for name in trial.scores)
    losses = {name: tested_loss(pairs, name, truths) for name in scored}
    models = [board.name for board in boards if not board.needs_real]
    return Line(
        technique=trials[0].technique if trials else BASELINE,
        knobs=trials[0].knobs if trials else (),
        seeds=tuple(trial.seed for trial in trials),
        trials=tuple(trial.key for trial in trials),
        nets=tuple(trial.net for trial in trials),
        records=frozenset(key for pair in pairs for trial in pair for key in (trial.key, trial.attempt)),
        scores={name: {t.seed: t.scores[name] for t in trials if name in t.scores} for name in scored},
        losses={name: loss for name, loss in losses.items() if loss is not None},
        proxies={
            name: Proxy(
                before=tuple(baseline.proxies.get(name) for baseline, _ in pairs),
                after=tuple(trial.proxies.get(name) for trial in trials),
            )
            for name in names
        },
        convolutions=convolutions_left(pairs),
        layers={name: (mean_layers([b for b, _ in pairs], name), mean_layers(trials, name)) for name in models},
        at={size: at_batch(pairs, seeds, boards, backends, size) for size in batch_sizes},
    )


def tested_loss(pairs: Pairs, backend: str, truths: Truths) -> Loss | None:
    """Loss on the test images of the compiled objects that were timed."""
    scores = [(b.scores[backend], c.scores[backend]) for b, c in pairs if backend in b.scores and backend in c.scores]
    return measure_loss([b for b, _ in scores], [c for _, c in scores], truths) if scores else None


def at_batch(
    pairs: Pairs, seeds: Sequence[int], boards: Sequence[Board], backends: Sequence[str], batch_size: int
) -> AtBatch:
    """The figures of one setting at one batch size."""
    trials = [trial for _, trial in pairs]
    homes = [(trial, timing) for trial in trials if (timing := home_timing(trial, batch_size)) is not None]
    timed = [timing for _, timing in homes]
    worst = next((timing for timing in timed if timing.execution != "real"), timed[0] if timed else None)
    by_seed = {board.name: ratios_by_seed(pairs, seeds, board, batch_size) for board in boards}
    measured = [board for board in boards if board.needs_real]
    here = (timing.backend for trial in trials for timing in trial.timings if timing.batch_size == batch_size)
    return AtBatch(
        home=timed[0].backend if timed else None,
        execution=worst.execution if worst is not None else None,
        reason=worst.reason if worst is not None else None,
        by_seed=by_seed,
        ratios=_known({name: combine_ratios([one for one in row if one is not None]) for name, row in by_seed.items()}),
        own=_known({board.name: own_ratio(timed, board) for board in measured}),
        on={name: on_backend(trials, measured, name, batch_size) for name in dict.fromkeys([*backends, *here])},
        denominators={trial.seed: timing.reference or timing.backend for trial, timing in homes},
        references=references(timed),
        unsteady=unsteady(trials, homes),
        meter_flags=tuple(dict.fromkeys(flag for timing in timed for flag in timing.joules.flags)),
    )


def on_backend(trials: Sequence[Trial], measured: Sequence[Board], backend: str, batch_size: int) -> OnBackend:
    """The figures of one setting on one backend."""
    timings = [timing_at(trial, backend, batch_size) for trial in trials]
    return OnBackend(
        own=_known({board.name: own_ratio(timings, board) for board in measured}),
        headline=_known({board.name: _of_every_seed(timings, board) for board in measured}),
        executions=tuple(timing.execution if timing is not None else None for timing in timings),
    )


def _of_every_seed(timings: Sequence[Timing | None], board: Board) -> Ratio | None:
    """The board's ratio over all seeds; ``None`` where one of them lacks it."""
    ratios = [headline_ratio(timing, board) for timing in timings if timing is not None]
    known = [ratio for ratio in ratios if ratio is not None]
    return combine_ratios(known) if len(known) == len(timings) else None


def ratios_by_seed(pairs: Pairs, seeds: Sequence[int], board: Board, batch_size: int) -> tuple[Ratio | None, ...]:
    """The ratios that a board ranks by, a place for each of the seeds; the baseline's to itself is 1 by definition."""
    ratios = {
        trial.seed: ITSELF if trial.technique == BASELINE else seed_ratio(baseline, trial, board, batch_size)
        for baseline, trial in pairs
    }
    return tuple(ratios.get(seed) for seed in seeds)


def references(timings: Iterable[Timing]) -> tuple[str, ...]:
    """Backends of the baselines that headlines divide by: one, unless the screenings disagree.

    None of them for older records, whose ratios are within one backend.
    """
    return tuple(sorted({timing.reference for timing in timings if timing.reference}))


def unsteady(trials: Sequence[Trial], homes: Sequence[tuple[Trial, Timing]]) -> tuple[str, ...]:
    """Name what made the machine unsteady while a setting was measured; the page has the sentences.

    A record names what is wrong with the A/A control of the headline; here it is that of this batch size.
    """
    names = dict.fromkeys(name for trial in trials for name in trial.warnings if name not in CONTROL_WARNINGS)
    controls = [timing for trial, timing in homes if trial.technique == BASELINE]
    return tuple(names | dict.fromkeys(name for timing in controls for name in control_warnings(timing)))


def _known(ratios: Mapping[str, Ratio | None]) -> dict[str, Ratio]:
    return {name: ratio for name, ratio in ratios.items() if ratio is not None}
