"""Whether a trial was measured on a steady machine: warnings, judged from the numbers in its record alone.

The benchmark stores their names with the trial, the report shows their sentences, and ``joulemark check`` judges again.
A warning takes nothing off a board: the interval holds the noise already. It says why an interval is wide, or why a
reader may trust it less. All limits are ours.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from joulemark.record import Conditions, Ratio, Timing, Trial

OTHERS_SHARE = 0.1
"""Share of the machine's CPU time that other programs may use."""

STOLEN_SHARE = 0.01
"""Share of the machine's CPU time that the hypervisor may give to others."""

DRIFT_SHARE = 0.05
"""How much the baseline may change from the first third of a trial's blocks to the last; below six, the first block."""

CONTROL_HALF_WIDTH = {"cpu": 0.02, "cuda": 0.005}
"""Half-width of the A/A control's ratio, by the kind of processor (docs/how-we-measure.md)."""

CONTROL_WARNINGS = ("control too wide", "control off")
"""Names of what :func:`control_warnings` finds."""

BASELINE = "baseline"


def warnings(trial: Trial) -> dict[str, str]:
    """Name and sentence of every warning that a trial's own numbers give, in a fixed order.

    Of a baseline's trial the A/A control is judged in the headline's setting alone, its first timing; the report judges
    it in every setting by :func:`control_warnings`.
    """
    change = drift(trial)
    found = disturbances(trial.conditions) | ({} if change is None else {"drift": change})
    headline = trial.timings[:1] if trial.technique == BASELINE else ()
    return found | {name: sentence for timing in headline for name, sentence in control_warnings(timing).items()}


def disturbances(seen: Conditions | None) -> dict[str, str]:
    """Name and sentence of what disturbed the machine, as far as that can be seen: "load", "stolen time", "heat"."""
    found: dict[str, str] = {}
    if seen is None:
        return found
    whole = seen.seconds * seen.cores
    others = 0.0 if seen.busy_cpu_seconds is None else (seen.busy_cpu_seconds - seen.own_cpu_seconds) / whole
    stolen = 0.0 if seen.stolen_seconds is None else seen.stolen_seconds / whole
    if others > OTHERS_SHARE:
        found["load"] = f"other programs used {100 * others:.0f} % of the machine's CPU time"
    if stolen > STOLEN_SHARE:
        found["stolen time"] = f"the hypervisor took {100 * stolen:.1f} % of the machine's CPU time away"
    if seen.throttles:
        times = "once" if seen.throttles == 1 else f"{seen.throttles} times"
        found["heat"] = f"a core was slowed down because of heat {times}"
    return found


def drift(trial: Trial) -> str | None:
    """The baseline became slower or faster while it was measured."""
    changes = [change for timing in trial.timings if (change := _change(timing)) is not None]
    worst = max(changes, key=abs, default=0.0)
    if abs(worst) <= DRIFT_SHARE:
        return None
    way = "slower" if worst > 0 else "faster"
    return f"the baseline became {100 * abs(worst):.0f} % {way} from the first blocks to the last"


def control_warnings(timing: Timing) -> dict[str, str]:
    """Name and sentence of what is wrong with an A/A control: a timing of a baseline's own trial."""
    ratio, limit = timing.ratio, CONTROL_HALF_WIDTH.get(timing.backend, CONTROL_HALF_WIDTH["cpu"])
    found: dict[str, str] = {}
    if ratio is None:
        return found
    where = f"on {timing.backend} at batch {timing.batch_size}"
    if half_width(ratio) > limit:
        known, wanted = 100 * half_width(ratio), 100 * limit
        found["control too wide"] = (
            f"the baseline against itself {where} is known to {known:.1f} % only, not to {wanted:.1f} %"
        )
    if not ratio.low <= 1.0 <= ratio.high:
        span = f"{ratio.low:.3f} to {ratio.high:.3f}"
        found["control off"] = (
            f"the baseline differs from itself {where} ({span}); of twenty intervals one does by chance"
        )
    return found


def half_width(ratio: Ratio) -> float:
    """Half of a ratio's interval over its value."""
    return (ratio.high - ratio.low) / 2 / ratio.value


def recomputed(timing: Timing) -> dict[str, Ratio | None]:
    """The four ratios of a timing from its raw blocks: what the record must hold, to the last digits of a float.

    Records made before joules had blocks cannot be judged on ``joules_ratio``: then it is left out.
    """
    from joulemark.judging.statistics import paired_ratio  # needs numpy, and meters import this module

    own = timing.reference == timing.backend
    ratios = {
        "ratio": paired_ratio(timing.blocks),
        "reference_ratio": paired_ratio(timing.blocks if own else across(timing.reference_blocks, timing.blocks)),
        "joules_ratio": paired_ratio(timing.joules_blocks),
        "reference_joules_ratio": paired_ratio(
            timing.joules_blocks if own else across(timing.reference_joules_blocks, timing.joules_blocks)
        ),
    }
    if timing.joules_ratio is not None and not timing.joules_blocks:
        del ratios["joules_ratio"]
    return ratios


def across(
    references: Sequence[tuple[float, float]], blocks: Sequence[tuple[float, float, float]]
) -> list[tuple[float, float, float]]:
    """Blocks with the reference in the baseline's place; none where there is no reference."""
    if not references:
        return []
    return [(first, block[1], last) for (first, last), block in zip(references, blocks, strict=True)]


def _change(timing: Timing) -> float | None:
    """Relative change of the baseline's median from the first third of the blocks to the last.

    Below six blocks a third is too few, and the first block stands against the last; of one block nothing is known.
    """
    blocks = timing.blocks
    part = len(blocks) // 3 if len(blocks) >= 6 else 1
    if len(blocks) < 2:
        return None
    first, last = (
        statistics.median(value for block in some for value in (block[0], block[2]))
        for some in (blocks[:part], blocks[-part:])
    )
    return last / first - 1.0
