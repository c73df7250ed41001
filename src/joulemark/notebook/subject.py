"""What a session hands over as a net, its inputs and their shape: checked here, in one sentence each."""

from __future__ import annotations

import operator
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from joulemark.nets.answers import NetFailsError, copied
from joulemark.nets.net import Net

Subject = str | os.PathLike[str] | Net | nn.Module
"""A name as on the command line, a file, a net of ours or a torch module."""


def named(subject: object) -> str | None:
    """The name or path that a subject is; ``None`` for a net or module. ``ValueError`` for anything else."""
    if isinstance(subject, str | os.PathLike):
        return os.fsdecode(subject)
    if isinstance(subject, Net | nn.Module):
        return None
    raise ValueError(
        f"give a net's name, a file, a joulemark.Net or a torch module, not {type(subject).__name__}: {subject!r:.80}"
    )


def shape_of_one(shape: Any) -> tuple[int, ...] | None:
    """The shape of one input as whole numbers of at least 1. ``ValueError`` for anything else.

    >>> shape_of_one([3, 224, 224])
    (3, 224, 224)
    """
    if shape is None:
        return None
    try:
        sizes = tuple(operator.index(size) for size in shape)
    except TypeError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise ValueError(f"shape={shape!r:.80} is no shape of one input: give whole numbers, as (3, 224, 224)")
    return sizes


def needed_shape(module: nn.Module, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape given, or what the module states as ``INPUT_SHAPE``. ``ValueError`` without either."""
    row = shape or shape_of_one(getattr(module, "INPUT_SHAPE", None))
    if row is None:
        raise ValueError("a torch module needs the shape of one input, as shape=(3, 224, 224), or images=")
    return row


def real_inputs(images: Any, shape: tuple[int, ...] | None) -> NDArray[np.float32]:
    """Images as float32 of shape (inputs, *shape), channels first. ``ValueError`` for what are no such inputs."""
    try:
        array = images.detach().cpu().numpy() if isinstance(images, Tensor) else np.asarray(images)
        rows = np.ascontiguousarray(array, np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"images= takes a tensor or array of numbers, not {type(images).__name__}") from error
    if rows.ndim < 2 or not rows.size:
        raise ValueError(f"images= has shape {rows.shape}: give (inputs, ...), with one input at least")
    if shape is not None and rows.shape[1:] != shape:
        raise ValueError(f"images= has shape {rows.shape}, the net takes (inputs, {', '.join(map(str, shape))})")
    if not np.isfinite(rows).all():
        raise ValueError("images= holds numbers that are not finite")
    return rows


def in_evaluation(module: nn.Module) -> nn.Module:
    """A copy of a module on the CPU, in evaluation mode: what is given stays. ``ValueError`` if it has none."""
    try:
        return copied(module).cpu().eval()
    except NetFailsError as error:
        raise ValueError(f"this torch module cannot be copied ({error})") from error
