"""How well a reading repeats (V6), and whether another tool agrees on the same interval (V11)."""

from __future__ import annotations

import random
import statistics

from joulemark.judging.statistics import paired_ratio
from joulemark.record import Ratio
from joulemark.selftest.load import CNN, WIDE
from joulemark.selftest.outcome import Found, Target, below
from joulemark.selftest.rig import Bench

BLOCKS = 12
BLOCK_SECONDS = 9.0
SEED = 6


def repeatability(bench: Bench) -> Found:
    """V6: two nets and the first once more, in each of twelve blocks in shuffled order; and what can be told apart."""
    order = random.Random(SEED)  # noqa: S311  (an order, not a secret)
    blocks: list[dict[str, float | None]] = []
    for _ in range(BLOCKS):
        letters = ["first", "again", "wide"]
        order.shuffle(letters)
        block = {one: bench.work(WIDE if one == "wide" else CNN, BLOCK_SECONDS).joules_per_step for one in letters}
        blocks.append(block)
    same, other = _compare(blocks, "first", "again"), _compare(blocks, "first", "wide")
    values = [block["first"] for block in blocks if block["first"] is not None]
    variation = statistics.stdev(values) / statistics.mean(values) if len(values) == BLOCKS else None
    covers = None if same is None else same.low <= 1.0 <= same.high
    half = None if same is None else (same.high - same.low) / 2
    return [
        below("coefficient of variation of a block", variation, 0.01),
        Target(
            name="A/A ratio's interval covers 1",
            wanted="true",
            value=None if same is None else same.value,
            passed=covers,
        ),
        below("half-width of the A/A ratio's interval", half, 0.005),
    ], {"same_net_ratio": same, "other_net_ratio": other, "blocks_joules_per_step": blocks, "seed": SEED}


def _compare(blocks: list[dict[str, float | None]], one: str, two: str) -> Ratio | None:
    rows = [(block[one], block[two]) for block in blocks]
    known = [(a, b, a) for a, b in rows if a is not None and b is not None]
    return paired_ratio(known) if len(known) == len(rows) else None


def other_tools(bench: Bench) -> Found:
    """V11: the same ten seconds by zeus, where it is installed; at most one update of the counter apart."""
    try:
        from zeus.monitor import ZeusMonitor
    except ImportError:
        nothing = Target(name="zeus on the same interval", wanted="one update apart", value=None, passed=None)
        return [nothing], {"zeus": "not installed"}
    monitor = ZeusMonitor(gpu_indices=[_index(bench.board)])
    bench.steps(CNN, 10)
    monitor.begin_window("selftest")
    before = bench.joules()
    busy = bench.work(CNN, 10)
    ours = bench.joules() - before
    theirs = float(sum(monitor.end_window("selftest").gpu_energy.values()))
    watts = busy.trace.watts()
    apart = None if not watts else (theirs - ours) / (watts * bench.counter.update_seconds)
    return [below("(zeus - ours) / energy of one update", apart, 1.0001)], {
        "zeus_joules": theirs,
        "joules": ours,
        "seconds": busy.seconds,
    }


def _index(board: str) -> int:
    """The place of a board as CUDA counts, which is how zeus is told."""
    from torch import cuda

    return [f"GPU-{cuda.get_device_properties(index).uuid}" for index in range(cuda.device_count())].index(board)
