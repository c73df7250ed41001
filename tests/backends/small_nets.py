"""Small nets of every kind that backends run."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from joulemark.nets.header import Exit, Format, Route
from joulemark.nets.net import Net
from joulemark.nets.routers.router import Carry, Router
from joulemark.nets.segments import CarryStage
from joulemark.vocabulary import TABLES

SHAPE = (1, 28, 28)
FORM = Format(weight_bits=8, activation_bits=8, low=-4.0, high=4.0)


class Policy(CarryStage):
    """Looks at the image once and notes for later routers what it thinks of it."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Linear(784, 2)

    def forward(self, carry: Carry) -> Carry:
        return {**carry, "policy": self.look(carry["features"].flatten(1))}


class Skips(Router):
    """Rows of which the policy thinks little jump over the next segment; nobody leaves."""

    needs_logits = False

    def __init__(self, threshold: float, onto: int) -> None:
        super().__init__()
        self.threshold, self.onto = threshold, onto

    def forward(self, carry: Carry, logits: Tensor | None) -> Tensor:
        return torch.where(carry["policy"][:, 0] > self.threshold, 1, self.onto)


class Learned(Router):
    """A gate with weights of its own on everything that there is."""

    def __init__(self, threshold: float, inputs: int) -> None:
        super().__init__()
        self.threshold, self.gate = threshold, nn.Linear(inputs, 1)

    def forward(self, carry: Carry, logits: Tensor | None) -> Tensor:
        seen = torch.cat([carry["features"].mean((2, 3)), carry["policy"], logits], 1)
        return self.gate(seen)[:, 0] > self.threshold


def skipping() -> nn.Sequential:
    """A policy, a stem, a residual-like stage that may be skipped, and an output."""
    children = nn.Sequential()
    children.add_module("policy", Policy())
    children.add_module("same", nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU()))
    children.add_module("stem", nn.Sequential(nn.Conv2d(1, 4, 5, stride=3), nn.ReLU()))
    children.add_module("output", nn.Sequential(nn.Flatten(), nn.Linear(4 * 8 * 8, 10)))
    return children


TABLES["router"] |= {"skips": "small_nets:Skips", "learned": "small_nets:Learned"}
TABLES["builder"]["skipping"] = "small_nets:skipping"


def made(kind: str) -> Net:
    """A small LeNet, static, quantised, with two exits before the last, or as a part of a cascade."""
    small = Net.new("lenet", SHAPE, seed=1, width=0.2)
    if kind == "static":
        return small
    if kind == "quantised":
        layers = ("stage1.conv", "stage2.conv", "classifier.hidden", "classifier.output")
        return small.replace(formats=dict.fromkeys(layers, FORM))
    if kind == "cascade":
        exits = (Exit(after="small", router="exactly-one", threshold=0.1),)
        route = Route(kind="cascade", order=("small", "large"), exits=exits)
        parts = {"small": small, "large": Net.new("lenet", SHAPE, seed=2, width=0.4)}
        return Net(builder="lenet", input_shape=SHAPE, route=route, parts=parts)
    if kind == "skipping":
        exits = (
            Exit(after="policy", router="skips", threshold=0.0, options={"onto": 2}),
            Exit(after="same", router="onward", threshold=0.0),
            Exit(after="stem", router="learned", threshold=0.1, features=256, classes=10, options={"inputs": 16}),
        )
        route = Route(kind="exits", exits=exits)
        blank = Net(builder="skipping", input_shape=SHAPE, route=route)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return blank.with_state(blank.module())
    exits = tuple(
        Exit(after=after, router="exactly-one", threshold=0.3, features=features, classes=10)
        for after, features in (("stage1", 576), ("stage2", 160))
    )
    blank = small.replace(route=Route(kind="exits", exits=exits), state={})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return blank.with_state(blank.module())


NETS = {kind: made(kind) for kind in ("static", "quantised", "dynamic", "cascade", "skipping")}
