"""Random layers are the same for the same seed, of the sizes that were promised, and shaped as they say."""

from __future__ import annotations

from collections import Counter
from math import prod

import pytest

from joulemark.calibrate.sampling import MOST_MACS, TURNS, layer
from joulemark.energy.features import TYPES, Layer


@pytest.fixture(scope="module")
def drawn() -> list[Layer]:
    return [layer(0, index) for index in range(300)]


def test_a_row_depends_on_seed_and_place_alone(drawn):
    assert [layer(0, index) for index in range(299, 249, -1)] == drawn[:249:-1]
    assert sum(layer(1, index) == drawn[index] for index in range(50)) < 5


def test_every_type_has_its_turns(drawn):
    assert set(TURNS) == set(TYPES)
    count = Counter(one.type for one in drawn)
    assert (count["conv"], count["fc"], count["pool"]) == (6 * 27, 6 * 5, 6 * 5)


def test_sizes_stay_within_bounds(drawn):
    for one in drawn:
        assert one.batch * (prod(one.input) + prod(one.output)) <= 1 << 25
        assert one.macs <= MOST_MACS


def test_convolutions_and_poolings_have_the_output_of_their_window(drawn):
    for one in drawn:
        if one.type in ("conv", "pool"):
            sides = zip(one.input[1:], one.output[1:], one.kernel, one.stride, one.padding, strict=True)
            assert all((n + 2 * pad - k) // step + 1 == out for n, out, k, step, pad in sides)


def test_channels_are_as_in_nets(drawn):
    channels = {one.input[0] for one in drawn if one.type == "conv"}
    assert all(count == 3 or count % 8 == 0 for count in channels)
    kernels = Counter(one.kernel[0] for one in drawn if one.type == "conv")
    assert kernels[1] > kernels[5]
    assert kernels[3] > kernels[7]
