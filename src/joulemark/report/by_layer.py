"""Modelled joules and MACs of single layers: the baselines beside the nets of one setting, seeds pooled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from joulemark.record import Trial
from joulemark.report.costs import energy_of

Stacks = dict[str, dict[str, float]]
"""Layer -> component -> joules per input."""


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


def convolutions_left(pairs: Sequence[tuple[Trial, Trial]]) -> dict[str, float]:
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
