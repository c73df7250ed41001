"""How the counter answers: joules are linear in the work (V4), and what idling costs (V5)."""

from __future__ import annotations

import random
from typing import Any

from joulemark.meters.source import ReadError
from joulemark.selftest.fit import line
from joulemark.selftest.load import CNN
from joulemark.selftest.outcome import Found, Target, above, below
from joulemark.selftest.rig import Bench

DOUBLINGS = 11
LONGEST_SECONDS = 20.0
REPEATS = 2
SEED = 4
IDLE_SECONDS = 60.0
COOLING_SECONDS = 10.0
SETTLED = 0.02
SHORTEST_SHARE = 0.01
"""The shortest honest window misses the line by less than this share of its joules."""


def linearity(bench: Bench) -> Found:
    """V4: joules of 1, 2, 4, ..., 1024 portions of work, twice, in shuffled order; a line through them."""
    portion = bench.steps(CNN, LONGEST_SECONDS / 2 ** (DOUBLINGS - 1))
    idle_watts = bench.idle(5).watts()
    if idle_watts is None:
        raise ReadError(f"{bench.counter.name}: the counter stands still")
    counts = [2**power for power in range(DOUBLINGS)] * REPEATS
    random.Random(SEED).shuffle(counts)  # noqa: S311  (an order, not a secret)
    rows = []
    for count in counts:
        begun, before = bench.tick()
        bench.load.run(CNN, count * portion)
        worked = bench.clock.now()
        ended, after = bench.tick()
        rows.append(
            {
                "steps": count * portion, "seconds": worked - begun,
                "joules": after - before - idle_watts * (ended - worked),  # from the end of work to the next update
            }
        )  # fmt: skip
    fitted = line([row["steps"] for row in rows], [row["joules"] for row in rows])
    misses = [abs(miss) / row["joules"] if row["joules"] > 0 else 1.0 for miss, row in zip(fitted.residuals, rows)]  # noqa: B905
    honest = [row["seconds"] for row in rows if all(
        miss < SHORTEST_SHARE for miss, other in zip(misses, rows, strict=True) if other["seconds"] >= row["seconds"]
    )]  # fmt: skip
    longest = [miss for miss, row in zip(misses, rows, strict=True) if row["steps"] == max(r["steps"] for r in rows)]
    return [
        above("R2 of joules on steps", fitted.r_squared, 0.9999),
        below("residual of the longest / its joules", max(longest), 0.01),
    ], {
        "joules_per_step": fitted.slope,
        "joules_per_step_error": fitted.slope_error,
        "fixed_joules": fitted.intercept,
        "shortest_honest_seconds": min(honest, default=None),
        "idle_watts": idle_watts,
        "seed": SEED,
        "points": rows,
    }


def idling(bench: Bench) -> Found:
    """V5: a minute cold, a minute with our context, and two of cooling after work.

    Raises ``ReadError`` if this process holds the board already: then cold is over.
    """
    if bench.load.started:
        raise ReadError(
            "the board is held by this process, so idle without a context cannot be seen: run the part anew"
        )
    cold = bench.idle(IDLE_SECONDS).watts()
    bench.load.start()
    held = bench.idle(IDLE_SECONDS).watts()
    busy = bench.work(CNN, 20).trace.watts()
    cooling = [bench.idle(COOLING_SECONDS).watts() for _ in range(int(IDLE_SECONDS / COOLING_SECONDS))]
    figures: dict[str, Any] = {"cold_watts": cold, "context_watts": held, "busy_watts": busy, "cooling_watts": cooling}
    figures["context_step_watts"] = None if cold is None or held is None else held - cold
    known = [one for one in cooling if one is not None]
    settled = None
    if len(known) == len(cooling):
        near = [abs(one / known[-1] - 1) < SETTLED for one in known]
        settled = next(place for place in range(len(near)) if all(near[place:])) * COOLING_SECONDS
    figures["settling_seconds"] = settled
    passed = None if settled is None else settled < IDLE_SECONDS - COOLING_SECONDS
    name = "idle power is the same again within a minute, seconds"
    wanted = f"< {IDLE_SECONDS - COOLING_SECONDS:g}"
    return [Target(name=name, wanted=wanted, value=settled, passed=passed)], figures
