"""A profile in a terminal: layers with a stacked bar, models, proxies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.text import Text

from joulemark.profiling.profile import Layer, Modelled, Profile
from joulemark.report.table import RowsOrBlocks
from joulemark.report.words import times, with_prefix

BAR = 20
GLYPHS = "█▓▒░▚▖■□"
PROXIES = {
    "parameters": ("parameters", ""),
    "nonzero_parameters": ("non-zero parameters", ""),
    "macs_per_input": ("MACs per input", ""),
    "weight_bytes": ("weight bytes", "B"),
    "bytes_moved_per_input": ("bytes moved per input", "B"),
    "peak_memory_bytes": ("peak memory", "B"),
}
"""Proxies by name: in words, and their unit."""


def as_renderables(profile: Profile, *, everything: bool = False) -> Iterator[Any]:
    """Tables and text, in the order in which they are read; ``everything``: operators without MACs one by one."""
    yield Text(headline(profile), style="bold")
    for note in profile.notes:
        yield Text(note, style="dim")
    rows = [*itertools.chain(*split(profile.layers, everything=everything))]
    yield layer_table(profile, rows)
    for model in profile.models:  # the bars of several would not stand side by side in a terminal
        yield picture(model, rows)
        if model.components:
            yield Text(f"{legend(tuple(model.components))}\n", style="dim")
    yield model_table(profile)
    here = any(model.seconds is not None for model in profile.models)  # calibrated on this machine
    yield Text(f"Modelled, not measured{'' if here else ', and not this machine'}.\n", style="dim")
    yield proxy_table(profile)
    yield Text("Proxies stand in for energy; none becomes it by a factor.", style="dim")
    for line in beside(profile.models):
        yield Text(f"\n{line}")


def headline(profile: Profile) -> str:
    """The net in one line."""
    shape = "x".join(map(str, profile.input_shape))
    averaged = ", averages: rows take different ways" if profile.dynamic else ""
    kind = "random" if profile.random else "given"
    return (
        f"{profile.net}: inputs of {shape}, batch {profile.batch_size}, {profile.inputs} {kind}"
        f" {'input' if profile.inputs == 1 else 'inputs'}{averaged}"
    )


def layer_table(profile: Profile, rows: Sequence[Layer]) -> RowsOrBlocks:
    """One row a layer: shapes, bytes, and in a dynamic net the share of inputs that come there."""
    table = RowsOrBlocks(box=SIMPLE_HEAD, pad_edge=False)
    reached = ["reached by"] if profile.dynamic else []
    for position, head in enumerate(("layer", "operator", "shape", "weights", *reached, "bytes")):
        number = head in ("bytes", "reached by")
        table.add_column(head, overflow="fold", no_wrap=position == 0 or number, justify="right" if number else "left")
    for one in rows:
        shape = f"{one.input} → {one.output}" if one.input else ""
        share = [f"{min(one.rows, 1.0):.0%}" if one.input else ""] if reached else []
        table.add_row(*map(Text, [one.layer, one.operator, shape, one.weights or "", *share, short(one.bytes)]))
    return table


def picture(model: Modelled, rows: Sequence[Layer]) -> RowsOrBlocks:
    """MACs, joules, share and stacked bar of each layer that the model describes; seconds if it gives those alone."""
    times = model.seconds is not None and not model.components
    unit, head = ("s", "modelled s") if times else ("J", "modelled J")
    table = RowsOrBlocks(box=SIMPLE_HEAD, pad_edge=False, title=escape(model.model), title_justify="left")
    for name in ("layer", "MACs", head, "share", ""):
        number = name in ("MACs", head, "share")
        table.add_column(name, overflow="fold", no_wrap=name != "layer", justify="right" if number else "left")
    known = [(one, one.seconds.get(model.model) if times else joules_of(one, model.model)) for one in rows]
    largest, total = max((value or 0.0 for _, value in known), default=0.0), sum(value or 0.0 for _, value in known)
    for one, value in known:
        if value is not None:
            parts = {"seconds": value} if times else one.joules[model.model]
            drawn = bar(parts, ("seconds",) if times else tuple(model.components), largest)
            table.add_row(*map(Text, [one.layer, short(one.macs), with_prefix(value, unit), part(value, total), drawn]))
    return table


def part(value: float, total: float) -> str:
    """A share in per cent, with a digit more where it is small.

    >>> part(1, 3), part(0.02, 3), part(0.0001, 3), part(0, 0)
    ('33%', '0.7%', '<0.1%', '')
    """
    if not total:
        return ""
    share = value / total
    return f"{share:.0%}" if share >= 0.095 or not share else f"{share:.1%}" if share >= 0.0005 else "<0.1%"


def split(layers: Sequence[Layer], *, everything: bool = False) -> tuple[list[Layer], list[Layer]]:
    """Layers to be listed, and one row for each kind of the other operators, with their sums."""
    if everything:
        return list(layers), []
    sums: dict[str, list[Layer]] = {}
    for one in layers:
        if not one.macs:
            sums.setdefault(one.operator, []).append(one)
    rest = [_summed(operator, alike) for operator, alike in sums.items()]
    return [one for one in layers if one.macs], rest


def _summed(operator: str, alike: Sequence[Layer]) -> Layer:
    joules: dict[str, dict[str, float]] = {}
    seconds: dict[str, float] = {}
    for one in alike:
        for model, value in one.seconds.items():
            seconds[model] = seconds.get(model, 0.0) + value
        for model, parts in one.joules.items():
            kept = joules.setdefault(model, {})
            for part, value in parts.items():
                kept[part] = kept.get(part, 0.0) + value
    return Layer(
        layer=f"({len(alike)} x {operator})", operator=operator, input="", output="", weights=None, rows=0.0, macs=0.0,
        bytes=sum(one.bytes for one in alike), joules=joules, seconds=seconds,
    )  # fmt: skip


def joules_of(layer: Layer, model: str) -> float | None:
    """Joules that a model gives a layer; None if it does not describe it."""
    parts = layer.joules.get(model)
    return sum(parts.values()) if parts else None


def bar(parts: Mapping[str, float], components: Sequence[str], largest: float, width: int = BAR) -> str:
    """A stacked bar; a component takes as many characters as its share of ``largest``, the rounding spread fairly.

    >>> bar({"a": 2.0, "b": 1.0}, ("a", "b"), 6.0, 12)
    '████▓▓'
    """
    if not largest:
        return ""
    exact = [width * parts.get(part, 0.0) / largest for part in components]
    cells = [math.floor(value) for value in exact]
    missing = round(sum(exact)) - sum(cells)
    order = sorted(range(len(exact)), key=lambda at: cells[at] - exact[at])
    for at in order[:missing]:
        cells[at] += 1
    return "".join(GLYPHS[at % len(GLYPHS)] * count for at, count in enumerate(cells))


def legend(components: Sequence[str]) -> str:
    """Which character stands for which component."""
    return "  ".join(f"{GLYPHS[at % len(GLYPHS)]} {part}" for at, part in enumerate(components))


def model_table(profile: Profile) -> RowsOrBlocks:
    """One row a model: joules, their interval, coverage, where they go, what is special."""
    table = RowsOrBlocks(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("per input", justify="right", no_wrap=True)
    table.add_column("between", no_wrap=True)
    table.add_column("of the MACs", justify="right", no_wrap=True)
    table.add_column("where", overflow="fold")
    table.add_column("note", overflow="fold")
    for one in profile.models:
        table.add_row(*map(escape, model_cells(one, partial=bool(profile.unknown))))
    return table


def model_cells(one: Modelled, *, partial: bool) -> tuple[str, ...]:
    """Name, joules, interval, coverage, shares of the components, note.

    ``partial``: there are operators without a rule.
    """
    joules = one.joules
    between = "" if joules.low is None else f"{with_prefix(joules.low, 'J')} to {with_prefix(joules.high, 'J')}"
    total = sum(one.components.values())
    shares = ", ".join(f"{name} {part(value, total)}" for name, value in one.components.items() if total)
    flags = [flag for flag in joules.flags if flag != "bounds"]
    if "does not fit" in flags:
        flags += [note for note in one.assumptions if note.startswith("does not fit: ")]
        flags.remove("does not fit")
    times = [] if one.seconds is None else [f"{with_prefix(one.seconds.value, 's')} per input"]
    note = "; ".join([*times, *flags, *([joules.reason] if joules.reason else [])])
    return (
        one.model,
        with_prefix(joules.value, "J"),
        between,
        f"{one.coverage:.0%}{' of known' * partial}",
        shares,
        note,
    )


def proxy_table(profile: Profile) -> RowsOrBlocks:
    """Proxies, which are not energy."""
    table = RowsOrBlocks(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("proxy", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    for name in profile.proxies:
        table.add_row(PROXIES.get(name, (name, ""))[0], proxy(profile, name))
    return table


def proxy(profile: Profile, name: str) -> str:
    """A proxy's value; of MACs that are not all known, how many there are at least."""
    value, unit = profile.proxies[name], PROXIES.get(name, (name, ""))[1]
    least = profile.known_macs_per_input if name == "macs_per_input" and value is None else None
    if least is None:
        return figure(value, unit)
    return f"unknown, at least {figure(least, unit)}: {part(profile.known_share, 1)} of outputs known"


def figure(value: float | None, unit: str) -> str:
    """A proxy's value: counts in full, bytes with a prefix."""
    return with_prefix(value, unit) if unit or value is None else f"{value:,.0f}"


def beside(models: Sequence[Modelled]) -> list[str]:
    """One sentence for each figure of the literature."""
    return [
        f"{one.model} says {with_prefix(one.joules.value, 'J')} for {other.net}, {times(other.ratio)} times the"
        f" published {with_prefix(other.joules, 'J')}: {other.source}; {other.remark}."
        for one in models
        for other in one.published
    ]


def short(value: float) -> str:
    """A count in a few characters.

    >>> short(1_600_000), short(950), short(0), short(999_999)
    ('1.6 M', '950', '', '1 M')
    """
    rounded = float(f"{value:.3g}")  # which may be the next power
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rounded >= size:
            return f"{rounded / size:.4g} {letter}"
    return f"{rounded:.0f}" if value else ""
