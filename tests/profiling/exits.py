"""A net whose rows leave early, half of them, for the tests of profiles."""

from __future__ import annotations

import torch
from torch import Tensor, nn

INPUT_SHAPE = (6,)
LAYERS = {"first": (6, 6), "second": (6, 600)}


class Halved(nn.Module):
    """Rows with a positive first number leave after the first layer."""

    INPUT_SHAPE = INPUT_SHAPE

    def __init__(self) -> None:
        super().__init__()
        for name, (inputs, outputs) in LAYERS.items():
            self.add_module(name, nn.Linear(inputs, outputs, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))

    def run(self, x: Tensor) -> Tensor:
        rest = torch.nonzero(x[:, 0] <= 0).flatten()
        y = self.first(x)
        if len(rest):
            self.second(y.index_select(0, rest))
        return y


def build() -> nn.Module:
    return Halved()
