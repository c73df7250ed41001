"""Logits of many images: every row once and in its order, whatever the batches are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.backends.predicting import predict, predict_exits


class Doubles:
    """A compiled net that doubles its inputs and remembers how many rows came at once."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, images):
        self.batches.append(len(images))
        return 2 * images


class Exits(Doubles):
    """One that triples them at a second exit."""

    def exit_logits(self, images):
        self.batches.append(len(images))
        return [2 * images, 3 * images]


def rows(count: int) -> np.ndarray:
    return np.arange(2 * count, dtype=np.float32).reshape(count, 2)


@given(count=st.integers(1, 60), size=st.integers(1, 25))
def test_every_row_is_predicted_once_in_its_order(count, size):
    net, images = Doubles(), rows(count)
    assert np.array_equal(predict(net, images, batch_size=size), 2 * images)
    full, rest = divmod(count, size)
    assert net.batches == [size] * full + [rest] * (rest > 0)


@given(count=st.integers(1, 60), size=st.integers(1, 25))
def test_every_exit_answers_for_every_row(count, size):
    net, images = Exits(), rows(count)
    first, second = predict_exits(net, images, batch_size=size)
    assert np.array_equal(first, 2 * images)
    assert np.array_equal(second, 3 * images)
    assert max(net.batches) <= size and sum(net.batches) == count


def test_batches_are_of_a_hundred_unless_said():
    for predicted, net in ((predict, Doubles()), (predict_exits, Exits())):
        predicted(net, rows(250))
        assert net.batches == [100, 100, 50]


def test_a_net_that_answers_at_one_exit_only_is_refused_by_name():
    net = Doubles()
    with pytest.raises(ValueError, match=r"^Doubles gives the logits of the exit that a row takes, not of every exit$"):
        predict_exits(net, rows(3))
    assert net.batches == []
