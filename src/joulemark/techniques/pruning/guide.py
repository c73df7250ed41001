"""What an energy model says of a net, to guide a technique: joules, or seconds where it knows no joules.

A model that was calibrated where no energy counter is knows seconds alone. With watts taken as constant, shares of the
seconds are shares of the joules.
"""

from __future__ import annotations

from collections import defaultdict

from joulemark.record import EnergyReport
from joulemark.techniques.technique import TechniqueError


def knows_joules(report: EnergyReport) -> bool:
    """Whether the model gives joules of the whole net."""
    return report.joules.value is not None


def cost(report: EnergyReport) -> float:
    """Modelled joules per input of the whole net, or its seconds.

    Raises :class:`TechniqueError` if neither is known.
    """
    seconds = report.seconds.value if report.seconds is not None else None
    found = report.joules.value if knows_joules(report) else seconds
    if not found:
        raise TechniqueError(f"the model {report.model} knows neither joules nor seconds of this net")
    return found


def by_layer(report: EnergyReport) -> dict[str, float]:
    """The same per input of each layer that the model describes; of one that runs more than once, the sum."""
    found: dict[str, float] = defaultdict(float)
    for layer in report.layers:
        found[layer.layer] += sum(layer.joules.values()) if knows_joules(report) else layer.seconds or 0.0
    return dict(found)
