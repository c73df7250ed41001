"""What a net puts out, whatever it is: one tensor, several in a dictionary, a list or an object of the user's own."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

DEEPEST = 8
"""Levels of containers within containers that are looked into."""


class NetFailsError(Exception):
    """The net's own code does not run; the message is the name of what it raised."""


def answer(module: nn.Module, inputs: Tensor) -> list[Tensor]:
    """All tensors that a net puts out, without gradients; if it draws any, the same random numbers each time.

    Raises :class:`NetFailsError`.
    """
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return list(tensors_in(module(inputs)))
    except Exception as error:  # (a net is anybody's code, and raises what it likes)
        raise NetFailsError(type(error).__name__) from error


def copied(module: nn.Module) -> nn.Module:
    """A copy of a net. Raises :class:`NetFailsError` if there can be none.

    Tensors that a net computed from its parameters and holds, as masks and weight norms of an older kind do, are parted
    from them: they are computed anew when it runs.
    """
    for layer in module.modules():
        for name, value in vars(layer).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                vars(layer)[name] = value.detach()
    try:
        return copy.deepcopy(module)
    except Exception as error:  # (the same)
        raise NetFailsError(type(error).__name__) from error


def tensors_in(value: Any, depth: int = DEEPEST) -> Iterable[Tensor]:
    """The tensors, arrays and numbers in ``value`` as dense tensors, in order.

    >>> [one.tolist() for one in tensors_in({"a": [torch.ones(2)], "b": (3.5, "text", None)})]
    [[1.0, 1.0], 3.5]
    """
    if isinstance(value, Tensor):
        yield value.detach().to_dense() if value.layout != torch.strided else value.detach()
    elif isinstance(value, np.ndarray | float | complex):
        yield torch.as_tensor(value)
    elif depth and not isinstance(value, str | bytes | type | nn.Module):
        inside: Iterable[Any] = getattr(value, "__dict__", {}).values()
        if isinstance(value, Mapping):
            inside = value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            inside = value
        for one in inside:
            yield from tensors_in(one, depth - 1)


def has_numbers(outputs: Iterable[Tensor]) -> bool:
    """Whether any of what a net puts out is a number with a fraction, which tells small differences."""
    return any(one.numel() and (one.is_floating_point() or one.is_complex()) for one in outputs)
