"""What is left of each net: parameters and MACs, which papers on pruning report, beside the loss that they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from rich.markup import escape

from joulemark.record import Record
from joulemark.report.costs import Loss
from joulemark.report.line import NO_PROXY, Line
from joulemark.report.results import Results
from joulemark.report.table import RowsOrBlocks
from joulemark.report.words import points, times, with_knobs

TITLE = "What is left"
CAPTION = (
    "Parameters are those that are not zero; MACs those that a dense kernel executes, zeros included, for an input that"
    " leaves nowhere early. Convolutions: the share each executes of its MACs, first to last, or the range of many."
    " All are proxies: no joules, no seconds. Test loss: points lost on test rows, above the one-sided 95 % bound."
)
LISTED = 8
"""Of more convolutions than this only the range of the shares is told; ``--json`` has all."""


class SizesRow(Record, frozen=True, kw_only=True):
    """One tested setting, seeds pooled."""

    technique: str
    knobs: tuple[dict[str, Any], ...]
    seeds: tuple[int, ...]
    test: Loss | None
    parameters: float | None  # not zero, mean over seeds
    parameters_ratio: float | None  # baseline's over these, geometric mean over seeds
    macs: float | None  # of one input that leaves nowhere early
    macs_ratio: float | None
    convolutions: dict[str, float | None]  # path -> share of its MACs left, mean over seeds; None: cannot be told


def sizes_rows(results: Results) -> list[SizesRow]:
    """Every setting that was tested."""
    return [_row(line, results.backends) for line in results.table.settings]


def _row(line: Line, backends: Sequence[str]) -> SizesRow:
    home = next((name for name in backends if name in line.scores), None)
    parameters, macs = (line.proxies.get(name, NO_PROXY) for name in ("nonzero_parameters", "macs"))
    return SizesRow(
        technique=line.technique,
        knobs=line.knobs,
        seeds=line.seeds,
        test=None if home is None else line.losses.get(home),
        parameters=parameters.mean,
        parameters_ratio=parameters.ratio,
        macs=macs.mean,
        macs_ratio=macs.ratio,
        convolutions=line.convolutions,
    )


def sizes_table(results: Results) -> RowsOrBlocks | None:
    """Draw it for a terminal; ``None`` where nothing was tested."""
    rows = sizes_rows(results)
    if not rows:
        return None
    table = RowsOrBlocks(title=TITLE, caption=CAPTION, title_justify="left", caption_justify="left")
    for head in ("technique", "test loss", "parameters", "MACs", "convolutions"):
        table.add_column(head, justify="left" if head in ("technique", "convolutions") else "right", overflow="fold")
    for row in rows:
        name = with_knobs(row.technique, row.knobs)
        table.add_row(
            escape(name),
            "" if row.test is None else f"{points(row.test.points)}\n≤ {points(row.test.bound)}",
            *("\n".join(left(*pair)) for pair in ((row.parameters, row.parameters_ratio), (row.macs, row.macs_ratio))),
            shares_told(row),
        )
    return table


def left(count: float | None, ratio: float | None) -> list[str]:
    """How many there are, and how many times fewer.

    >>> left(35_000.0, 12.3), left(None, None)
    (['35,000', '12.3x fewer'], [])
    """
    fewer = [] if ratio is None else [f"{times(ratio)}x fewer"] if ratio >= 1.0 else [f"{times(1 / ratio)}x more"]
    return [] if count is None else [f"{count:,.0f}", *fewer]


def shares_told(row: SizesRow) -> str:
    """The shares of the convolutions, first to last: "25, 7.6 %"; of many the least and the greatest.

    "all" if nothing is gone, "" if nothing was recorded, "unknown" where it cannot be told what became of one.
    """
    shares = list(row.convolutions.values())
    known = [share for share in shares if share is not None]
    if not known:
        return "unknown" if shares else ""
    if all(share == 1.0 for share in shares):  # of an unknown one nobody says so
        return "all"
    if len(shares) > LISTED:
        lost = len(shares) - len(known)
        return f"{100 * min(known):.3g} to {100 * max(known):.3g} %" + (f", {lost} unknown" if lost else "")
    return ", ".join("unknown" if share is None else f"{100 * share:.3g}" for share in shares) + " %"


def as_dicts(results: Results) -> list[dict[str, Any]]:
    """The rows as plain dicts, lists and numbers, for ``--json``."""
    return [msgspec.to_builtins(row) for row in sizes_rows(results)]
