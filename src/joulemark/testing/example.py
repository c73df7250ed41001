"""What the checks train and ask: a small net, and images that are generated, each class a pattern in noise."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import torch

from joulemark.data.splits import Split
from joulemark.nets.net import Net, build, usual_input_shape
from joulemark.task import Recipe, Splits, Task
from joulemark.training import fit, sgd

TASK = Task(
    name="generated",
    title="Ten generated patterns in noise",
    data="generated",
    data_sha256="none: generated from a seed",
    splits=Splits(train=300, policy=100, validation=100, test=1),
    input_shape=(1, 28, 28),
    classes=10,
    mean=(0.0,),
    deviation=(1.0,),
    recipe=Recipe(builder="lenet", options={"width": 0.2}, epochs=4, batch_size=32, learning_rate=0.05),
)
"""The task of the checks: LeNet at a fifth of its width, four epochs. Its test split is never generated."""
EPOCHS = 2
"""Budget of a technique in the checks."""


def generated_task(
    builder: str, options: Mapping[str, Any] | None = None, input_shape: tuple[int, ...] | None = None
) -> Task:
    """The task of the checks for another net, on inputs of its usual shape or of ``input_shape`` (channels, ...).

    It has as many classes as the net has outputs. Raises ``ValueError`` for an unknown builder, and for one that has no
    usual shape if none is given.

    >>> generated_task("resnet20").input_shape
    (3, 32, 32)
    """
    shape = input_shape or usual_input_shape(builder)
    if shape is None:
        raise ValueError(f"the builder {builder!r} has no usual input shape: say input_shape=(channels, ...)")
    return msgspec.structs.replace(
        TASK,
        classes=_outputs(builder, options or {}, tuple(shape)),
        input_shape=tuple(shape),
        mean=(0.0,) * shape[0],
        deviation=(1.0,) * shape[0],
        recipe=msgspec.structs.replace(TASK.recipe, builder=builder, options=dict(options or {})),
    )


def _outputs(builder: str, options: Mapping[str, Any], shape: tuple[int, ...]) -> int:
    """How many a net gives for a row; as many as the task has of one that does not run: the checks will say why."""
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            module = build(builder, options).eval()
            outputs = module(torch.zeros(2, *shape))
    except Exception:  # noqa: BLE001  (a builder is anybody's)
        return TASK.classes
    return int(outputs.shape[1]) if outputs.dim() == 2 else TASK.classes


def generated(task: Task = TASK) -> dict[str, Split]:
    """Each class is a coarse random pattern; an input is its pattern, fainter or stronger, in noise. No test split."""
    return _generated(task.input_shape, task.classes)


@functools.cache
def _generated(shape: tuple[int, ...], classes: int) -> dict[str, Split]:
    random = np.random.default_rng(0)
    patterns = random.normal(size=(classes, shape[0], *(-(-side // 4) for side in shape[1:])))
    for axis, side in enumerate(shape[1:], 2):
        patterns = patterns.repeat(4, axis=axis).take(range(side), axis=axis)
    made = {}
    for name in ("train", "policy", "validation"):
        labels = np.arange(getattr(TASK.splits, name)) % classes
        strength = random.uniform(0.3, 1.0, size=(len(labels), *(1 for _ in shape)))
        images = patterns[labels] * strength + random.normal(size=(len(labels), *shape))
        made[name] = Split(images.astype(np.float32), labels.astype(np.int64))
    return made


def baseline(task: Task = TASK) -> Net:
    """The trained net that techniques start from, made once a process."""
    return _trained(msgspec.json.encode(task))


@functools.cache
def _trained(encoded: bytes) -> Net:
    task = msgspec.json.decode(encoded, type=Task)
    recipe, train = task.recipe, generated(task)["train"]
    net = Net.new(recipe.builder, task.input_shape, seed=0, **recipe.options)
    module = net.module()
    fit(
        module,
        torch.from_numpy(train.images),
        torch.from_numpy(train.labels),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=0,
        optimiser=sgd(recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay),
    )
    return net.with_state(module)
