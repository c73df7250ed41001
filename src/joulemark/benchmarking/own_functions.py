"""A user's own functions as the rest calls them: ``preprocess``, ``augment`` and ``loss``, their answers looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from joulemark.data.own.batches import array
from joulemark.data.own.calling import called
from joulemark.data.own.own_data import own_data
from joulemark.data.own.rows import Prepare
from joulemark.task import Task
from joulemark.training import AUGMENTS, Augment, Loss, cross_entropy


def prepare_by(preprocess: Callable[[Tensor], Any] | None) -> Prepare:
    """Raw inputs as float32 arrays, by a user's function of a batch if there is one, else as they are."""

    def prepare(raw: NDArray[Any]) -> NDArray[np.float32]:
        batch = torch.from_numpy(np.array(raw, order="C"))  # the user's code may write into it
        if preprocess is not None:
            with torch.no_grad():
                batch = _tensor("preprocess(batch)", preprocess, batch)
            if batch.dim() < 2 or len(batch) != len(raw):
                raise ValueError(f"preprocess(batch) made {list(batch.shape)} of a batch of {list(raw.shape)}")
        found = np.ascontiguousarray(array("preprocess(batch)" if preprocess else "the data", batch), np.float32)
        if not np.isfinite(found).all():
            raise ValueError(
                "preprocess(batch) gave NaN or infinity" if preprocess else "inputs do not fit into float32"
            )
        return found

    return prepare


def loss_and_augment(task: Task) -> tuple[Loss, Augment | None]:
    """The loss that a fit on a task minimises, and how it changes inputs: the user's, or those of the recipe."""
    augment = AUGMENTS[task.recipe.augment]
    if task.own is None:
        return cross_entropy, augment
    data = own_data(task)
    return _loss_by(data.loss) if data.loss is not None else cross_entropy, (
        _augment_by(data.augment) if data.augment is not None else augment
    )


def _loss_by(own: Callable[[Tensor, Tensor], Any]) -> Loss:
    def loss(module: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        value = _tensor("loss(outputs, labels)", own, module(inputs).float(), labels)
        if value.numel() != 1 or not value.requires_grad:
            raise ValueError(
                f"loss(outputs, labels) gave a tensor of shape {list(value.shape)}"
                f"{'' if value.requires_grad else ' without a gradient'}: it is one number that depends on the outputs"
            )
        return value.reshape(())

    return loss


def _augment_by(own: Callable[[Tensor, torch.Generator], Any]) -> Augment:
    def augment(batch: Tensor, generator: torch.Generator) -> Tensor:
        changed = _tensor("augment(batch, generator)", own, batch, generator)
        if (changed.shape, changed.dtype) != (batch.shape, batch.dtype):
            forms = [f"{str(one.dtype).removeprefix('torch.')} {list(one.shape)}" for one in (changed, batch)]
            raise ValueError(f"augment(batch, generator) made {forms[0]} of a batch of {forms[1]}: keep shape and type")
        return changed

    return augment


def _tensor(name: str, function: Callable[..., Any], *given: Any) -> Tensor:
    value = called(name, function, *given)
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} gave a {type(value).__name__}, not a tensor")
    return value
