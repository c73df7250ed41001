"""Unstructured zeros, three ways: what a dense kernel, a sparse kernel and a modelled accelerator make of one net."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import msgspec
from rich.markup import escape

from joulemark.record import Ratio, Record
from joulemark.report.costs import Loss
from joulemark.report.line import Line
from joulemark.report.results import Results
from joulemark.report.table import RowsOrBlocks
from joulemark.report.words import backend_name, interval, points, times, with_knobs

TITLE = "Unstructured zeros, three ways"
SPARSE = "sparse"
"""Name of the backend whose kernels leave zeros out."""
UNKNOWN = "not measured"


class ZerosRow(Record, frozen=True, kw_only=True):
    """One tested net with unstructured zeros at one batch size, seeds pooled as on the boards."""

    technique: str
    knobs: tuple[dict[str, Any], ...]
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
    first = results.backends[0]
    models = [board.name for board in results.boards if not board.needs_real]
    chosen = [line for line in results.table.settings if _multiplied(line, first)]
    return [_row(line, size, first, models) for size in results.batch_sizes for line in chosen]


def _multiplied(line: Line, backend: str) -> bool:
    """Whether every seed's net has more zeros than its baseline (a ReLU leaves some in any), and multiplies them."""
    before, after = zero_shares(line)
    executions = zip(*(at.on[backend].executions for at in line.at.values()), strict=True)
    return all(
        "simulated" in executed and share is not None and share > (reference or 0.0)
        for executed, share, reference in zip(executions, after, before, strict=True)
    )


def zero_shares(line: Line) -> tuple[list[float | None], list[float | None]]:
    """Share of the parameters that are exactly zero, biases included: of each seed's baseline, and of each net.

    ``None`` in records without the proxies.
    """
    parameters, left = (line.proxies.get(name) for name in ("parameters", "nonzero_parameters"))
    if parameters is None or left is None:
        unknown: list[float | None] = [None] * len(line.seeds)
        return unknown, unknown
    sides = (parameters.before, left.before), (parameters.after, left.after)
    before, after = (
        [None if not whole or some is None else 1.0 - some / whole for whole, some in zip(*side, strict=True)]
        for side in sides
    )
    return before, after


def _row(line: Line, batch_size: int, dense: str, models: Sequence[str]) -> ZerosRow:
    at = line.at[batch_size]
    multiplying, skipping = at.on[dense], at.on.get(SPARSE)
    return ZerosRow(
        technique=line.technique,
        knobs=line.knobs,
        seeds=line.seeds,
        batch_size=batch_size,
        zeros=fmean(share for share in zero_shares(line)[1] if share is not None),
        test=line.losses.get(SPARSE if SPARSE in line.scores else dense),
        reference=at.references,
        dense_backend=dense,
        dense=multiplying.headline.get("seconds"),
        dense_own=multiplying.own.get("seconds"),
        sparse=None if skipping is None else skipping.headline.get("seconds"),
        sparse_own=None if skipping is None else skipping.own.get("seconds"),
        models={name: at.ratios.get(name) for name in models},
        trials=line.trials,
    )


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
        name = with_knobs(row.technique, row.knobs)
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
