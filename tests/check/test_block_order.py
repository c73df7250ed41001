"""The order of blocks again, held against what the benchmark itself runs."""

from __future__ import annotations

import numpy as np
import pytest

from joulemark.benchmarking.measuring import Pair, measure_pairs
from joulemark.benchmarking.suite import Measuring
from joulemark.check.block_order import names_before, replayed
from joulemark.meters.meters import Meters


class Nothing:
    """A net that does nothing, quickly."""

    def run(self, images):
        return images


@pytest.mark.parametrize("names", [["a"], ["b", "a"], ["c", "a", "b"]])
@pytest.mark.parametrize("order_seed", [0, 7, 2**32 - 1])
def test_a_seed_gives_the_order_and_the_tosses_of_the_benchmark(names, order_seed):
    pairs = [Pair(name, Nothing(), Nothing(), 1) for name in names]
    measuring = Measuring(window_seconds=1e-6, blocks=5)
    images = np.zeros((1, 1), np.float32)
    ran = measure_pairs(pairs, images, measuring, Meters((), ()), order_seed=order_seed)
    order, turned = replayed(names, 5, order_seed)
    assert order == ran
    assert turned == {pair.name: pair.turned for pair in pairs}
    assert names_before(ran, order_seed) == names
