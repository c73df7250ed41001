"""Two readings of the same joules: the energy counter of a part, and its power summed over time.

They share one sensor and so its gain; what is compared is whether the counter counts what the sensor sees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from joulemark.meters.trace import SourceFacts
from joulemark.record import Quantity

DISAGREES_SHARE = 0.05
"""A counter further than this from the integrated average power is flagged ``disagrees``.

Ours: five times the 1 % within which the two should agree on a busy board (docs/gpu-checklist.md, V2).
"""

STANDARD_UNCERTAINTIES = 2.0
"""And further than so many of their common random uncertainty: short windows cannot tell (95 %, GUM 6.2.2)."""


def cross_checked(facts: Sequence[SourceFacts], joules: Sequence[Quantity]) -> list[Quantity]:
    """Joules of one window, one a source, with a flag on every counter that its part's power contradicts.

    Only a power that averages over all of the time can judge; the instant power of a board sees a quarter of it.
    """
    return [
        msgspec.structs.replace(one, flags=(*one.flags, "disagrees"))
        if counter.kind == "counter"
        and any(
            power.kind == "power" and power.path == counter.path and power.averaging_seconds and _disagree(one, other)
            for power, other in zip(facts, joules, strict=True)
        )
        else one
        for counter, one in zip(facts, joules, strict=True)
    ]


def _disagree(counted: Quantity, integrated: Quantity) -> bool:
    if counted.value is None or integrated.value is None or "too_short" in (*counted.flags, *integrated.flags):
        return False
    apart = abs(counted.value - integrated.value)
    random = math.hypot(counted.random or 0.0, integrated.random or 0.0)
    return apart > max(DISAGREES_SHARE * counted.value, STANDARD_UNCERTAINTIES * random)
