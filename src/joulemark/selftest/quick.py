"""The self-test in the small, on whatever counters there are: whether readings repeat and are linear in the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from joulemark.judging.statistics import paired_ratio
from joulemark.meters.source import ReadError, Source, Unavailable
from joulemark.record import Ratio, Record
from joulemark.selftest.fit import line
from joulemark.selftest.load import CNN, Load, NumpyLoad, TorchLoad
from joulemark.selftest.rig import Bench, Clock

IDLE_SECONDS = 3.0
PAIRS, PAIR_SECONDS = 6, 1.5
PORTIONS, PORTION_SECONDS = (1, 2, 4, 8, 1, 2, 4, 8), 0.4


class QuickTest(Record, frozen=True, kw_only=True):
    """What one counter did; everything that could not be found out is ``None``, with the reason."""

    meter: str
    load: str  # what worked
    idle_before_watts: float | None = None
    idle_after_watts: float | None = None
    same_work_ratio: Ratio | None = None  # A/A: holds 1 on a good day
    r_squared: float | None = None  # of joules on steps
    reason: str | None = None


def quick_selftest(
    sources: Sequence[Source],
    unavailable: Sequence[Unavailable] = (),
    *,
    load: Callable[[Source], Load] | None = None,
    clock: Clock | None = None,
) -> tuple[list[QuickTest], list[str]]:
    """Test each counter for about half a minute; returns what was found, and sentences for a person."""
    if not sources:
        why = "; ".join(f"{one.name}: {one.reason}" for one in unavailable) or "none was given"
        return [], [f"No self-test: there is no energy counter here ({why})."]
    tests = [_test(source, (load or _load)(source), clock or Clock()) for source in sources]
    return tests, [sentence(test) for test in tests]


def sentence(test: QuickTest) -> str:
    """What a test found, in one sentence."""
    if test.reason is not None:
        return f"{test.meter}: the self-test could not be finished: {test.reason}."
    ratio, linear, idle = "unknown", "unknown", "unknown"
    if test.same_work_ratio is not None:
        one = test.same_work_ratio
        verdict = "holds 1" if one.low <= 1 <= one.high else "DOES NOT HOLD 1"
        ratio = f"{one.value:.4f} ({one.low:.4f} to {one.high:.4f}, {verdict})"
    if test.r_squared is not None:
        linear = f"{test.r_squared:.5f}"
    if test.idle_before_watts is not None and test.idle_after_watts is not None:
        idle = f"{test.idle_before_watts:.2f} W before and {test.idle_after_watts:.2f} W after"
    return f"{test.meter} ({test.load}): A/A ratio {ratio}; joules on steps R2 {linear}; idle {idle}."


def _load(source: Source) -> Load:
    """Work on the board that the counter is of, if torch can; on the processor otherwise."""
    uuid = getattr(source, "uuid", None)
    if uuid is not None:
        try:
            return TorchLoad(uuid)
        except (ImportError, RuntimeError):
            pass
    return NumpyLoad()


def _test(source: Source, load: Load, clock: Clock) -> QuickTest:
    bench = Bench(board=source.scope, counter=source, powers={}, load=load, clock=clock)
    worked = "work on the GPU" if isinstance(load, TorchLoad) else "work on one core"
    try:
        load.start()
        before = bench.idle(IDLE_SECONDS).watts()
        pairs = [_joules(bench, PAIR_SECONDS) for _ in range(2 * PAIRS)]
        rows = [(one, two, one) for one, two in zip(pairs[::2], pairs[1::2], strict=True) if min(one, two) > 0]
        steps = [bench.steps(CNN, PORTION_SECONDS * portion) for portion in PORTIONS]
        joules = [_joules(bench, PORTION_SECONDS * portion) for portion in PORTIONS]
        after = bench.idle(IDLE_SECONDS).watts()
    except ReadError as error:
        return QuickTest(meter=source.name, load=worked, reason=str(error))
    return QuickTest(
        meter=source.name,
        load=worked,
        idle_before_watts=before,
        idle_after_watts=after,
        same_work_ratio=paired_ratio(rows) if len(rows) == PAIRS else None,
        r_squared=line(steps, joules).r_squared,
    )


def _joules(bench: Bench, seconds: float) -> float:
    """Joules of some work, from an update of the counter to the first one after it."""
    steps = bench.steps(CNN, seconds)
    _, before = bench.tick()
    bench.load.run(CNN, steps)
    _, after = bench.tick()
    return after - before
