"""An audit in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.text import Text

from joulemark.auditing.audit import Audit
from joulemark.auditing.trying import Tried
from joulemark.report.table import RowsOrBlocks
from joulemark.report.words import interval, times, with_prefix

MOST_LAYERS = 12


def as_renderables(audit: Audit) -> Iterator[Any]:
    """Tables and text, in the order in which they are read."""
    macs = f"{'at least ' if audit.workload.unknown else ''}{audit.workload.known_macs_per_input:,.0f} MACs"
    yield Text(f"{audit.net}: {macs} per input; {audit.images} inputs of "
               f"{'x'.join(map(str, audit.input_shape))} ({audit.inputs})")  # fmt: skip
    for note in audit.notes:
        yield Text(note, style="bold" if audit.random else "dim")
    yield _layers(audit)
    yield _tried(audit)
    yield Text(f"\n{audit.advice}\n")
    yield Text(f"The audit took {audit.seconds:.0f} s.", style="dim")


def layer_sums(audit: Audit) -> list[tuple[str, str, float, float, float]]:
    """Layer, operator, MACs per input, modelled joules per input, share of all; the heaviest first."""
    total = sum(sum(one.joules.values()) for one in audit.energy.layers) or 1.0
    rows = [(one.layer, one.operator, one.macs, sum(one.joules.values())) for one in audit.energy.layers]
    return [(*row, row[3] / total) for row in sorted(rows, key=lambda row: -row[3])]


def _layers(audit: Audit) -> RowsOrBlocks:
    total, unknown = audit.energy.joules.value, audit.workload.unknown
    caption = (
        f"{audit.energy.model}: {with_prefix(total, 'J')} per input, modelled for an accelerator, not measured and not "
        f"this machine; it describes {audit.energy.coverage:.0%} of the MACs."
    )
    caption += "".join(f" No rule for {name} ({share:.1%} of all output elements)." for name, share in unknown.items())
    caption += f" Assumes: {'; '.join(audit.energy.assumptions)}." if audit.energy.assumptions else ""
    table = RowsOrBlocks(title="Energy by layer", title_justify="left", caption=escape(caption), caption_justify="left")
    for name in ("layer", "operator", "MACs", "modelled J", "share"):
        number = name not in ("layer", "operator")
        table.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
    rows = layer_sums(audit)
    for layer, operator, macs, joules, share in rows[:MOST_LAYERS]:
        table.add_row(escape(layer), operator, f"{macs:,.0f}", with_prefix(joules, "J"), f"{share:.1%}")
    if len(rows) > MOST_LAYERS:
        rest = rows[MOST_LAYERS:]
        joules = sum(row[3] for row in rest)
        table.add_row(f"{len(rest)} more", "", f"{sum(row[2] for row in rest):,.0f}", with_prefix(joules, "J"),
                      f"{sum(row[4] for row in rest):.1%}")  # fmt: skip
    return table


def _tried(audit: Audit) -> RowsOrBlocks:
    caption = (
        f"x faster: seconds per input of {audit.baseline} over these, paired, with 95 % intervals. "
        + joules_line(audit)
    )
    table = RowsOrBlocks(
        title="What this machine gives", title_justify="left", caption=escape(caption), caption_justify="left"
    )
    for name in ("way", "x faster", "per input", "CPU-s\nper input", "same class", "output\nmoves", "note"):
        number = name not in ("way", "note")
        table.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for one in audit.tried:
        table.add_row(*map(escape, cells(one, random=audit.random)), style="dim" if one.ratio is None else None)
    return table


def joules_line(audit: Audit) -> str:
    """What is known of joules."""
    known = [one.joules for one in audit.tried if one.joules is not None]
    if any(joules.value is not None for joules in known):
        return "Joules were measured: see the notes."
    reason = next((joules.reason for joules in known if joules.reason), "no energy counter was read")
    return f"Joules were not measured ({reason})."


def cells(one: Tried, *, random: bool) -> tuple[str, ...]:
    """The cells of one way: title, ratio, seconds, CPU-seconds, same class, how far outputs move, note."""
    if one.ratio is None or one.seconds is None or one.cpu_seconds is None:
        return one.title, "", "", "", "", "", f"not measured: {one.reason}"
    notes = ["the baseline against itself (A/A)"] if one.control else []
    if one.batch_size > 1:
        notes.append("throughput, not latency")
    if one.joules_ratio is not None and one.joules is not None:
        notes.append(f"{with_prefix(one.joules.value, 'J')} per input, {interval(one.joules_ratio)} times fewer")
    near, same, moves = one.agreement, "", ""
    if near is not None and not random:
        moves = f"{near.mean_relative:.2%}\n≤ {near.largest_relative:.1%}"
        if near.same_class is not None and near.low is not None and near.high is not None:
            same = f"{near.same_class:.1%}\n{near.low:.1%} to {near.high:.1%}"
    return (
        one.title,
        f"{times(one.ratio.value)}\n{interval(one.ratio)}",
        with_prefix(one.seconds.value, "s"),
        with_prefix(one.cpu_seconds.value, "s"),
        same,
        moves,
        "; ".join(notes),
    )
