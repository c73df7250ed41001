"""Builders without numbers: on meta tensors, for VGG16 alone would take 550 MB."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from joulemark.nets import net as nets
from joulemark.nets.net import builders, usual_input_shape


def without_numbers(builder: str, **options) -> nn.Module:
    with torch.device("meta"):
        return nets.build(builder, options).eval()


@pytest.fixture
def meta():
    """Builds a net of shapes alone, by name."""
    return without_numbers


@pytest.fixture
def counted():
    """The parameters and MACs of a whole net and of each module by path, as a flop counter finds them."""

    def count(builder: str) -> dict[str, tuple[int, int]]:
        net = without_numbers(builder)
        with FlopCounterMode(display=False) as counter:
            net(torch.zeros(1, *usual_input_shape(builder), device="meta"))
        flops = {name.partition(".")[2]: sum(per.values()) for name, per in counter.get_flop_counts().items()}
        return {
            path: (sum(p.numel() for p in module.parameters()), flops.get(path, 0) // 2)
            for path, module in net.named_modules()
        }

    return count


def added(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    first, second = zip(*pairs, strict=True)
    return sum(first), sum(second)


@pytest.fixture
def check_table(counted):
    """Asserts that the rows and the total of the table in a builder's docstring are what is counted."""

    def check(builder: str, *, rows: int) -> None:
        text = importlib.import_module(builders()[builder].partition(":")[0]).__doc__ or ""
        said: dict[str, list[tuple[int, int]]] = {}
        place = ""
        for line in text[text.index("MACs\n") :].splitlines()[1:]:
            place = line[4:].partition("  ")[0] or place  # a child of several rows is named in the first of them
            if numbers := re.search(r" ([\d,]+) +([\d,]+)$", line):
                parameters, macs = (int(number.replace(",", "")) for number in numbers.groups())
                said.setdefault(place, []).append((parameters, macs))
        found = counted(builder)
        (total,) = said.pop("total")
        assert len(said) == rows
        assert total == found[""] == added(added(parts) for parts in said.values())
        for names, parts in said.items():
            assert added(parts) == added(found[name] for name in names.split(", ")), names

    return check


@pytest.fixture
def shapes():
    """The shape of a row behind each child of a net, by the child's name."""

    def walk(builder: str) -> dict[str, tuple[int, ...]]:
        x, found = torch.zeros(2, *usual_input_shape(builder), device="meta"), {}
        for name, child in without_numbers(builder).named_children():
            x = child(x)
            found[name] = tuple(x.shape[1:])
        return found

    return walk
