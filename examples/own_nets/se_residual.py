"""A residual net with squeeze-and-excitation, SiLU and depthwise convolutions for CIFAR-10.

Blocks in the style of EfficientNet (M. Tan, Q. Le, ICML 2019): widen, filter each channel by itself, weigh the channels
by a gate that sees the whole picture (J. Hu et al., "Squeeze-and-excitation networks", CVPR 2018), narrow, and add the
input. Of the 50,000 official training images 20,000 train the net and 5,000 others validate it; the test set is the
official one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from joulemark.data import cifar10

WEIGHTS = Path(__file__).with_suffix(".safetensors")
TRAIN, VALIDATION = 20_000, 5_000  # rows
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of red, green and blue in the training images

recipe = {"epochs": 15, "batch_size": 64, "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
suite = {
    "techniques": [
        "int8",
        "group-magnitude",
        "energy-aware-pruning:structure=channels",
        "small-dense:width=0.5",
    ],
    "budget": {"trained_epochs": 4, "trained_attempts": 4, "scratch_epochs": 16, "scratch_attempts": 1},
}  # the control is one attempt, as long as all four of a technique


class Gate(nn.Module):
    """Squeeze-and-excitation: each channel times a number in (0, 1) that follows from the means of all channels."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps weighed by the gate."""
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.expand(nn.functional.silu(self.reduce(means))))


class Block(nn.Module):
    """An inverted bottleneck, three times as wide inside; a strided or widening one has no shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = 3 * inputs
        self.expand = nn.Conv2d(inputs, wide, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(wide)
        self.depthwise = nn.Conv2d(wide, wide, 3, stride, padding=1, groups=wide, bias=False)
        self.norm2 = nn.BatchNorm2d(wide)
        self.gate = Gate(wide, max(4, inputs // 4))
        self.project = nn.Conv2d(wide, outputs, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.activation = nn.SiLU()
        self.adds_input = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        y = self.activation(self.norm1(self.expand(x)))
        y = self.activation(self.norm2(self.depthwise(y)))
        y = self.norm3(self.project(self.gate(y)))
        return x + y if self.adds_input else y


class SeResidual(nn.Module):
    """Images (n, 3, 32, 32) to logits (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, 2, padding=1, bias=False), nn.BatchNorm2d(24), nn.SiLU())
        self.blocks = nn.Sequential(
            Block(24, 24, 1),
            Block(24, 24, 1),
            Block(24, 48, 2),
            Block(48, 48, 1),
            Block(48, 48, 1),
            Block(48, 80, 1),
            Block(80, 80, 1),
        )
        self.head = nn.Sequential(nn.Conv2d(80, 160, 1, bias=False), nn.BatchNorm2d(160), nn.SiLU())
        self.linear = nn.Linear(160, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        return self.linear(self.head(self.blocks(self.stem(x))).mean(dim=(2, 3)))


def build() -> nn.Module:
    """The net with random weights."""
    return SeResidual()


def net() -> nn.Module:
    """The trained net."""
    module = build()
    module.load_state_dict(load_file(WEIGHTS))
    return module.eval()


def _loader(images: np.ndarray, labels: np.ndarray) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(torch.tensor(images), torch.tensor(labels)), batch_size=250)


def _official_training_rows(first: int, last: int) -> DataLoader[tuple[Tensor, ...]]:
    images, labels = cifar10.read().train
    rows = np.random.default_rng(0).permutation(len(labels))[first:last]
    return _loader(images[rows], labels[rows])


def train() -> DataLoader[tuple[Tensor, ...]]:
    """20,000 of the official training images (3, 32, 32), one byte a value, and their classes, in batches."""
    return _official_training_rows(0, TRAIN)


def validation() -> DataLoader[tuple[Tensor, ...]]:
    """5,000 others."""
    return _official_training_rows(TRAIN, TRAIN + VALIDATION)


def test() -> DataLoader[tuple[Tensor, ...]]:
    """The official test set, 10,000 images."""
    return _loader(*cifar10.read().test)


def preprocess(batch: Tensor) -> Tensor:
    """Bytes to floats, each colour with mean 0 and deviation 1 over the training images."""
    return (batch.float() / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]


def augment(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Each image moved by up to four pixels each way, and mirrored half of the time."""
    size = batch.shape[-1]
    padded = nn.functional.pad(batch, (4, 4, 4, 4))
    tops, lefts = torch.randint(0, 9, (2, len(batch)), generator=generator).tolist()
    moved = torch.stack([p[:, t : t + size, f : f + size] for p, t, f in zip(padded, tops, lefts, strict=True)])
    mirrored = torch.rand(len(batch), 1, 1, 1, generator=generator) < 0.5
    return torch.where(mirrored, moved.flip(3), moved)
