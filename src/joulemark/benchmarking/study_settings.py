"""What all rows of a study must have in common to stand on one board."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from joulemark.benchmarking.suite import Suite
from joulemark.energy.model import EnergyModel, Filled, energy_model
from joulemark.record import content_key


def study_settings(
    suite: Suite,
    filled: Sequence[tuple[str, str | None]],
    hardware_class: str,
    counters: Sequence[tuple[str, str]],
) -> str:
    """Digest of a suite without its techniques, of what its energy models are filled with, of machine and counters."""
    shared = msgspec.structs.replace(suite, techniques=(), free=False)
    return content_key("study", shared, list(filled), hardware_class, list(counters))


def filled_models(names: Sequence[str], models: Sequence[EnergyModel]) -> list[tuple[str, str | None]]:
    """Name of every energy model, and what it is filled with where that is a file of this machine or the user."""
    return [(name, one.content if isinstance(one, Filled) else None) for name, one in zip(names, models, strict=True)]


def opened_models(suite: Suite) -> list[EnergyModel]:
    """The suite's energy models."""
    return [energy_model(name) for name in suite.models]
