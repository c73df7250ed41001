"""Two nets side by side, figure by figure; and where figures contradict each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.text import Text

from joulemark.profiling.profile import Profile
from joulemark.profiling.profile_text import PROXIES, figure
from joulemark.record import Record
from joulemark.report.table import RowsOrBlocks
from joulemark.report.words import times, with_prefix


class Line(Record, frozen=True, kw_only=True):
    """One figure of both nets."""

    figure: str
    kind: str  # "proxy" or "modelled"
    unit: str
    first: float | None
    second: float | None
    ratio: float | None  # second over first; None: not known


class Comparison(Record, frozen=True, kw_only=True):
    """Two profiles and their ratios."""

    nets: tuple[Profile, Profile]
    lines: tuple[Line, ...]
    contradictions: tuple[str, ...]


def compare(first: Profile, second: Profile) -> Comparison:
    """Put two profiles of the same models side by side."""
    lines = [
        _line(name, "proxy", unit, first.proxies.get(key), second.proxies.get(key))
        for key, (name, unit) in PROXIES.items()
    ]
    lines += [
        _line(one.model, "modelled", "J", one.joules.value, other.joules.value)
        for one, other in zip(first.models, second.models, strict=True)
    ]
    return Comparison(
        nets=(first, second), lines=tuple(lines), contradictions=tuple(_contradictions(lines, second.net))
    )


def _line(name: str, kind: str, unit: str, first: float | None, second: float | None) -> Line:
    ratio = second / first if first and second is not None else None
    return Line(figure=name, kind=kind, unit=unit, first=first, second=second, ratio=ratio)


def _contradictions(lines: list[Line], second: str) -> list[str]:
    """Figures of which one falls and another rises."""
    more = [line.figure for line in lines if line.ratio is not None and line.ratio > 1]
    less = [line.figure for line in lines if line.ratio is not None and line.ratio < 1]
    if not more or not less:
        return []
    return [f"Figures disagree about {second}: less by {', '.join(less)}; more by {', '.join(more)}."]


def as_renderables(comparison: Comparison) -> Iterator[Any]:
    """The table and the contradictions."""
    first, second = comparison.nets
    caption = f"Ratio: {second.net} over {first.net}. Modelled, not measured; proxies are not energy."
    table = RowsOrBlocks(box=SIMPLE_HEAD, pad_edge=False, caption=escape(caption), caption_justify="left")
    table.add_column("figure", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    for net in comparison.nets:
        table.add_column(Text(net.net), justify="right", overflow="fold")
    table.add_column("ratio", justify="right", no_wrap=True)
    for line in comparison.lines:
        table.add_row(*map(Text, cells(line)))
    yield table
    for sentence in comparison.contradictions:
        yield Text(sentence, style="bold")


def cells(line: Line) -> tuple[str, ...]:
    """The cells of one figure."""
    shown = [
        "unknown" if value is None else with_prefix(value, "J") if line.unit == "J" else figure(value, line.unit)
        for value in (line.first, line.second)
    ]
    return line.figure, line.kind, *shown, "" if line.ratio is None else times(line.ratio)
