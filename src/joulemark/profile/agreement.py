"""Do models and proxies put nets in the same order? Kendall's tau of every pair, and the nets that they reverse."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

from joulemark.energy.model import EnergyModel
from joulemark.energy.proxies import proxies
from joulemark.profile.opening import Opened, open_net
from joulemark.profile.profile import executed
from joulemark.record import Record
from joulemark.stats import kendall_tau

NETS = (
    "lenet", "convnet", "alexnet", "vgg", "resnet20", "squeezenet", "alexnet-grouped", "googlenet", "resnet50", "vgg16",
)  # fmt: skip
"""Nets that are compared if none is named: ours, each at the inputs that it is made for."""

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
    return RankAgreement(
        batch_size=batch_size,
        kinds={figure: "proxy" if figure in FIGURES else "modelled" for figure in figures},
        values=values,
        pairs=tuple(_pair(one, other, values) for one, other in itertools.combinations(figures, 2)),
        notes=tuple(f"{net.name}: {note}" for net, (_, notes) in opened for note in notes),
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
