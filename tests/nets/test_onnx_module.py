"""The module that runs steps: paths, what is freed, what stands at a path when it runs."""

from __future__ import annotations

import torch
from torch import nn

from joulemark.nets.onnx_module import Held, OnnxModule, Step, needed


def test_paths_are_nested_and_none_is_taken_twice():
    module = OnnxModule("x", "y")
    assert module.place("layer1.0.conv", nn.Conv2d(1, 1, 1)) == "layer1.0.conv"
    assert module.place("layer1.0.conv", nn.Conv2d(1, 1, 1)) == "layer1.0.conv_2"
    assert module.place("order.scale", nn.Parameter(torch.ones(2))) == "order_2.scale", "order is the module's own"
    assert module.place("forward", torch.ones(3)) == "forward_2"
    assert module.place("layer1.0.conv.gain", torch.ones(1)) == "layer1.0.conv.gain"
    names = ["forward_2", "layer1.0.conv.bias", "layer1.0.conv.gain", "layer1.0.conv.weight", "layer1.0.conv_2.bias"]
    assert sorted(module.state_dict())[:5] == names


def test_steps_run_in_order_and_free_what_nobody_reads_again():
    module = OnnxModule("x", "y")
    scale = Held(module.place("scale", nn.Parameter(torch.tensor([3.0]))))
    path = module.place("twice", nn.Linear(1, 1, bias=False))
    module.twice.weight.data.fill_(2.0)
    halves = Step(torch.split, ("x", 1, 1), ("a", "b"))
    steps = [
        halves,
        Step(torch.mul, ("b", scale), ("c",)),
        Step(torch.neg, ("a",), ("dead",)),
        Step(path, ("c",), ("y",)),
    ]
    module.order = needed(steps, "y")
    assert [step.frees for step in module.order] == [("x", "a"), ("b",), ("c",)]
    assert module(torch.tensor([[5.0, 7.0]])).item() == 42
    module.twice = nn.Identity()  # as an edit would
    assert module(torch.tensor([[5.0, 7.0]])).item() == 21
