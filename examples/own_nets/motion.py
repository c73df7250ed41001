"""A residual net over time that names the exercise somebody does, from the watch on the wrist.

Data: ``seglearn.datasets.load_watch()`` (D. Burns et al., https://arxiv.org/abs/1802.01489; the package is BSD): 140
recordings of 10 people, each doing 7 shoulder exercises; acceleration and rotation rate, six channels at 50 Hz. A
window is two seconds, and a new one starts every half second. Four people train the net, three others validate it, and
three more test it, so that the score is that of people whom the net has never seen.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_suffix(".safetensors")
EXERCISES = 7
WINDOW, STEP = 100, 25  # samples of 1 / 50 s
TRAIN, VALIDATION, TEST = (1, 2, 7, 10), (3, 5, 8), (4, 6, 9)  # people

# Of the four training people, channel by channel: acceleration, then rotation rate.
MEAN = (0.011, 0.390, -0.182, 0.023, 0.0, 0.015)
DEVIATION = (0.800, 0.475, 0.476, 0.809, 2.147, 1.100)

metric = "weighted-f1"
recipe = {"epochs": 20, "batch_size": 64, "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1e-3}


class Block(nn.Module):
    """Two convolutions over time and what they add to; a stride shortens the time by that factor."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(inputs, outputs, 5, stride, padding=2, bias=False)
        self.norm1 = nn.BatchNorm1d(outputs)
        self.conv2 = nn.Conv1d(outputs, outputs, 5, padding=2, bias=False)
        self.norm2 = nn.BatchNorm1d(outputs)
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv1d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm1d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class MotionNet(nn.Module):
    """Windows (n, 6, 100) to logits (n, 7)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(6, 32, 7, padding=3, bias=False), nn.BatchNorm1d(32), nn.ReLU())
        self.blocks = nn.Sequential(Block(32, 32, 1), Block(32, 64, 2), Block(64, 96, 2))
        self.dropout = nn.Dropout(0.3)
        self.linear = nn.Linear(96, EXERCISES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of windows."""
        x = self.blocks(self.first(x))
        return self.linear(self.dropout(x.mean(dim=2)))


def build() -> nn.Module:
    """The net with random weights."""
    return MotionNet()


def net() -> nn.Module:
    """The trained net."""
    module = build()
    module.load_state_dict(load_file(WEIGHTS))
    return module.eval()


def _windows(people: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from seglearn.datasets import load_watch

    data = load_watch()
    inputs, labels, groups = [], [], []
    for recording, exercise, person in zip(data["X"], data["y"], data["subject"], strict=True):
        if person in people:
            windows = np.lib.stride_tricks.sliding_window_view(recording, WINDOW, axis=0)[::STEP]  # (n, 6, 100)
            inputs.append(windows.astype(np.float32))
            labels.append(np.full(len(windows), exercise, np.int64))
            groups.append(np.full(len(windows), person, np.int64))
    return np.concatenate(inputs), np.concatenate(labels), np.concatenate(groups)


def train() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows (n, 6, 100), exercises (n,) and people (n,)."""
    return _windows(TRAIN)


def validation() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of three other people."""
    return _windows(VALIDATION)


def test() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of the last three."""
    return _windows(TEST)


def preprocess(batch: Tensor) -> Tensor:
    """Each channel with mean 0 and deviation 1 over the training people."""
    return (batch - torch.tensor(MEAN)[:, None]) / torch.tensor(DEVIATION)[:, None]


def augment(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Each window seen by a watch worn a little differently: turned, stronger or weaker, and with a little noise.

    Both sensors turn together, by a small random rotation (to first order: x plus angles × x) in the standardised axes.
    """
    angles = 0.2 * torch.randn(len(batch), 1, 3, 1, generator=generator)
    sensors = batch.reshape(len(batch), 2, 3, -1)
    turned = (sensors + torch.linalg.cross(angles.expand_as(sensors), sensors, dim=2)).reshape(batch.shape)
    strength = 1 + 0.15 * torch.randn(len(batch), 1, 1, generator=generator)
    return turned * strength + 0.05 * torch.randn(batch.shape, generator=generator)
