"""What is left of each net: parameters and MACs, which papers on pruning report, beside the loss that they cost."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import msgspec
from rich.markup import escape

from joulemark.record import Record, Trial
from joulemark.report.board import Results, tested_loss
from joulemark.report.costs import Loss, proxy_ratio
from joulemark.report.table import RowsOrBlocks
from joulemark.report.tested import Pairs, settings_tested
from joulemark.report.words import knobs, points, times

TITLE = "What is left"
CAPTION = (
    "Parameters are those that are not zero; MACs those that a dense kernel executes, zeros included, for an input that"
    " leaves nowhere early. Convolutions: the share each executes of its MACs, first to last, or the range of many."
    " All are proxies: no joules, no seconds."
)
LISTED = 8
"""Of more convolutions than this only the range of the shares is told; ``--json`` has all."""


class SizesRow(Record, frozen=True, kw_only=True):
    """One tested setting, seeds pooled."""

    technique: str
    knobs: dict[str, Any]
    seeds: tuple[int, ...]
    test: Loss | None
    parameters: float | None  # not zero, mean over seeds
    parameters_ratio: float | None  # baseline's over these, geometric mean over seeds
    macs: float | None  # of one input that leaves nowhere early
    macs_ratio: float | None
    convolutions: dict[str, float]  # path -> share of its MACs left, mean over seeds; empty: not known


def sizes_rows(results: Results) -> list[SizesRow]:
    """Every setting that was tested."""
    return [_row(results, pairs) for pairs in settings_tested(results)]


def _row(results: Results, pairs: Pairs) -> SizesRow:
    trials = [trial for _, trial in pairs]
    homes = [name for name in results.backends if any(name in trial.scores for trial in trials)]
    return SizesRow(
        technique=trials[0].technique,
        knobs=trials[0].knobs,
        seeds=tuple(trial.seed for trial in trials),
        test=tested_loss(pairs, homes[0], results.truths) if homes else None,
        parameters=_mean([trial.proxies.get("nonzero_parameters") for trial in trials]),
        parameters_ratio=proxy_ratio(pairs, "nonzero_parameters"),
        macs=_mean([trial.proxies.get("macs") for trial in trials]),
        macs_ratio=proxy_ratio(pairs, "macs"),
        convolutions=_convolutions(pairs),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _convolutions(pairs: Pairs) -> dict[str, float]:
    """Mean share of the baseline's convolutions over the seeds, by what the first energy model was told of each layer.

    What a convolution was rewritten into counts for it, a convolution that is gone has 0.
    """
    shares: dict[str, list[float]] = {}
    for baseline, trial in pairs:
        after = _macs(trial)
        for path, (operator, macs) in _macs(baseline).items():
            if operator == "conv" and macs and after:
                left = sum(n for name, (_, n) in after.items() if name == path or name.startswith(f"{path}."))
                shares.setdefault(path, []).append(left / macs)
    return {path: fmean(found) for path, found in shares.items() if len(found) == len(pairs)}


def _macs(trial: Trial) -> dict[str, tuple[str, float]]:
    """Operator and MACs per input of each layer that does any, in the order in which they run."""
    found: dict[str, tuple[str, float]] = {}
    for layer in trial.models[0].layers if trial.models else ():
        if layer.macs:
            found[layer.layer] = (layer.operator, layer.macs + found.get(layer.layer, ("", 0.0))[1])
    return found


def sizes_table(results: Results) -> RowsOrBlocks | None:
    """Draw it for a terminal; ``None`` where nothing was tested."""
    rows = sizes_rows(results)
    if not rows:
        return None
    table = RowsOrBlocks(title=TITLE, caption=CAPTION, title_justify="left", caption_justify="left")
    for head in ("technique", "test loss", "parameters", "MACs", "convolutions"):
        table.add_column(head, justify="left" if head in ("technique", "convolutions") else "right", overflow="fold")
    for row in rows:
        name = f"{row.technique}\n{knobs(row.knobs)}" if row.knobs else row.technique
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

    "all" if nothing is gone, "" if they are not known.
    """
    shares = list(row.convolutions.values())
    if not shares or all(share == 1.0 for share in shares):
        return "all" if shares else ""
    if len(shares) > LISTED:
        return f"{100 * min(shares):.3g} to {100 * max(shares):.3g} %"
    return ", ".join(f"{100 * share:.3g}" for share in shares) + " %"


def as_dicts(results: Results) -> list[dict[str, Any]]:
    """The rows as plain dicts, lists and numbers, for ``--json``."""
    return [msgspec.to_builtins(row) for row in sizes_rows(results)]
