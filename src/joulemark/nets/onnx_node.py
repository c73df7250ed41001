"""One node of an ONNX graph, and what it is read as."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

Array = NDArray[Any]


class Node(NamedTuple):
    """A node with the constants among its inputs, and with what its inputs are in one run of the graph."""

    kind: str
    label: str
    """What messages call it: its name, or the name of its first output."""
    settings: Mapping[str, Any]
    inputs: tuple[str, ...]
    """An input that is left out is ""."""
    outputs: tuple[str, ...]
    opset: int = 18
    constants: Mapping[str, Array] = {}
    values: Mapping[str, Any] = {}
    """By name: tensors, and shapes as lists of whole numbers."""

    def has(self, place: int) -> bool:
        """Whether there is an input at that place."""
        return len(self.inputs) > place and bool(self.inputs[place])

    def is_constant(self, place: int) -> bool:
        """Whether the input at that place is there and the same in every run."""
        return self.has(place) and self.inputs[place] in self.constants

    def constant(self, place: int) -> Array | None:
        """The constant at that place; ``None`` if nothing is there. ``ValueError`` if it is computed in each run."""
        if not self.has(place):
            return None
        if self.inputs[place] not in self.constants:
            raise ValueError(f"{self} computes its input {self.inputs[place]!r}, which must be a constant")
        return self.constants[self.inputs[place]]

    def numbers(self, setting: str, place: int | None = None) -> list[int] | None:
        """Whole numbers that older files hold as a setting and newer ones as an input."""
        if setting in self.settings:
            stated = self.settings[setting]
            return [stated] if isinstance(stated, int) else list(stated)
        given = None if place is None else self.constant(place)
        return None if given is None else [int(one) for one in np.ravel(given)]

    def value(self, place: int = 0) -> Any:
        """What the input at that place is in the run."""
        return self.values[self.inputs[place]]

    def refusal(self, why: str) -> ValueError:
        """The error for a node that cannot be read."""
        return ValueError(f"{self} {why}")

    def __str__(self) -> str:
        return f"{self.kind} (node {self.label})"


class Call(NamedTuple):
    """What a node does: a function, or a layer with weights, of some of its inputs.

    A layer is called by the path of its weights. ``before`` and ``after`` are functions of one tensor, as padding.
    """

    does: Callable[..., Any] | nn.Module
    places: tuple[int, ...] = (0,)
    before: Callable[..., Any] | None = None
    after: Callable[..., Any] | None = None


Reader = Callable[[Node], Call]
"""Reads a node; ``ValueError`` if it is more than Joulemark can read."""
