"""Every setting that was measured and tested, whichever board it won: what the tables beside the boards are made of."""

from __future__ import annotations

from collections import defaultdict

from joulemark.judging.rules import BASELINE
from joulemark.record import Trial
from joulemark.report.board import Results, trial_pairs

Pairs = list[tuple[Trial, Trial]]
"""(baseline, candidate) of one setting, by seed."""


def settings_tested(results: Results) -> list[Pairs]:
    """One entry a setting of a technique, in the order in which they were tested; those without a baseline are out."""
    groups: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for trial in results.trials:
        if trial.technique != BASELINE:
            groups[trial.technique, str(sorted(trial.knobs.items()))][trial.attempt] = None
    pooled = [trial_pairs(results, list(attempts)) for attempts in groups.values()]
    return [pairs for pairs in pooled if pairs]
