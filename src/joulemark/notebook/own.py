"""`joulemark.custom_task`: a trained module and one's data, as they are in this session, as a task."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from joulemark.benchmarking.own_task import SPLITS, OwnTask, live_task


def custom_task(
    module: Any,
    *,
    validation: Any,
    test: Any,
    train: Any = None,
    policy: Any = None,
    preprocess: Callable[..., Any] | None = None,
    augment: Callable[..., Any] | None = None,
    loss: Callable[..., Any] | None = None,
    metric: Any = None,
    recipe: Mapping[str, Any] | None = None,
    suite: Mapping[str, Any] | None = None,
    rows: int | None = None,
    title: str | None = None,
    name: str = "custom",
    limit: float | None = None,
) -> OwnTask:
    """A task of a trained ``module`` (or the path of an .onnx file) and one's data, for :func:`joulemark.benchmark`.

    ``train``, ``validation``, ``test`` and ``policy`` are (inputs, labels) as arrays or tensors, a torch Dataset or
    DataLoader, an iterable of batches or the path of a folder of pictures by class; or a function that gives one. What
    the others are, ``joulemark init`` says in the file that it writes. The module is copied, in evaluation mode, and
    is the baseline: nothing trains it again. Results are kept and shown as of any task, but no other session uses them
    again, since nobody can tell whether its code is the same. Raises ``ValueError`` in one sentence for what cannot be
    used.

    >>> import torch
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    >>> images, labels = torch.randn(1200, 1, 4, 4), torch.arange(1200) % 2
    >>> task = custom_task(net, validation=(images[:700], labels[:700]), test=(images[700:], labels[700:]))
    >>> task.task.classes, task.task.splits.test
    (2, 500)
    """
    given = {"train": train, "policy": policy, "validation": validation, "test": test}
    functions = {split: _function(given[split]) for split in SPLITS if given[split] is not None}
    rest = {
        "preprocess": preprocess, "augment": augment, "loss": loss, "metric": metric, "recipe": recipe, "suite": suite,
        "rows": rows, "title": title,
    }  # fmt: skip
    net = _copied(module) if isinstance(module, nn.Module) else module
    defined = {**functions, **{key: value for key, value in rest.items() if value is not None}, "net": lambda: net}
    return live_task(name, defined, limit=limit)


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module).cpu().eval()
    except Exception as error:  # a module may hold anything
        raise ValueError(
            f"the module cannot be copied ({type(error).__name__}: {error}): hold nothing in it but layers, "
            "parameters, buffers and plain values"
        ) from error


def _function(given: Any) -> Callable[[], Any]:
    is_data = hasattr(given, "__len__") or hasattr(given, "__iter__") or hasattr(given, "__getitem__")
    if callable(given) and not is_data:
        function: Callable[[], Any] = given
        return function
    return lambda: given
