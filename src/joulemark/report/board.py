"""Boards as data: who is ranked where, at which cost, and who is not and why.

One board answers one question (measured joules, measured seconds, or one energy model); boards are never mixed. Page
and terminal draw the same :class:`~joulemark.report.rows.BoardView`.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

import msgspec

from joulemark.judging.losses import Truths, scored_by
from joulemark.judging.rules import (
    BASELINE,
    Board,
    Candidate,
    boards,
    candidates,
    level_of,
    nearest,
    why_ineligible,
    winner,
)
from joulemark.record import Attempt, Failure, FreeTrial, Ratio, Record, Timing, Trial, Truth
from joulemark.report.control import control_of, controls, unsteady_flags
from joulemark.report.costs import (
    Loss,
    MakingTotal,
    baseline_cost,
    board_ratio,
    energy_of,
    home_timing,
    making_total,
    measure_loss,
    own_ratio,
    seed_ratios,
)
from joulemark.report.rows import BoardView, Row
from joulemark.report.standing import by_seed, places
from joulemark.report.words import meter_flag

T = TypeVar("T")


class Results(Record, frozen=True, kw_only=True, dict=True):
    """Everything known of one task on one hardware class. The first backend and batch size are the headline ones."""

    suite_name: str
    task_title: str
    hardware_class: str
    limits_points: Sequence[float]
    models: Sequence[str]
    backends: Sequence[str]
    batch_sizes: Sequence[int]
    command: str
    attempts: Sequence[Attempt]
    trials: Sequence[Trial]
    failures: Sequence[Failure] = ()
    damaged: Sequence[tuple[str, str]] = ()  # path and reason, as the store set them aside
    unsealed: Collection[str] = frozenset()  # keys of records that carry no seal: older than seals, or edited
    free: Sequence[FreeTrial] = ()  # what costs nothing
    truths: Mapping[str, Truth] = {}  # what scores are judged by, by key
    folder: str = ""  # where the records lie; empty: nowhere

    @functools.cached_property
    def boards(self) -> tuple[Board, ...]:
        """The boards of the suite."""
        return boards(self.models)

    @functools.cached_property
    def baselines(self) -> dict[int, Trial]:
        """The baseline trial of each seed."""
        return {trial.seed: trial for trial in self.trials if trial.technique == BASELINE}

    @functools.cached_property
    def techniques(self) -> tuple[str, ...]:
        """Every technique tried, sorted; the place in this list is its colour everywhere."""
        tried = {attempt.technique for attempt in self.attempts} | {failure.technique for failure in self.failures}
        return tuple(sorted(tried - {BASELINE}))

    @functools.cached_property
    def attempts_of(self) -> dict[str, list[Attempt]]:
        """The attempts of each technique."""
        return _grouped([(attempt.technique, attempt) for attempt in self.attempts])

    @functools.cached_property
    def trials_of(self) -> dict[str, list[Trial]]:
        """The trials of each attempt, by its key."""
        return _grouped([(trial.attempt, trial) for trial in self.trials])

    @functools.cached_property
    def pool(self) -> dict[str, list[Candidate]]:
        """The settings of each technique, seeds pooled, as the benchmark judged them."""
        return _grouped([(one.technique, one) for one in candidates(self.attempts, self.boards, truths=self.truths)])

    @functools.cached_property
    def metric_title(self) -> str:
        """What the task's nets are judged by, in words."""
        scores = [attempt.score for attempt in self.attempts if attempt.score is not None]
        scores += [score for trial in self.trials for score in trial.scores.values()]
        return scored_by(scores).title if scores else "accuracy"


def _grouped(pairs: Sequence[tuple[str, T]]) -> dict[str, list[T]]:
    groups: dict[str, list[T]] = defaultdict(list)
    for name, one in pairs:
        groups[name].append(one)
    return dict(groups)


def build_board(results: Results, board: Board, limit_points: float, batch_size: int | None = None) -> BoardView:
    """Draw up one board at one accuracy limit from records, at the first batch size or a given one.

    The winners are chosen on validation exactly as the benchmark chose them; test scores only add a flag. At another
    batch size they are the same winners.
    """
    refuse_mixture(results)
    batch_size = batch_size or results.batch_sizes[0]
    baselines = list(results.baselines.values())
    cost = baseline_cost(baselines, board, batch_size)
    empty = why_nothing_known(results, board)
    ranked: list[Row] = []
    apart: list[Row] = []
    if empty is None:
        for technique in results.techniques:
            pool = results.pool.get(technique, [])
            row = technique_row(results, pool, technique, board, limit_points, batch_size)
            (ranked if row.status == "ranked" else apart).append(row)
    rows = with_ranks(results, ranked, board, cost, batch_size)
    rows.append(baseline_row(results, board, cost, batch_size))
    rows.sort(key=lambda row: (-(row.ratio.value if row.ratio else 0.0), row.status != "baseline", row.technique))
    apart.sort(key=lambda row: (row.status == "failed", row.validation.bound if row.validation else 0.0, row.technique))
    if empty is None and not ranked:
        empty = f"No technique is ranked at a limit of {limit_points:g} points; the reasons stand below."
    return BoardView(
        board=board,
        limit_points=limit_points,
        backend=results.backends[0],
        batch_size=batch_size,
        baseline_cost=cost,
        reference=references(results.trials, batch_size) if board.needs_real else (),
        controls=controls(baselines, board, results.backends, batch_size),
        rows=tuple(rows) if cost is not None or ranked else (),
        ineligible=tuple(apart),
        note=empty,
        metric=results.metric_title,
    )


def other_views(results: Results, limit_points: float) -> list[BoardView]:
    """The measured boards at every batch size but the first, those that have rows; the winners are those of the first.

    A first batch size of 1 is latency, a larger one throughput.
    """
    measured = [board for board in results.boards if board.needs_real]
    views = [build_board(results, board, limit_points, size) for size in results.batch_sizes[1:] for board in measured]
    return [view for view in views if view.ranked]


def refuse_mixture(results: Results) -> None:
    """Refuse records of several hardware classes or several versions of a task: their ratios do not compare."""
    classes = {trial.hardware_class for trial in results.trials} | {results.hardware_class}
    classes |= {attempt.provenance.machine.hardware_class for attempt in results.attempts}
    if len(classes) > 1:
        raise ValueError(f"one board cannot compare hardware classes: {', '.join(sorted(classes))}")
    keys = {attempt.task_key for attempt in results.attempts} | {trial.task_key for trial in results.trials}
    if len(keys) > 1:
        raise ValueError(f"one board cannot compare versions of a task: keys {', '.join(sorted(keys))}")


def why_nothing_known(results: Results, board: Board) -> str | None:
    """Why nobody knows the joules of a board, as its quantities say: no counter, or a model of seconds alone."""
    if board.cost.startswith("model:"):
        return _why_nothing_modelled(results, board.name)
    if board.cost != "joules":
        return None
    quantities = [timing.joules for trial in results.trials for timing in trial.timings]
    quantities += [attempt.joules for attempt in results.attempts]
    if any(quantity.value is not None for quantity in quantities):
        return None
    reason = next((quantity.reason for quantity in quantities if quantity.reason), "no energy counter was read")
    return f"Empty: joules were not measured here ({reason}). A model stands in for a measurement nowhere."


def _why_nothing_modelled(results: Results, model: str) -> str | None:
    quantities = [report.joules for trial in results.trials if (report := energy_of(trial, model)) is not None]
    quantities += [attempt.models[model] for attempt in results.attempts if model in attempt.models]
    if not quantities or any(quantity.value is not None for quantity in quantities):
        return None
    reason = next((quantity.reason for quantity in quantities if quantity.reason), "it gives no reason")
    return f"Empty: {model} knows no joules ({reason})."


def references(trials: Sequence[Trial], batch_size: int) -> tuple[str, ...]:
    """Backends of the baselines that the headline divides by at a batch size: one, unless the screenings disagree.

    None of them for older records, whose ratios are within one backend.
    """
    timings = [home_timing(trial, batch_size) for trial in trials]
    return tuple(sorted({timing.reference for timing in timings if timing is not None and timing.reference}))


def technique_row(
    results: Results, pool: Sequence[Candidate], technique: str, board: Board, limit_points: float, batch_size: int
) -> Row:
    """Show the winner of a technique if it has one, else its nearest setting with the reason."""
    making = making_total(results.attempts_of.get(technique, []), technique)
    chosen = winner(pool, technique, board, limit_points)
    if chosen is not None:
        return winner_row(results, chosen, board, limit_points, making, batch_size)
    closest = nearest(pool, technique)
    if closest is None:
        failures = [failure for failure in results.failures if failure.technique == technique]
        reason = f"failed: {failures[0].reason}" if failures else "no finished attempt beside a baseline of its seed"
        knobs = failures[0].knobs if failures else {}
        seeds = tuple(sorted({failure.seed for failure in failures}))
        return Row(technique=technique, status="failed", knobs=knobs, seeds=seeds, making=making, reason=reason)
    return Row(
        technique=technique,
        status="ineligible",
        knobs=closest.knobs,
        seeds=closest.seeds,
        validation=validation_loss(closest),
        execution="real" if closest.real else "simulated",
        making=making,
        flags=(*failure_flags(results, technique), *seal_flags(results, closest.attempts)),
        reason=why_ineligible(closest, board, limit_points),
    )


def winner_row(
    results: Results, chosen: Candidate, board: Board, limit_points: float, making: MakingTotal, batch_size: int
) -> Row:
    """Show a winner with what its trials say; untested, or if it turns out simulated, it is not ranked."""
    pairs = trial_pairs(results, chosen.attempts)
    ratios = {other.name: board_ratio(pairs, other, batch_size) for other in results.boards}
    homes = [home_timing(candidate, batch_size) for _, candidate in pairs]
    backend = next((timing.backend for timing in homes if timing is not None), results.backends[0])
    test = tested_loss(pairs, backend, results.truths)
    status, reason = "ranked", None
    execution, why = executed(homes) or ("real" if chosen.real else "simulated", chosen.reason)
    if ratios[board.name] is None:
        status = "untested"
        reason = "tested, but with too few blocks for an interval" if pairs else "chosen on validation, not tested yet"
    elif board.needs_real and execution != "real":
        status, reason = "ineligible", f"simulated: {why or 'no kernel runs it'}"
    return Row(
        technique=chosen.technique,
        status=status,
        knobs=chosen.knobs,
        seeds=tuple(candidate.seed for _, candidate in pairs) or chosen.seeds,
        ratio=ratios[board.name],
        same_backend=own_ratio(homes, board) if board.needs_real else None,
        backend=backend if board.needs_real else None,
        ratios={name: ratio for name, ratio in ratios.items() if ratio is not None},
        test=test,
        validation=validation_loss(chosen),
        execution=execution,
        making=making,
        nets=tuple(candidate.net for _, candidate in pairs),
        trials=tuple(candidate.key for _, candidate in pairs),
        flags=(
            *winner_flags(results, chosen, test, len(pairs), limit_points),
            *missing_flags(pairs, board, batch_size),
            *(unsteady_flags([candidate for _, candidate in pairs], batch_size) if board.needs_real else ()),
            *meter_flags(homes, board),
            *seal_flags(results, chosen.attempts, [trial for pair in pairs for trial in pair]),
        ),
        reason=reason,
        control=control_of(list(results.baselines.values()), board, backend, batch_size),
    )


def missing_flags(pairs: Sequence[tuple[Trial, Trial]], board: Board, batch_size: int) -> tuple[str, ...]:
    """Say of a row whose ratio is not of all its seeds how many it is of."""
    known = len(seed_ratios(pairs, board, batch_size))
    what = "measured" if board.needs_real else "modelled"
    return (f"{known} of {len(pairs)} seeds {what}",) if 0 < known < len(pairs) else ()


def winner_flags(
    results: Results, chosen: Candidate, test: Loss | None, tested: int, limit_points: float
) -> tuple[str, ...]:
    """List what a reader must know about a winner beside its numbers."""
    flags = []
    if test is not None and test.bound > limit_points:
        flags.append(f"test bound {test.bound:.2f} exceeds the limit")
    if 0 < tested < len(chosen.seeds):
        flags.append(f"{tested} of {len(chosen.seeds)} seeds tested")
    if tested == 1:
        flags.append("one seed")
    return (*flags, *failure_flags(results, chosen.technique))


def failure_flags(results: Results, technique: str) -> tuple[str, ...]:
    """How often a technique that otherwise finished did fail."""
    count = sum(failure.technique == technique for failure in results.failures)
    return (f"{count} failed {'step' if count == 1 else 'steps'}",) if count else ()


def meter_flags(homes: Sequence[Timing | None], board: Board) -> tuple[str, ...]:
    """On the board of measured joules, what the meter said of the windows; the page tells what each word means."""
    if board.cost != "joules":
        return ()
    told = dict.fromkeys(flag for timing in homes if timing is not None for flag in timing.joules.flags)
    return (f"meter: {', '.join(meter_flag(flag) for flag in told)}",) if told else ()


def seal_flags(results: Results, attempts: Sequence[str], trials: Sequence[Trial] = ()) -> tuple[str, ...]:
    """Say of a row that nobody can tell whether its records are as they were stored."""
    keys = {*attempts, *(trial.key for trial in trials), *(trial.attempt for trial in trials)}
    return () if keys.isdisjoint(results.unsealed) else ("unsealed",)


def trial_pairs(results: Results, attempts: Sequence[str]) -> list[tuple[Trial, Trial]]:
    """(baseline, candidate) trials of the same seeds for a setting's attempts, by seed."""
    references = results.baselines
    found = [trial for key in attempts for trial in results.trials_of.get(key, [])]
    chosen = [trial for trial in found if trial.seed in references]
    return [(references[trial.seed], trial) for trial in sorted(chosen, key=lambda trial: trial.seed)]


def executed(timings: Sequence[Timing | None]) -> tuple[str, str | None] | None:
    """How the trials really ran (one simulated seed makes the row simulated), and why not for real."""
    known = [timing for timing in timings if timing is not None]
    if not known:
        return None
    worst = next((timing for timing in known if timing.execution != "real"), known[0])
    return worst.execution, worst.reason


def tested_loss(pairs: Sequence[tuple[Trial, Trial]], backend: str, truths: Truths) -> Loss | None:
    """Loss on the test images of the compiled objects that were timed."""
    scores = [(b.scores[backend], c.scores[backend]) for b, c in pairs if backend in b.scores and backend in c.scores]
    return measure_loss([b for b, _ in scores], [c for _, c in scores], truths) if scores else None


def validation_loss(candidate: Candidate) -> Loss:
    """Loss on the validation images, which is what choices are made on, with the bounds that they are made by."""
    return Loss(
        value=candidate.value,
        points=candidate.loss_points,
        bound=candidate.bound_points,
        best=candidate.floor_points,
        level=level_of(candidate.settings),
    )


def with_ranks(results: Results, rows: Sequence[Row], board: Board, cost: float | None, batch_size: int) -> list[Row]:
    """Rank rows against each other, ties where they cannot be told apart, and fill in absolute costs."""
    known = [(row, row.ratio) for row in rows if row.ratio is not None]
    trials = {trial.key: trial for trial in results.trials}
    ratios = [by_seed(results.baselines, [trials[key] for key in row.trials], board, batch_size) for row, _ in known]
    ranked = places(ratios, [row.control for row, _ in known])
    return [
        msgspec.structs.replace(row, rank=place, cost=cost / ratio.value if cost is not None else None)
        for (row, ratio), place in zip(known, ranked, strict=True)
    ]


def baseline_row(results: Results, board: Board, cost: float | None, batch_size: int) -> Row:
    """Show the baseline itself, on its fastest backend: ratio 1 by definition, unranked."""
    trials = sorted(results.baselines.values(), key=lambda trial: trial.seed)
    return Row(
        technique=BASELINE,
        status="baseline",
        knobs={},
        seeds=tuple(trial.seed for trial in trials),
        ratio=Ratio(value=1.0, low=1.0, high=1.0, count=len(trials)),
        cost=cost,
        backend=" or ".join(references(trials, batch_size)) or None if board.needs_real else None,
        flags=(
            *(unsteady_flags(trials, batch_size) if board.needs_real else ()),
            *meter_flags([home_timing(trial, batch_size) for trial in trials], board),
            *seal_flags(results, (), trials),
        ),
        test=tested_loss([(trial, trial) for trial in trials], results.backends[0], results.truths),
        execution="real",
        making=making_total(results.attempts_of.get(BASELINE, []), BASELINE),
        nets=tuple(trial.net for trial in trials),
        trials=tuple(trial.key for trial in trials),
    )
