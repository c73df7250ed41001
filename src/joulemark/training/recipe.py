"""What a recipe is made of: losses, optimisers, schedules and changes of images."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
MakeOptimiser = Callable[[nn.Module], torch.optim.Optimizer]
Schedule = Callable[[float], float]
Augment = Callable[[Tensor, torch.Generator], Tensor]


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
