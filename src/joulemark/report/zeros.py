"""Unstructured zeros, three ways: what a dense kernel, a sparse kernel and a modelled accelerator make of one net."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import msgspec
from rich.markup import escape

from joulemark.judging.rules import Board
from joulemark.judging.statistics import combine_ratios
from joulemark.record import Ratio, Record, Timing, Trial
from joulemark.report.board import Results, references, tested_loss
from joulemark.report.costs import Loss, board_ratio, headline_ratio, own_ratio, timing_at
from joulemark.report.table import RowsOrBlocks
from joulemark.report.tested import settings_tested
from joulemark.report.words import backend_name, interval, knobs, points, times

TITLE = "Unstructured zeros, three ways"
SPARSE = "sparse"
"""Name of the backend whose kernels leave zeros out."""
UNKNOWN = "not measured"


class ZerosRow(Record, frozen=True, kw_only=True):
    """One tested net with unstructured zeros at one batch size, seeds pooled as on the boards."""

    technique: str
    knobs: dict[str, Any]
    seeds: tuple[int, ...]
    batch_size: int
    zeros: float  # share of all parameters, 0 to 1: mean over seeds
    test: Loss | None
    reference: tuple[str, ...]  # backends of the baselines that both measured ratios divide by
    dense_backend: str
    dense: Ratio | None  # x faster; simulated. None: not measured
    dense_own: Ratio | None  # over the baseline on the dense backend itself
    sparse: Ratio | None  # x faster; real kernels
    sparse_own: Ratio | None  # over the baseline on the sparse backend itself, where nothing of it is zero
    models: dict[str, Ratio | None]  # x fewer modelled joules
    trials: tuple[str, ...]  # keys


def zeros_rows(results: Results) -> list[ZerosRow]:
    """Every tested net whose zeros the suite's first backend only multiplies, at every batch size."""
    chosen = [pairs for pairs in settings_tested(results) if all(_multiplied(results, *pair) for pair in pairs)]
    return [_row(results, pairs, size) for size in results.batch_sizes for pairs in chosen]


def _multiplied(results: Results, baseline: Trial, trial: Trial) -> bool:
    """Whether a net has more zeros than its baseline (a ReLU leaves some in any), and they are multiplied."""
    first = [timing for timing in trial.timings if timing.backend == results.backends[0]]
    before, after = zero_share(baseline), zero_share(trial)
    simulated = any(timing.execution == "simulated" for timing in first)
    return simulated and after is not None and after > (before or 0.0)


def zero_share(trial: Trial) -> float | None:
    """Share of a net's parameters that are exactly zero, biases included; ``None`` in records without the proxies."""
    parameters, left = (trial.proxies.get(name) for name in ("parameters", "nonzero_parameters"))
    return None if not parameters or left is None else 1.0 - left / parameters


def _row(results: Results, pairs: Sequence[tuple[Trial, Trial]], batch_size: int) -> ZerosRow:
    first = results.backends[0]
    seconds = next(board for board in results.boards if board.cost == "seconds")
    trials = [trial for _, trial in pairs]
    dense = [timing_at(trial, first, batch_size) for trial in trials]
    sparse = [timing_at(trial, SPARSE, batch_size) for trial in trials]
    tested = SPARSE if any(SPARSE in trial.scores for trial in trials) else first
    return ZerosRow(
        technique=trials[0].technique,
        knobs=trials[0].knobs,
        seeds=tuple(trial.seed for trial in trials),
        batch_size=batch_size,
        zeros=fmean(share for trial in trials if (share := zero_share(trial)) is not None),
        test=tested_loss(pairs, tested, results.truths),
        reference=references(trials, batch_size),
        dense_backend=first,
        dense=_pooled(dense, seconds),
        dense_own=own_ratio(dense, seconds),
        sparse=_pooled(sparse, seconds),
        sparse_own=own_ratio(sparse, seconds),
        models={one.name: board_ratio(pairs, one, batch_size) for one in results.boards if not one.needs_real},
        trials=tuple(trial.key for trial in trials),
    )


def _pooled(timings: Sequence[Timing | None], board: Board) -> Ratio | None:
    """The board's ratio over all seeds; ``None`` where one of them lacks it."""
    ratios = [headline_ratio(timing, board) for timing in timings if timing is not None]
    known = [ratio for ratio in ratios if ratio is not None]
    return combine_ratios(known) if len(known) == len(timings) else None


def explained(rows: Sequence[ZerosRow]) -> str:
    """What the three columns mean, for beneath the table."""
    divided = list(dict.fromkeys(backend_name(name) for row in rows for name in row.reference))
    over = f" Both are x faster than the fp32 baseline on {' or '.join(divided)}." if divided else ""
    return (
        f"A dense kernel ({backend_name(rows[0].dense_backend)}, simulated) multiplies a zero like any number, so about"
        " 1 is expected of it. A sparse kernel (real) leaves the zeros out and pays for finding the others."
        f"{over} Beside them stands what the zeros alone make: the baseline on the same backend as 1. A model says how"
        " many fewer joules an accelerator would use that skips zeros; a technique that asks a model asks"
        f" {next(iter(rows[0].models))}, and the others only judge."
    )


def zeros_table(results: Results) -> RowsOrBlocks | None:
    """Draw the three ways for a terminal; ``None`` where no tested net has unstructured zeros."""
    rows = zeros_rows(results)
    if not rows:
        return None
    table = RowsOrBlocks(title=TITLE, caption=escape(explained(rows)), title_justify="left", caption_justify="left")
    heads = ("batch", "technique", "zeros", "test loss", "dense kernel", "sparse kernel", *rows[0].models)
    for head in heads:
        table.add_column(escape(head), justify="left" if head == "technique" else "right", overflow="fold")
    for row in rows:
        name = f"{row.technique}\n{knobs(row.knobs)}" if row.knobs else row.technique
        table.add_row(
            str(row.batch_size),
            escape(name),
            f"{100 * row.zeros:.1f} %",
            "" if row.test is None else f"{points(row.test.points)}\n≤ {points(row.test.bound)}",
            "\n".join([told(row.dense), *beside(row, row.dense_own, row.dense_backend)]),
            "\n".join([told(row.sparse), *beside(row, row.sparse_own, SPARSE)]),
            *map(told, row.models.values()),
        )
    return table


def told(ratio: Ratio | None) -> str:
    """A ratio with its interval, or that there is none."""
    return UNKNOWN if ratio is None else f"{times(ratio.value)}\n{interval(ratio)}"


def beside(row: ZerosRow, own: Ratio | None, backend: str) -> list[str]:
    """A backend against itself, where the baseline's fastest backend is another."""
    if own is None or not row.reference or row.reference == (backend,):
        return []
    return [f"(own backend {times(own.value)})"]


def as_dicts(results: Results) -> list[dict[str, Any]]:
    """The rows as plain dicts, lists and numbers, for ``--json``."""
    return [msgspec.to_builtins(row) for row in zeros_rows(results)]
