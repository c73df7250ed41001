"""The one training loop: deterministic by seed, resumable at every epoch, obeying masks.

A fit that is killed and started again ends with the same weights, bit for bit, as one that was not: the order of the
images and all randomness of an epoch follow from (seed, epoch) alone, and the checkpoint holds the weights, the
optimiser's state and the callbacks' state.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import msgspec
import safetensors.torch
import torch
from torch import Tensor, nn

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
MakeOptimiser = Callable[[nn.Module], torch.optim.Optimizer]
Schedule = Callable[[float], float]
Callback = Callable[[nn.Module], None]
Augment = Callable[[Tensor, torch.Generator], Tensor]


class Checkpoint(Protocol):
    """Where a fit keeps its last finished epoch."""

    def load(self) -> bytes | None:
        """The last checkpoint saved, or ``None``."""
        ...

    def save(self, data: bytes) -> None:
        """Replace the checkpoint, atomically."""
        ...


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What a fit did in this process: image passes, epochs run here, mean loss of every epoch."""

    image_passes: int
    losses: tuple[float, ...]


def cross_entropy(module: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Mean soft-max cross-entropy of the module's logits, in float32 whatever they were computed in."""
    return nn.functional.cross_entropy(module(images).float(), labels)


def crop_flip(images: Tensor, random: torch.Generator, *, padding: int = 4) -> Tensor:
    """Each image (n, channels, height, width) shifted by up to ``padding`` pixels and mirrored half of the time.

    What comes in at the edges is zero, the mean of scaled images (He et al., CVPR 2016, section 4.2).
    """
    n, _, height, width = images.shape
    padded = nn.functional.pad(images, (padding,) * 4).permute(0, 2, 3, 1)  # gathers whole pixels: channels last
    top, left = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=random)
    mirrored = torch.rand(n, 1, generator=random) < 0.5
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    columns = torch.where(mirrored, columns.flip(1), columns)
    return padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


AUGMENTS: dict[str, Augment | None] = {
    "none": None,
    "crop-flip": crop_flip,
    "crop2-flip": partial(crop_flip, padding=2),
}
"""What :attr:`joulemark.task.Recipe.augment` names."""


def sgd(learning_rate: float, *, momentum: float = 0.9, weight_decay: float = 0.0) -> MakeOptimiser:
    """Nesterov SGD over the parameters that require a gradient."""

    def make(module: nn.Module) -> torch.optim.Optimizer:
        trained = [p for p in module.parameters() if p.requires_grad]
        return torch.optim.SGD(trained, learning_rate, momentum, weight_decay=weight_decay, nesterov=momentum > 0)

    return make


def cosine(progress: float, *, warm_up: float = 0.1) -> float:
    """Factor of the learning rate at ``progress`` in [0, 1): linear warm-up, then half a cosine to zero.

    >>> cosine(0.05), cosine(0.1), round(cosine(1.0), 3)
    (0.5, 1.0, 0.0)
    """
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1.0 + math.cos(math.pi * (progress - warm_up) / (1.0 - warm_up)))


def fit(
    module: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
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

    ``schedule(progress)`` scales the learning rate before every step. ``after_backward`` may change gradients and
    ``after_step`` weights; a callback with ``state_dict`` and ``load_state_dict`` has its state checkpointed. Weights
    whose mask is false stay exactly zero. ``augment`` changes the images of a batch; with ``precision`` "bf16" the loss
    is computed under bfloat16 autocast, weights and gradients stay in float32. Modules with parameters of which none is
    trained stay in evaluation mode, so that a frozen trunk keeps its batch statistics. ``after_epoch`` is told how many
    epochs are done. Raises ``FloatingPointError`` if the loss stops being finite.
    """
    if images.dim() == 4:  # faster convolutions on CPUs; other ranks have no such layout
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = images.contiguous(memory_format=torch.channels_last)
    made = optimiser(module)
    base = [group["lr"] for group in made.param_groups]
    apply_masks = _masker(module, masks or {})
    run = _Run(module, made, [c for c in (after_backward, after_step) if hasattr(c, "state_dict")], checkpoint)
    start = run.restore()
    steps = math.ceil(len(images) / batch_size)
    saved = time.monotonic()
    apply_masks()
    for epoch in range(start, epochs):
        _train_mode(module, made)
        torch.manual_seed(seed * 1_000_003 + epoch)
        random = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(images), generator=random)
        total = torch.zeros(())
        for step, rows in enumerate(order.split(batch_size)):
            factor = schedule((epoch * steps + step) / (epochs * steps))
            for group, rate in zip(made.param_groups, base, strict=True):
                group["lr"] = rate * factor
            made.zero_grad()
            batch = images[rows] if augment is None else augment(images[rows], random)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                value = loss(module, batch, labels[rows])
            value.backward()
            if after_backward is not None:
                after_backward(module)
            made.step()
            apply_masks()
            if after_step is not None:
                after_step(module)
                apply_masks()
            total += value.detach() * len(rows)
        run.losses.append(float(total) / len(images))
        if not math.isfinite(run.losses[-1]):
            raise FloatingPointError(f"the loss became {run.losses[-1]} in epoch {epoch + 1}: lower the learning rate")
        if time.monotonic() - saved >= checkpoint_seconds and epoch + 1 < epochs:
            run.save(epoch + 1)
            saved = time.monotonic()
        if after_epoch is not None:
            after_epoch(epoch + 1)
    module.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return Fitted(image_passes=(epochs - start) * len(images), losses=tuple(run.losses))


@dataclasses.dataclass
class _Run:
    """A running fit and its checkpoint: one safetensors file with the JSON part in its header."""

    module: nn.Module
    optimiser: torch.optim.Optimizer
    callbacks: list[Any]
    checkpoint: Checkpoint | None
    losses: list[float] = dataclasses.field(default_factory=list)

    def save(self, epoch: int) -> None:
        if self.checkpoint is None:
            return
        tensors = {f"module/{name}": t for name, t in self.module.state_dict().items()}
        state = self.optimiser.state_dict()
        scalars: dict[str, dict[str, Any]] = {}
        for index, entry in state["state"].items():
            for key, value in entry.items():
                if isinstance(value, Tensor):
                    tensors[f"optimiser/{index}/{key}"] = value
                else:
                    scalars.setdefault(str(index), {})[key] = value
        header = {
            "epoch": epoch,
            "losses": self.losses,
            "scalars": scalars,
            "callbacks": [callback.state_dict() for callback in self.callbacks],
        }
        flat = {name: t.detach().clone().contiguous() for name, t in tensors.items()}
        self.checkpoint.save(safetensors.torch.save(flat, metadata={"fit": msgspec.json.encode(header).decode()}))

    def restore(self) -> int:
        """Load the checkpoint, if there is one, and return the epochs that are done."""
        data = self.checkpoint.load() if self.checkpoint is not None else None
        if data is None:
            return 0
        length = int.from_bytes(data[:8], "little")
        header = msgspec.json.decode(msgspec.json.decode(data[8 : 8 + length])["__metadata__"]["fit"])
        tensors = safetensors.torch.load(data)
        self.module.load_state_dict({n.removeprefix("module/"): t for n, t in tensors.items() if n[0] == "m"})
        entries: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in header["scalars"].items()}
        for name, tensor in tensors.items():
            if name.startswith("optimiser/"):
                _, index, key = name.split("/", 2)
                entries.setdefault(int(index), {})[key] = tensor
        state = self.optimiser.state_dict()
        self.optimiser.load_state_dict({"state": entries, "param_groups": state["param_groups"]})
        for callback, kept in zip(self.callbacks, header["callbacks"], strict=True):
            callback.load_state_dict(kept)
        self.losses = list(header["losses"])
        return int(header["epoch"])


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
