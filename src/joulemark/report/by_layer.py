"""Modelled joules and MACs of single layers: the baselines beside the nets of one setting, seeds pooled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from statistics import fmean

from joulemark.record import Trial
from joulemark.report.costs import energy_of

CONVOLUTION = "conv"
"""Operator of a convolution in a workload, whatever its layer is called."""
Stacks = dict[str, dict[str, float]]
"""Layer -> component -> joules per input."""
Macs = dict[tuple[str, str], float]
"""(layer, operator) -> MACs per input."""


def mean_layers(trials: Sequence[Trial], model: str) -> Stacks:
    """Modelled joules per layer and component, averaged over the seeds."""
    stacks: Stacks = defaultdict(lambda: defaultdict(float))
    reports = [report for trial in trials if (report := energy_of(trial, model)) is not None]
    for report in reports:
        for layer in report.layers:
            for component, joules in layer.joules.items():
                stacks[layer.layer][component] += joules / len(reports)
    return stacks


def components(trials: Sequence[Trial], model: str) -> tuple[str, ...]:
    """The components of a model's joules, in the order in which its reports name them."""
    named: dict[str, None] = {}
    for trial in trials:
        report = energy_of(trial, model)
        for layer in report.layers if report is not None else ():
            named.update(dict.fromkeys(layer.joules))
    return tuple(named)


def convolutions_left(pairs: Sequence[tuple[Trial, Trial]]) -> dict[str, float | None]:
    """Mean share of each of the baseline's convolutions over the seeds, as the first energy model saw the layers.

    ``None`` where nobody can tell what became of a convolution. Without a model there is nothing to tell of any.
    """
    shares: dict[str, list[float | None]] = defaultdict(list)
    for baseline, trial in pairs:
        for path, share in shares_left(_macs(baseline), _macs(trial)).items():
            shares[path].append(share)
    return {path: _mean(of_seeds) for path, of_seeds in shares.items() if len(of_seeds) == len(pairs)}


def shares_left(before: Macs, after: Macs) -> dict[str, float | None]:
    """Share that a net executes of the MACs of each of the baseline's convolutions, by path.

    What a convolution was rewritten into, at its path or below it, counts for it. Where no path of the net is one of
    the baseline's, as many convolutions are the same ones in the order in which they run, unless they stand in several
    parts (a cascade). A convolution without an heir is gone, 0, if all layers of the net that multiply have a forebear;
    if not, it may run under another name, and its share is ``None``.

    >>> before = {("a", "conv"): 8.0, ("b", "conv"): 4.0}
    >>> shares_left(before, {("a", "conv"): 2.0}), shares_left(before, {("x.a", "conv"): 2.0})
    ({'a': 0.25, 'b': 0.0}, {'a': None, 'b': None})
    """
    if not after:
        return {}
    convolutions = {path: macs for (path, operator), macs in before.items() if operator == CONVOLUTION}
    heirs = {path: [macs for layer, macs in after.items() if _from(path, layer, before)] for path in convolutions}
    own = {path: macs for (path, operator), macs in after.items() if operator == CONVOLUTION}
    together = len({path.partition(".")[0] for path in own}) == 1 or not any("." in path for path in own)
    if not any(heirs.values()) and len(own) == len(convolutions) and together:
        heirs = {path: [macs] for path, macs in zip(convolutions, own.values(), strict=True)}
    layers = {path for path, _ in before}
    strange = any(not _below(layers, path) for path, _ in after)
    known = any(_below(layers, path) for path, _ in after)
    gone = 0.0 if known and not strange else None
    return {path: sum(heirs[path]) / macs if heirs[path] else gone for path, macs in convolutions.items()}


def _from(path: str, layer: tuple[str, str], before: Macs) -> bool:
    """Whether a net's layer is what became of the convolution at a path; what else ran there before does not count."""
    return _below({path}, layer[0]) and (layer[1] == CONVOLUTION or layer not in before)


def _below(paths: Collection[str], path: str) -> bool:
    """Whether a path is one of some paths or lies below one."""
    return path in paths or any(path[:end] in paths for end, letter in enumerate(path) if letter == ".")


def _macs(trial: Trial) -> Macs:
    """MACs per input of each layer and operator that does any, in the order in which they run."""
    macs: Macs = defaultdict(float)
    for layer in trial.models[0].layers if trial.models else ():
        if layer.macs:
            macs[layer.layer, layer.operator] += layer.macs
    return macs


def _mean(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return fmean(known) if len(known) == len(shares) else None
