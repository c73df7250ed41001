"""Fewer zeros around a shortcut: the block puts out fewer channels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark.nets.builders.resnet import Block
from joulemark.nets.edits.pad_channels import pad_channels, padded_channels


def test_a_shortcut_pads_as_it_is_told():
    block = Block(2, 6, 1)
    net = nn.Sequential(block.bypassed())
    assert padded_channels(block) == padded_channels(net[0]) == (2, 2)
    pad_channels(net, block="0", before=0, after=1)
    x = torch.ones(1, 2, 3, 3)
    assert net(x)[0, :, 0, 0].tolist() == [1.0, 1.0, 0.0]
    assert padded_channels(net[0]) == (0, 1)


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 3, 3, padding=(1, 1)), Block(4, 4, 1), nn.ReLU()])
def test_what_pads_no_channels_is_told(layer):
    assert padded_channels(layer) is None
    with pytest.raises(ValueError, match="'0' is no residual block whose shortcut pads channels"):
        pad_channels(nn.Sequential(layer), block="0", before=0, after=0)


@pytest.mark.parametrize(("before", "after"), [(3, 0), (0, 3), (-1, 0), (1.0, 0), (True, 0)])
def test_numbers_that_do_not_fit_are_one_sentence(before, after):
    with pytest.raises(ValueError, match=r"'0' pads 2 and 2 channels, and .* are not fewer"):
        pad_channels(nn.Sequential(Block(2, 6, 1)), block="0", before=before, after=after)
