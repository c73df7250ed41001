"""A small MobileNetV2 for Fashion-MNIST: inverted residuals with linear bottlenecks, depthwise convolutions and ReLU6.

The blocks are those of M. Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, in
fewer and narrower stages, for images of 28 x 28. Of the 60,000 official training images 20,000 train the net and 5,000
others validate it; the test set is the official one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from joulemark.data import fashion

WEIGHTS = Path(__file__).with_suffix(".safetensors")
TRAIN, VALIDATION = 20_000, 5_000  # rows
STAGES = ((3, 24, 2, 2), (4, 40, 2, 2), (4, 64, 2, 1))  # expansion, channels, blocks, stride of the first

recipe = {"epochs": 14, "batch_size": 64, "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 2e-4}
suite = {
    "techniques": [
        "int8",
        "group-magnitude",
        "energy-aware-pruning:structure=channels",
        "small-dense:width=0.7",
        "small-dense:width=0.5",
    ],
    "budget": {"trained_epochs": 4, "trained_attempts": 4, "scratch_epochs": 16, "scratch_attempts": 1},
}  # each width of the control is one attempt, as long as all four of a technique


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution, its batch norm and ReLU6."""
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    ]


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow without an activation; add the input where the shape allows."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.layers = nn.Sequential(
            *convolution(inputs, wide, 1),
            *convolution(wide, wide, 3, stride, groups=wide),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.adds_input = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        y = self.layers(x)
        return x + y if self.adds_input else y


def build() -> nn.Module:
    """The net with random weights: (n, 1, 28, 28) to logits (n, 10)."""
    layers, channels = convolution(1, 16, 3), 16
    for expansion, outputs, blocks, stride in STAGES:
        for block in range(blocks):
            layers.append(InvertedResidual(channels, outputs, expansion, stride if block == 0 else 1))
            channels = outputs
    layers += convolution(channels, 192, 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(192, 10))


def net() -> nn.Module:
    """The trained net."""
    module = build()
    module.load_state_dict(load_file(WEIGHTS))
    return module.eval()


class Images(Dataset[tuple[Tensor, int]]):
    """Pairs of a picture (1, 28, 28), one byte a pixel, and its class."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = torch.from_numpy(images), labels.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.images[row], self.labels[row]


def _official_training_rows(first: int, last: int) -> Images:
    images, labels = fashion.read().train
    rows = np.random.default_rng(0).permutation(len(labels))[first:last]
    return Images(images[rows], labels[rows])


def train() -> Images:
    """20,000 of the official training images."""
    return _official_training_rows(0, TRAIN)


def validation() -> Images:
    """5,000 others."""
    return _official_training_rows(TRAIN, TRAIN + VALIDATION)


def test() -> Images:
    """The official test set, 10,000 images."""
    images, labels = fashion.read().test
    return Images(images.copy(), labels)


def preprocess(batch: Tensor) -> Tensor:
    """Bytes to floats with mean 0 and deviation 1 over the training images."""
    return (batch.float() / 255 - 0.2860) / 0.3530


def augment(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Each image mirrored half of the time."""
    mirrored = torch.rand(len(batch), 1, 1, 1, generator=generator) < 0.5
    return torch.where(mirrored, batch.flip(3), batch)
