"""Boards as data: who is ranked where, at which cost, and who is not and why.

One board answers one question (measured joules, measured seconds, or one energy model); boards are never mixed. Page
and terminal draw the same :class:`~joulemark.report.rows.BoardView`. All figures are those of the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace as changed

from joulemark.judging.rules import Board, Candidate, level_of, nearest, why_ineligible, winner
from joulemark.record import Failure, Ratio
from joulemark.report.costs import Loss, MakingTotal
from joulemark.report.generations import earlier_flags, why_apart
from joulemark.report.line import AtBatch, Line
from joulemark.report.results import Results
from joulemark.report.rows import BoardView, Row
from joulemark.report.standing import places
from joulemark.report.tabulate import Table
from joulemark.report.words import in_points, meter_flag
from joulemark.task import BASELINE


def build_board(results: Results, board: Board, limit_points: float, batch_size: int | None = None) -> BoardView:
    """Draw up one board at one accuracy limit, at the first batch size or another one of the suite.

    The winners are chosen on validation exactly as the benchmark chose them; test scores only add a flag. At another
    batch size they are the same winners.
    """
    table = results.table
    batch_size = batch_size or results.batch_sizes[0]
    cost, empty = table.costs[board.name][batch_size], table.unknown.get(board.name)
    names = results.techniques if empty is None else ()
    shown = [technique_row(results, name, board, limit_points, batch_size) for name in names]
    ranked = with_ranks(table, [row for row in shown if row.status == "ranked"], board, batch_size)
    rows = [*ranked, baseline_row(results, board, batch_size)]
    rows.sort(key=lambda row: (-(row.ratio.value if row.ratio else 0.0), row.status != "baseline", row.technique))
    apart = [row for row in shown if row.status != "ranked"]
    apart.sort(key=lambda row: (row.status == "failed", row.validation.bound if row.validation else 0.0, row.technique))
    if empty is None and not ranked:
        empty = f"No technique is ranked at a limit of {in_points(limit_points)}; the reasons stand below."
    return BoardView(
        board=board,
        limit_points=limit_points,
        backend=results.backends[0],
        batch_size=batch_size,
        baseline_cost=cost,
        reference=table.references[batch_size] if board.needs_real else (),
        controls=table.controls(board, results.backends, batch_size) if board.needs_real else {},
        rows=tuple(rows) if cost is not None or ranked else (),
        ineligible=tuple(apart),
        note=empty,
        metric=results.metric_title,
        lost=results.lost_title,
        task_file=results.task_file,
    )


def other_views(results: Results, limit_points: float) -> list[BoardView]:
    """The measured boards at every batch size but the first, those that have rows; the winners are those of the first.

    A first batch size of 1 is latency, a larger one throughput.
    """
    measured = [board for board in results.boards if board.needs_real]
    views = [build_board(results, board, limit_points, size) for size in results.batch_sizes[1:] for board in measured]
    return [view for view in views if view.ranked]


def technique_row(results: Results, technique: str, board: Board, limit_points: float, batch_size: int) -> Row:
    """Show the winner of a technique if it has one, else its nearest setting with the reason."""
    pool = results.pool.get(technique, [])
    closest = winner(pool, technique, board, limit_points) or nearest(pool, technique)
    if closest is None:
        return failed_row(results, technique)
    why = why_ineligible(closest, board, limit_points)
    if why is None:
        return winner_row(results, closest, board, limit_points, batch_size)
    return Row(
        technique=technique,
        status="ineligible",
        knobs=closest.knobs,
        seeds=closest.seeds,
        validation=validation_loss(closest),
        execution="real" if closest.real else "simulated",
        making=results.table.making.get(technique),
        flags=(*failure_flags(results, technique), *record_flags(results, closest.attempts)),
        reason=why,
    )


def _why_none(failure: Failure) -> str:
    return f"{'not run' if failure.declined else 'failed'}: {failure.reason}"


def failed_row(results: Results, technique: str) -> Row:
    """Show a technique that has no setting with every figure that a choice needs."""
    failures = [failure for failure in results.failures if failure.technique == technique]
    return Row(
        technique=technique,
        status="failed",
        knobs=failures[0].knobs if failures else (),
        seeds=tuple(sorted({failure.seed for failure in failures})),
        making=results.table.making.get(technique, MakingTotal()),
        reason=_why_none(failures[0]) if failures else "no finished attempt beside a baseline of its seed",
    )


def winner_row(results: Results, chosen: Candidate, board: Board, limit_points: float, batch_size: int) -> Row:
    """Show a winner with what its trials say; untested, or if it turns out simulated, it is not ranked."""
    table = results.table
    line = table.of_attempts.get(chosen.attempts)
    at = None if line is None else line.at[batch_size]
    backend = (at.home if at is not None else None) or results.backends[0]
    row = Row(
        technique=chosen.technique,
        status="untested",
        knobs=chosen.knobs,
        seeds=chosen.seeds,
        backend=backend if board.needs_real else None,
        validation=validation_loss(chosen),
        execution="real" if chosen.real else "simulated",
        making=table.making.get(chosen.technique),
        reason="chosen on validation, not tested yet",
        control=table.control(board, backend, batch_size) if board.needs_real else None,
    )
    if line is None or at is None:
        return changed(row, flags=(*failure_flags(results, chosen.technique), *record_flags(results, chosen.attempts)))
    row = changed(
        row,
        seeds=line.seeds,
        ratio=at.ratios.get(board.name),
        same_backend=at.own.get(board.name),
        ratios=at.ratios,
        test=line.losses.get(backend),
        execution=at.execution or row.execution,
        nets=line.nets,
        trials=line.trials,
        flags=(
            *winner_flags(results, chosen, line, backend, limit_points),
            *measuring_flags(at, board, len(line.trials)),
            *seal_flags(results, (*chosen.attempts, *line.records)),
            *earlier_flags(results.generations, chosen.attempts, line.trials),
        ),
    )
    apart = why_apart(results.generations, (*chosen.attempts, *line.trials))
    if apart is not None:
        return changed(row, status="ineligible", reason=apart, ratio=None, same_backend=None, ratios={})
    if row.ratio is None:
        return changed(row, reason="tested, but with too few blocks for an interval")
    if board.needs_real and row.execution != "real":
        why = at.reason if at.execution is not None else chosen.reason
        return changed(row, status="ineligible", reason=f"simulated: {why or 'no kernel runs it'}")
    return changed(row, status="ranked", reason=None)


def baseline_row(results: Results, board: Board, batch_size: int) -> Row:
    """Show the baseline itself, on its fastest backend: ratio 1 by definition, unranked."""
    line = results.table.baseline
    at = line.at[batch_size]
    attempts = [attempt.key for attempt in results.attempts if attempt.technique == BASELINE]
    return Row(
        technique=BASELINE,
        status="baseline",
        knobs=(),
        seeds=line.seeds,
        ratio=Ratio(value=1.0, low=1.0, high=1.0, count=len(line.seeds)),
        cost=results.table.costs[board.name][batch_size],
        backend=" or ".join(at.references) or None if board.needs_real else None,
        flags=(
            *measuring_flags(at, board, 0),
            *seal_flags(results, line.records),
            *earlier_flags(results.generations, attempts, line.trials),
        ),
        test=line.losses.get(results.backends[0]),
        execution="real",
        making=results.table.making.get(BASELINE, MakingTotal()),
        nets=line.nets,
        trials=line.trials,
    )


def with_ranks(table: Table, rows: Sequence[Row], board: Board, batch_size: int) -> list[Row]:
    """Rank rows against each other, ties where they cannot be told apart, and fill in absolute costs."""
    cost = table.costs[board.name][batch_size]
    ratios = [table.of_trials[row.trials].at[batch_size].by_seed[board.name] for row in rows]
    ranked = places(ratios, [row.control for row in rows])
    return [
        changed(row, rank=place, cost=cost / row.ratio.value if cost is not None and row.ratio is not None else None)
        for row, place in zip(rows, ranked, strict=True)
    ]


def winner_flags(results: Results, chosen: Candidate, line: Line, backend: str, limit_points: float) -> tuple[str, ...]:
    """List what a reader must know about a winner beside its numbers."""
    flags = []
    test, seeds = line.losses.get(backend), len(line.trials)
    if test is not None and test.bound > limit_points:
        flags.append(f"test bound {test.bound:.2f} exceeds the limit")
    if seeds < len(chosen.seeds):
        flags.append(f"{seeds} of {len(chosen.seeds)} seeds tested")
    if seeds == 1:
        flags.append("one seed")
    return (*flags, *failure_flags(results, chosen.technique))


def measuring_flags(at: AtBatch, board: Board, seeds: int) -> tuple[str, ...]:
    """Say how many of the seeds a ratio is of if not of all, what was unsteady, and what the meter said of the joules.

    The page tells what each word means.
    """
    flags = []
    known = sum(ratio is not None for ratio in at.by_seed[board.name])
    if 0 < known < seeds:
        flags.append(f"{known} of {seeds} seeds {'measured' if board.needs_real else 'modelled'}")
    if board.needs_real and at.unsteady:
        flags.append(f"unsteady: {', '.join(at.unsteady)}")
    if board.cost == "joules" and at.meter_flags:
        flags.append(f"meter: {', '.join(map(meter_flag, at.meter_flags))}")
    return tuple(flags)


def failure_flags(results: Results, technique: str) -> tuple[str, ...]:
    """How often a technique that otherwise finished did fail."""
    count = sum(failure.technique == technique for failure in results.failures)
    return (f"{count} failed {'step' if count == 1 else 'steps'}",) if count else ()


def seal_flags(results: Results, records: Iterable[str]) -> tuple[str, ...]:
    """Say of a row that nobody can tell whether its records are as they were stored."""
    return () if frozenset(records).isdisjoint(results.unsealed) else ("unsealed",)


def record_flags(results: Results, attempts: Sequence[str]) -> tuple[str, ...]:
    """What a reader must know of the records of a setting that was not tested."""
    return (*seal_flags(results, attempts), *earlier_flags(results.generations, attempts))


def validation_loss(candidate: Candidate) -> Loss:
    """Loss on the validation images, which is what choices are made on, with the bounds that they are made by."""
    return Loss(
        value=candidate.value,
        points=candidate.loss_points,
        bound=candidate.bound_points,
        best=candidate.floor_points,
        level=level_of(candidate.settings),
    )
