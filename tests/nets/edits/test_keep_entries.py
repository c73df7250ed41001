"""What is kept of a tensor is what indexing it gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from joulemark.nets.edits.keep_entries import keep_entries


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.arange(4.0).view(4, 1), requires_grad=False)
        self.register_buffer("mask", torch.arange(6.0).view(1, 6))


def test_a_parameter_stays_one_and_a_buffer_too():
    net = nn.Sequential(Scaled())
    keep_entries(net, tensor="0.gamma", dimension=0, kept=[3, 1])
    keep_entries(net, tensor="0.mask", dimension=1, kept=[0, 5])
    assert net[0].gamma.tolist() == [[3.0], [1.0]] and not net[0].gamma.requires_grad
    assert isinstance(net[0].gamma, nn.Parameter)
    assert dict(net.named_buffers())["0.mask"].tolist() == [[0.0, 5.0]]
    assert list(net.state_dict()) == ["0.gamma", "0.mask"]


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"tensor": "0.beta", "dimension": 0, "kept": [0]}, "no parameter or buffer is called '0.beta'"),
        ({"tensor": "1.gamma", "dimension": 0, "kept": [0]}, "no parameter or buffer is called '1.gamma'"),
        ({"tensor": "0.train", "dimension": 0, "kept": [0]}, "no parameter or buffer"),
        ({"tensor": "0.gamma", "dimension": 2, "kept": [0]}, "has dimensions 0 to 1, not 2"),
        ({"tensor": "0.gamma", "dimension": True, "kept": [0]}, "not True"),
        ({"tensor": "0.gamma", "dimension": 0, "kept": []}, "has entries 0 to 3 there: keep some of them"),
        ({"tensor": "0.gamma", "dimension": 0, "kept": [4]}, "has entries 0 to 3"),
        ({"tensor": "0.gamma", "dimension": 0, "kept": [-1]}, "has entries 0 to 3"),
        ({"tensor": "0.gamma", "dimension": 0, "kept": [1.0]}, "has entries 0 to 3"),
        ({"tensor": "0.gamma", "dimension": 0, "kept": [1, 1]}, "each entry of '0.gamma' is kept once"),
    ],
)
def test_what_does_not_fit_is_one_sentence(wanted, why):
    with pytest.raises(ValueError, match=why):
        keep_entries(nn.Sequential(Scaled()), **wanted)
