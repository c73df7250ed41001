"""A torch module made by a function of the user's own code: importing and calling it runs whatever it holds."""

from __future__ import annotations

import importlib
import operator
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn


def build_module(name: str) -> nn.Module:
    """Import ``package.module:function`` and call it; the module comes in evaluation mode.

    The working folder is searched, too. ``ValueError`` says in one sentence why there is no module.
    """
    place, _, function = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:  # it is the user's code, which may raise anything, or leave
        build: Any = getattr(importlib.import_module(place), function)
    except (Exception, SystemExit) as error:
        raise ValueError(f"cannot import {name}: {type(error).__name__}: {error}") from error
    try:
        module = build()
    except (Exception, SystemExit) as error:
        raise ValueError(f"{name}() raised {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ValueError(f"{name}() returned {type(module).__name__}, not a torch module")
    return module.eval()


def input_shape(module: nn.Module, name: str, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """Shape of one input: the one given, or what the module states as ``INPUT_SHAPE``; ``ValueError`` without either.

    >>> input_shape(nn.ReLU(), "mine:build", (3, 8, 8))
    (3, 8, 8)
    """
    row = shape or getattr(module, "INPUT_SHAPE", None)
    if row is None:
        raise ValueError(f"{name} does not state its INPUT_SHAPE: give the shape of one input, as --shape 3,224,224")
    try:
        sizes = tuple(operator.index(size) for size in row)
        if not sizes or min(sizes) < 1:
            raise ValueError("a size is 1 or more")
        return sizes
    except (TypeError, ValueError) as error:
        raise ValueError(f"INPUT_SHAPE of {name} is {row!r}: it must be whole numbers, as (3, 224, 224)") from error


def output_of(module: nn.Module, name: str, example: torch.Tensor) -> Any:
    """What the module returns for an example; ``ValueError`` if it does not run on it."""
    try:  # user code again
        with torch.inference_mode():
            return module(example)
    except (Exception, SystemExit) as error:
        row = tuple(example.shape[1:])
        raise ValueError(f"{name} does not run on inputs of shape {row}: {type(error).__name__}: {error}") from error
