"""A pooling moves to the end of a later stage, once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark.nets.edits.delay import delay


def staged() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2)), nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU())
    )


def test_what_is_between_sees_the_larger_map():
    net, x = staged(), torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        expected = nn.functional.max_pool2d(net[1](net[0][0](x)), 2)
        delay(net, layer="0.1", stage="1")
        torch.testing.assert_close(net(x), expected)
    assert isinstance(net[0][1], nn.Identity)


@pytest.mark.parametrize(("layer", "stage"), [("0.0", "1"), ("0.1", "1.0"), ("x", "1"), ("0.1", "x")])
def test_what_is_no_pooling_or_no_stage_is_refused(layer, stage):
    with pytest.raises(ValueError, match="are no pooling and no stage of the net"):
        delay(staged(), layer=layer, stage=stage)


def test_a_stage_takes_one():
    net = staged()
    delay(net, layer="0.1", stage="1")
    net[0].add_module("second", nn.MaxPool2d(2))
    with pytest.raises(ValueError, match="a pooling was moved to '1' before"):
        delay(net, layer="0.second", stage="1")
