"""Peak activation memory against counts by hand, in floats of 4 bytes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from joulemark.energy.proxies import proxies
from joulemark.nets.builders.resnet import Block
from joulemark.nets.header import Format
from joulemark.nets.net import Net
from joulemark.workloads.recording import record

INT8 = Format(weight_bits=8, activation_bits=8, low=-3.0, high=3.0)


def peak(module: nn.Module, x: Tensor, batch_size: int = 1) -> float:
    return record(module.eval(), x, batch_size=batch_size).peak_activation_bytes / 4


@pytest.mark.parametrize(("images", "batch_size", "rows"), [(3, 1, 1), (5, 4, 4), (2, 8, 2)])
def test_lenet_holds_most_at_its_first_pooling(images, batch_size, rows):
    module = Net.new("lenet", (1, 28, 28), seed=0).module()
    # 20 x 24 x 24 in, 20 x 12 x 12 out; the image is no longer read, where the maxima are nobody reads.
    assert peak(module, torch.randn(images, 1, 28, 28), batch_size) == rows * (20 * 24 * 24 + 20 * 12 * 12)


def test_a_residual_block_holds_three_tensors():
    work = record(Block(4, 4, 1).eval(), torch.randn(6, 4, 5, 5), batch_size=2)
    assert work.peak_activation_bytes == 2 * 3 * 100 * 4  # its input, and one of f's tensors read and one written
    weights = 4 * (2 * 4 * 4 * 9)
    assert proxies(work, parameters=1, nonzeros=1)["peak_memory_bytes"] == weights + 2 * 3 * 100 * 4


def test_a_residual_block_that_halves_the_image():
    # Input 4 x 6 x 6 = 144, all else 8 x 3 x 3 = 72: the input is read until its sliced view has been padded.
    assert peak(Block(4, 8, 2), torch.randn(1, 4, 6, 6)) == 144 + 72 + 72


def test_views_and_operators_in_place_take_no_more():
    class Views(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x + 1).view(-1, 6).t().t().relu_().unsqueeze(0)

    assert peak(Views(), torch.randn(1, 12)) == 24


def test_memory_that_is_given_back_and_taken_again_is_not_confused():
    class Chain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            for _ in range(50):
                x = x + 1
            return x

    assert peak(Chain(), torch.randn(1, 1000)) == 2000


def test_what_is_read_again_at_the_end_is_held_until_then():
    class Late(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x[:, :1] + x.sum(), (x + 1) + 1], 1)

    # Scalar sum, column of 1, x + 1 and x + 2; x is read last by x + 1: x 10, column 1, x + 1 10; cat: 1 + 10 + 11.
    assert peak(Late(), torch.randn(1, 10)) == 22


def test_integers_take_a_quarter():
    net, x = Net.new("lenet", (1, 28, 28), seed=0), torch.randn(1, 1, 28, 28)
    first = net.replace(formats={"stage1.conv": INT8}).module()
    assert peak(first, x) == 20 * 24 * 24 + 20 * 12 * 12  # its input is in integers, its output is not
    second = net.replace(formats={"stage2.conv": INT8}).module()
    # What the pooling puts out is in integers: now the convolution holds more, with the image.
    assert peak(second, x) == 28 * 28 + 20 * 24 * 24 > 20 * 24 * 24 + 20 * 12 * 12 / 4


def test_the_batch_that_holds_most_counts_and_rows_that_left_are_not_held():
    class Dropping(nn.Module):
        def run(self, x: Tensor) -> Tensor:
            x = x * 2
            return (x[:1] if len(x) > 4 else x).repeat(1, 6)

    module = Dropping()
    assert peak(module, torch.randn(8, 10), 8) == 160  # doubled: 80 read, 80 written; then 80 and 60
    assert peak(module, torch.randn(8, 10), 4) == 40 + 240
    assert peak(module, torch.randn(9, 10), 4) == 40 + 240  # a last batch of one row holds less
