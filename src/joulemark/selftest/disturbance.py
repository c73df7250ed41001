"""What moves a reading: phase (V3), order (V7), the values computed on (V8), and the meter itself (V9)."""

from __future__ import annotations

import random
import statistics
from typing import Any

from joulemark.meters.meters import SAMPLED
from joulemark.meters.sampler import Sampler
from joulemark.meters.source import ReadError
from joulemark.selftest.instrument import facts
from joulemark.selftest.load import CNN, CONSTANT, PINK, WIDE, ZEROS
from joulemark.selftest.outcome import Found, below
from joulemark.selftest.rig import Bench, Busy, Trace

WAVE_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5)
PHASES = (0.0, 0.25, 0.5, 0.75)
ORDERS = {"aabb": "AAAABBBB", "abab": "ABABABAB", "shuffled": "BAABABBA"}
POLLS = (None, 0.01, 0.05, 0.1)
SEED = 9


def square_waves(bench: Bench) -> Found:
    """V3: work half of each period, at four phases to the counter's updates.

    A counter that integrates all the time does not care for the phase; one that looks for a part of the time does.
    """
    rows: list[dict[str, Any]] = []
    for period in WAVE_SECONDS:
        watts = [_wave(bench, period, phase) for phase in PHASES]
        known = [one for one in watts if one is not None]
        spread = (max(known) - min(known)) / statistics.mean(known) if len(known) == len(watts) else None
        rows.append({"period_seconds": period, "watts_by_phase": watts, "spread": spread})
    spread = next(row["spread"] for row in rows if row["period_seconds"] == 0.1)
    return [below("spread over phases of a 0.1 s wave", spread, 0.02)], {"waves": rows, "phases": PHASES}


def _wave(bench: Bench, period: float, phase: float) -> float | None:
    """Mean watts of a square wave that starts a share of the update period after an update."""
    steps = bench.steps(CNN, period / 2 / bench.pace)
    at, _ = bench.tick()
    start, trace = at + phase * bench.counter.update_seconds, Trace(bench, every=0.005)
    bench.clock.sleep(start - bench.clock.now())
    for cycle in range(1, 1 + max(1, round(6 * bench.pace / period))):
        bench.load.run(CNN, steps, trace.sample)
        while (left := start + cycle * period - bench.clock.now()) > 0:
            trace.sample()
            bench.clock.sleep(min(left, trace.every / 2))
    return _whole_waves(trace, period)


def _whole_waves(trace: Trace, period: float) -> float | None:
    """Mean watts from the first update to that of the second half which is nearest to whole periods later."""
    ticks = trace.ticks()
    if len(ticks) < 4:
        return None
    first, start = ticks[0], trace.times[ticks[0]]

    def missed(place: int) -> float:
        waves = (trace.times[place] - start) / period
        return abs(waves - round(waves)) * period

    last = min(ticks[len(ticks) // 2 :], key=missed)
    return (trace.joules[last] - trace.joules[first]) / (trace.times[last] - start)


def order(bench: Bench) -> Found:
    """V7: two nets, eight windows, in three orders: how far the order alone moves their ratio."""
    figures: dict[str, Any] = {}
    for name, letters in ORDERS.items():
        found: dict[str, list[float | None]] = {"A": [], "B": []}
        for letter in letters:
            found[letter].append(bench.work(CNN if letter == "A" else WIDE, 4).joules_per_step)
        figures[f"{name}_ratio"] = _ratio(found["B"], found["A"])
        figures[f"{name}_temperature_celsius"] = facts(bench.board)["temperature_celsius"]
    worst, fair = figures["aabb_ratio"], figures["shuffled_ratio"]
    bias = None if worst is None or fair is None else worst / fair - 1
    return [below("ratio in blocks of one net / shuffled - 1", bias, 0.01)], {**figures, "order_bias": bias}


def data(bench: Bench) -> Found:
    """V8: the same net on normal noise, zeros, one value, and 1/f noise; nothing is asked, the size is wanted."""
    rounds = [{what: bench.work(what, 4) for what in (CNN, ZEROS, CONSTANT, PINK)} for _ in range(3)]
    rows = {}
    for what in rounds[0]:
        rows[what] = {
            "joules_per_step": _median([one[what].joules_per_step for one in rounds]),
            "watts": _median([one[what].trace.watts() for one in rounds]),
            "ratio_to_normal_noise": _ratio([one[what].joules_per_step for one in rounds],
                                            [one[CNN].joules_per_step for one in rounds]),
        }  # fmt: skip
    return [], {"inputs": rows}


def overhead(bench: Bench) -> Found:
    """V9: joules and seconds of a step while our sampler reads the board, or does not."""
    rates = list(POLLS) * 3
    random.Random(SEED).shuffle(rates)  # noqa: S311  (an order, not a secret)
    found: dict[float | None, list[tuple[float | None, float]]] = {rate: [] for rate in POLLS}
    for rate in rates:
        found[rate].append(_polled(bench, rate))
    joules = {rate: [one for one, _ in rows] for rate, rows in found.items()}
    seconds: dict[float | None, list[float | None]] = {rate: [two for _, two in rows] for rate, rows in found.items()}
    figures: dict[str, Any] = {"seed": SEED}
    for rate in POLLS[1:]:
        figures[f"joules_ratio_{rate}_s"] = _ratio(joules[rate], joules[None])
        figures[f"seconds_ratio_{rate}_s"] = _ratio(seconds[rate], seconds[None])
    energy, slower = figures["joules_ratio_0.05_s"], figures["seconds_ratio_0.05_s"]
    return [
        below("joules of a step, sampled each 0.05 s / not - 1", None if energy is None else energy - 1, 0.002),
        below("seconds of a step, sampled each 0.05 s / not - 1", None if slower is None else slower - 1, 0.002),
    ], figures


def _polled(bench: Bench, rate: float | None) -> tuple[float | None, float]:
    """Joules and seconds of a step while our sampler reads counter and powers at a rate, as ``measure`` has it do."""
    if rate is None:
        return _step(bench.work(CNN, 5))
    with Sampler([bench.counter, *bench.powers.values()], period_seconds=rate, opener=SAMPLED) as sampler:
        began = sampler.alive
        busy = bench.work(CNN, 5)
        if not (began and sampler.alive):
            raise ReadError("the sampler " + ("ended early" if began else "did not start"))
    return _step(busy)


def _step(busy: Busy) -> tuple[float | None, float]:
    return busy.joules_per_step, busy.seconds / busy.iterations


def _median(values: list[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return statistics.median(known) if len(known) == len(values) else None


def _ratio(over: list[float | None], under: list[float | None]) -> float | None:
    top, bottom = _median(over), _median(under)
    return None if top is None or not bottom else top / bottom
