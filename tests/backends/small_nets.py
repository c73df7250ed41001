"""Small nets of every kind that backends run."""

from __future__ import annotations

import torch

from joulemark.nets.formats import Format
from joulemark.nets.net import Net
from joulemark.nets.segments import Exit, Route

SHAPE = (1, 28, 28)
FORM = Format(weight_bits=8, activation_bits=8, low=-4.0, high=4.0)


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
    exits = tuple(
        Exit(after=after, router="exactly-one", threshold=0.3, features=features, classes=10)
        for after, features in (("stage1", 576), ("stage2", 160))
    )
    blank = small.replace(route=Route(kind="exits", exits=exits), state={})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return blank.with_state(blank.module())


NETS = {kind: made(kind) for kind in ("static", "quantised", "dynamic", "cascade")}
