"""Do models and proxies put nets in the same order? Kendall's tau of every pair, and the nets that they reverse."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.text import Text

from joulemark.energy.model import EnergyModel
from joulemark.energy.proxies import proxies
from joulemark.energy.sensitivity import TABLES, Survival, survival
from joulemark.judging.statistics import kendall_tau
from joulemark.profiling.opening import Opened, open_net
from joulemark.profiling.profile import executed
from joulemark.profiling.profile_text import PROXIES, short
from joulemark.record import Record
from joulemark.report.table import RowsOrBlocks
from joulemark.report.words import with_prefix

NETS = (
    "lenet", "convnet", "alexnet", "vgg", "resnet20", "squeezenet", "alexnet-grouped", "googlenet", "resnet50", "vgg16",
)  # fmt: skip
"""Nets that are compared if none is named: ours, each at the inputs that it is made for."""

MOST_REVERSED = 6
"""Pairs of nets named in a terminal; JSON has all."""

FIGURES = ("parameters", "macs_per_input", "bytes_moved_per_input", "peak_memory_bytes")
"""Proxies that are compared with models."""


class Pair(Record, frozen=True, kw_only=True):
    """How two figures order the same nets."""

    first: str
    second: str
    nets: int  # that both know
    tau: float | None  # Kendall's tau-a; None: fewer than two nets
    reversed: tuple[tuple[str, str], ...]  # the first figure calls the first net cheaper, the second the second one


class RankAgreement(Record, frozen=True, kw_only=True):
    """What every figure says of every net, and how the orders agree."""

    batch_size: int
    kinds: dict[str, str]  # figure -> "proxy" or "modelled"
    values: dict[str, dict[str, float | None]]  # figure -> net -> value per input; None: unknown
    pairs: tuple[Pair, ...]
    groups: tuple[tuple[str, ...], ...]  # figures that order all nets alike
    survival: Survival | None  # of the accelerator's order under its cost tables; None: not all of them were asked
    notes: tuple[str, ...]


def agree(
    names: Sequence[str],
    models: Sequence[EnergyModel],
    *,
    batch_size: int = 1,
    shape: tuple[int, ...] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> RankAgreement:
    """Run each net on a few random inputs and compare how figures order them. ``tell`` hears each name.

    Raises ``ValueError`` for fewer than two nets, for a name that comes twice and for a net that cannot be run.
    """
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError("name two nets or more, each once: an order needs them")
    opened = []
    for name in names:
        tell(name)
        opened.append((net := open_net(name, shape), _figures(net, models, batch_size)))
    figures = dict.fromkeys((*FIGURES, *(model.name for model in models)))
    values = {figure: {net.name: known[figure] for net, (known, _) in opened} for figure in figures}
    pairs = tuple(_pair(one, other, values) for one, other in itertools.combinations(figures, 2))
    return RankAgreement(
        batch_size=batch_size,
        kinds={figure: "proxy" if figure in FIGURES else "modelled" for figure in figures},
        values=values,
        pairs=pairs,
        survival=survival(values) if set(TABLES) <= values.keys() else None,
        groups=_groups(tuple(figures), pairs, len(names)),
        notes=_notes({net.name: told for net, (_, told) in opened}),
    )


def _figures(net: Opened, models: Sequence[EnergyModel], batch_size: int) -> tuple[dict[str, float | None], list[str]]:
    """Every figure of one net, and what is to be said of them."""
    workload, _, _ = executed(net, batch_size, None)
    known: dict[str, float | None] = {**proxies(workload, parameters=net.parameters, nonzeros=net.nonzeros)}
    notes = [f"no rule for {name}, {share:.1%} of all output elements" for name, share in workload.unknown.items()]
    for model in models:
        report = model.estimate(workload)
        known[model.name] = report.joules.value
        if report.coverage < 1:
            notes.append(f"{model.name} describes {report.coverage:.1%} of the MACs")
        notes += [
            f"{model.name}: {flag}" for flag in report.joules.flags if flag not in ("bounds", "incomplete coverage")
        ]
    return known, notes


def _pair(one: str, other: str, values: Mapping[str, Mapping[str, float | None]]) -> Pair:
    both = [
        (net, mine, theirs)
        for net, mine in values[one].items()
        if mine is not None and (theirs := values[other][net]) is not None
    ]
    turned = []
    for (a, a_one, a_other), (b, b_one, b_other) in itertools.combinations(both, 2):
        if (a_one - b_one) * (a_other - b_other) < 0:
            turned.append((a, b) if a_one < b_one else (b, a))
    return Pair(
        first=one,
        second=other,
        nets=len(both),
        tau=kendall_tau([mine for _, mine, _ in both], [theirs for *_, theirs in both]),
        reversed=tuple(turned),
    )


def _groups(figures: Sequence[str], pairs: Sequence[Pair], nets: int) -> tuple[tuple[str, ...], ...]:
    """Figures of one order; a figure that does not know every net stands alone."""
    alike = {(one.first, one.second) for one in pairs if one.tau == 1.0 and one.nets == nets}
    groups: list[list[str]] = []
    for figure in figures:
        home = next((group for group in groups if (group[0], figure) in alike), None)
        if home is None:
            groups.append([figure])
        else:
            home.append(figure)
    return tuple(map(tuple, groups))


def _notes(told: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Each note once, with the nets that it is about."""
    about: dict[str, list[str]] = {}
    for net, notes in told.items():
        for note in notes:
            about.setdefault(note, []).append(net)
    return tuple(f"{note}: {', '.join(nets)}" for note, nets in about.items())


def as_renderables(found: RankAgreement) -> Iterator[Any]:
    """Every net's figures, then the pairs that disagree, and those that do not in one sentence."""
    words = {figure: PROXIES[figure][0] if kind == "proxy" else figure for figure, kind in found.kinds.items()}
    yield Text(f"Per input at batch {found.batch_size}, random inputs.", style="dim")
    for kind in ("proxy", "modelled"):
        yield _values(found, words, kind)
    for group in found.groups:
        if len(group) > 1:
            yield Text(f"The same order: {', '.join(words[figure] for figure in group)}.")
    if found.survival is not None:
        yield Text(f"Cost tables of the accelerator: {found.survival.sentence()}")
    yield _disagreeing(found, words)
    yield Text(
        "tau is Kendall's: 1 for the same order, -1 for the opposite. a / b: the first figure calls a cheaper, the"
        " second b. Modelled, not measured; proxies are not energy.",
        style="dim",
    )
    for note in found.notes:
        yield Text(f"Note: {note}.", style="dim")


def _values(found: RankAgreement, words: Mapping[str, str], kind: str) -> RowsOrBlocks:
    """All figures of one kind, one row a net."""
    table = RowsOrBlocks(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("net", no_wrap=True)
    figures = [figure for figure, its in found.kinds.items() if its == kind]
    for figure in figures:
        table.add_column(Text(words[figure].replace("-", "-\n")), justify="right", overflow="fold")
    for net in found.values[FIGURES[0]]:
        values = [found.values[figure][net] for figure in figures]
        cells = [
            "unknown" if value is None else short(value) if kind == "proxy" else with_prefix(value, "J")
            for value in values
        ]
        table.add_row(*map(Text, [net, *cells]))
    return table


def _disagreeing(found: RankAgreement, words: Mapping[str, str]) -> RowsOrBlocks:
    """Pairs that do not order alike, the worst first; the first of a group stands for all of it."""
    table = RowsOrBlocks(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("figures", overflow="fold")
    table.add_column("tau", justify="right", no_wrap=True)
    table.add_column("nets", justify="right", no_wrap=True)
    table.add_column("reversed", overflow="fold")
    first = {group[0] for group in found.groups}
    pairs = [one for one in found.pairs if {one.first, one.second} <= first and one.tau is not None]
    for one in sorted(pairs, key=lambda one: one.tau or 0.0):
        shown = ", ".join(f"{a} / {b}" for a, b in one.reversed[:MOST_REVERSED])
        more = len(one.reversed) - MOST_REVERSED
        shown += f" and {more} more" if more > 0 else ""
        pair = f"{words[one.first]} and {words[one.second]}"
        table.add_row(*map(Text, (pair, f"{one.tau:.2f}", str(one.nets), shown)))
    return table
