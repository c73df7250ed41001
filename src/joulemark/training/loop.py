"""The one training loop: deterministic by seed, resumable at every epoch, obeying masks.

A fit that is killed and started again ends with the same weights, bit for bit, as one that was not: the order of the
images and all randomness of an epoch follow from (seed, epoch) alone, and the checkpoint holds the weights and the
states of the optimiser, the callbacks and the loss.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from joulemark.training.checkpoint import Checkpoint, Run, stateful
from joulemark.training.recipe import Augment, Loss, MakeOptimiser, Schedule, cosine, cross_entropy

PRECISIONS = ("fp32", "bf16")


class Rows(Protocol):
    """Inputs (n, ...) that are made when they are asked for: an array of places gives a float32 array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, then the shape of one."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


@dataclasses.dataclass(frozen=True)
class Step:
    """What a callback is shown: the module and its optimiser as they are now, and how far the fit is.

    ``progress`` is the share of the fit's steps that are done: 0 after the first backward pass, 1 after the last step.
    ``epoch`` and ``step`` count from 0, the step through the whole fit.
    """

    module: nn.Module
    optimiser: torch.optim.Optimizer
    progress: float
    epoch: int
    step: int


Callback = Callable[[Step], None]


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What a fit did in this process: image passes, epochs run here, mean loss of every epoch."""

    image_passes: int
    losses: tuple[float, ...]


def image_passes(epochs: float, images: int) -> int:
    """Whole image passes in so many epochs over ``images``, rounded down: shares of a budget never add up to more.

    A single image behind whole epochs is left out: batch norm cannot train on one.

    >>> image_passes(2, 300), image_passes(2 / 3, 100), 3 * image_passes(1 / 3, 200)
    (600, 66, 198)
    """
    if not (math.isfinite(epochs) and epochs >= 0):
        raise ValueError(f"epochs must be a number of at least 0, not {epochs!r}")
    passes = math.floor(epochs * images + 1e-6)  # 0.29 x 100 is a little less than 29
    return passes - (passes % images == 1)


def fit(
    module: nn.Module,
    images: Tensor | Rows,
    labels: Tensor,
    *,
    epochs: float,
    batch_size: int,
    seed: int,
    optimiser: MakeOptimiser,
    schedule: Schedule = cosine,
    loss: Loss = cross_entropy,
    after_backward: Callback | None = None,
    after_step: Callback | None = None,
    augment: Augment | None = None,
    precision: str = "fp32",
    masks: Mapping[str, Tensor] | None = None,
    checkpoint: Checkpoint | None = None,
    checkpoint_seconds: float = 20.0,
    after_epoch: Callable[[int], None] | None = None,
) -> Fitted:
    """Train ``module`` in place on images (n, ...) and labels (n,).

    Images that do not fit into memory are rows that are made when they are asked for.

    ``epochs`` may have a fraction: the last epoch then ends early, after exactly :func:`image_passes` in all.
    ``schedule(progress)`` scales the learning rate before every step. ``after_backward`` may change gradients and
    ``after_step`` weights. What of both and of the loss has ``state_dict`` and ``load_state_dict`` has its state
    checkpointed: JSON values and tensors. A loss that is a module may have parameters that require a gradient: those
    that the optimiser does not hold yet join it in a group of its defaults, and are trained. Weights whose mask is
    false stay exactly zero. ``augment`` changes the images of a batch; with ``precision`` "bf16" the loss is computed
    under bfloat16 autocast, weights and gradients stay in float32. Modules with parameters of which none is trained
    stay in evaluation mode, so that a frozen trunk keeps its batch statistics. ``after_epoch`` is told how many epochs
    are done. Raises ``FloatingPointError`` if the loss stops being finite.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"a fit multiplies in {' or '.join(PRECISIONS)}, not in {precision!r}")
    rows = _Rows(len(images), image_passes(epochs, len(images)), batch_size, seed)
    layout = _fastest_layout(module, images, precision)
    if layout != torch.contiguous_format and isinstance(images, Tensor):
        images = images.contiguous(memory_format=layout)
    made = optimiser(module)
    _join(made, loss)
    base = [group["lr"] for group in made.param_groups]
    apply_masks = _masker(module, masks or {})
    run = Run(module, made, stateful(after_backward, after_step, loss), checkpoint)
    start = run.restore()
    saved = time.monotonic()
    apply_masks()
    for epoch in range(start, rows.epochs):
        _train_mode(module, made)
        torch.manual_seed(seed * 1_000_003 + epoch)
        random = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        total = torch.zeros(())
        for step, chosen in rows.batches(epoch, random):
            factor = schedule(step / rows.steps)
            for group, rate in zip(made.param_groups, base, strict=True):
                group["lr"] = rate * factor
            made.zero_grad()
            batch = _rows_of(images, chosen, layout)
            batch = batch if augment is None else augment(batch, random)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                value = loss(module, batch, labels[chosen])
            value.backward()
            if after_backward is not None:
                after_backward(Step(module, made, step / rows.steps, epoch, step))
            made.step()
            apply_masks()
            if after_step is not None:
                after_step(Step(module, made, (step + 1) / rows.steps, epoch, step))
                apply_masks()
            total += value.detach() * len(chosen)
        run.losses.append(float(total) / rows.within(epoch))
        if not math.isfinite(run.losses[-1]):
            raise FloatingPointError(f"the loss became {run.losses[-1]} in epoch {epoch + 1}: lower the learning rate")
        if time.monotonic() - saved >= checkpoint_seconds and epoch + 1 < rows.epochs:
            run.save(epoch + 1)
            saved = time.monotonic()
        if after_epoch is not None:
            after_epoch(epoch + 1)
    module.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return Fitted(image_passes=max(0, rows.passes - start * rows.images), losses=tuple(run.losses))


def _fastest_layout(module: nn.Module, images: Tensor | Rows, precision: str) -> torch.memory_format:
    """The layout to train in: channels last, where convolutions of images are faster on CPUs.

    Anybody's net may flatten by ``view``, which does not take it: it is tried, and the module is left in what works.
    Other ranks have no such layout.
    """
    if len(images.shape) != 4:
        return torch.contiguous_format
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            module.eval()(_rows_of(images, torch.arange(min(2, len(images))), torch.channels_last))
    except RuntimeError:
        module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return torch.contiguous_format
    return torch.channels_last


def _rows_of(images: Tensor | Rows, chosen: Tensor, layout: torch.memory_format) -> Tensor:
    batch = images[chosen] if isinstance(images, Tensor) else torch.from_numpy(images[chosen.numpy()])
    return batch if layout == torch.contiguous_format else batch.contiguous(memory_format=layout)


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Which images are seen when: ``passes`` in all, every epoch in an order of its own, the last one cut short."""

    images: int
    passes: int
    batch_size: int
    seed: int

    @property
    def epochs(self) -> int:
        return math.ceil(self.passes / self.images)

    @property
    def steps(self) -> int:
        """Steps of the whole fit."""
        whole, rest = divmod(self.passes, self.images)
        return whole * math.ceil(self.images / self.batch_size) + len(self._sizes(rest))

    def within(self, epoch: int) -> int:
        """Images that an epoch sees."""
        return min(self.images, self.passes - epoch * self.images)

    def batches(self, epoch: int, random: torch.Generator) -> Iterator[tuple[int, Tensor]]:
        """The number of each step of an epoch and the rows of its images."""
        order = torch.randperm(self.images, generator=random)[: self.within(epoch)]
        first = epoch * math.ceil(self.images / self.batch_size)
        cut = len(order) < self.images
        yield from enumerate(order.split(self._sizes(len(order)) if cut else self.batch_size), first)

    def _sizes(self, rest: int) -> list[int]:
        """Batches of an epoch that is cut short; an image that would be alone in the last joins the one before it."""
        whole, left = divmod(rest, self.batch_size)
        if left == 1 and whole:
            return [self.batch_size] * (whole - 1) + [self.batch_size + 1]
        return [self.batch_size] * whole + [left] * (left > 0)


def _join(optimiser: torch.optim.Optimizer, loss: Loss) -> None:
    """Add the trained parameters of a loss that is a module to the optimiser, in a group of its defaults."""
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    own = [p for p in loss.parameters() if p.requires_grad] if isinstance(loss, nn.Module) else []
    if joining := [p for p in own if id(p) not in held]:
        optimiser.add_param_group({"params": joining})


def _masker(module: nn.Module, masks: Mapping[str, Tensor]) -> Callable[[], None]:
    pairs = [(module.get_parameter(name), mask) for name, mask in masks.items()]

    @torch.no_grad()
    def apply() -> None:
        for parameter, mask in pairs:
            parameter.mul_(mask)

    return apply


def _train_mode(module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    trained = {id(p) for group in optimiser.param_groups for p in group["params"]}
    module.train()
    for child in module.modules():
        own = [id(p) for p in child.parameters()]
        if own and trained.isdisjoint(own):
            child.eval()  # with all below it, also what has statistics but no parameters
