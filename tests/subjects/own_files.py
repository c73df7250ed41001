"""A user's task file for tests: 8 x 8 pictures of four kinds, and a net that one linear layer answers well."""

from __future__ import annotations

from pathlib import Path

TEXT = """
import numpy as np
import torch
from torch import nn


def pictures(seed, count):
    templates = np.random.default_rng(0).normal(size=(4, 1, 8, 8))
    labels = np.arange(count) % 4
    noise = np.random.default_rng(seed).normal(scale=0.7, size=(count, 1, 8, 8))
    return (templates[labels] + noise).astype(np.float32), labels.astype(np.int64)


def net():
    torch.set_num_threads(1)  # how many there are decides the last digits
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4))
    images, labels = map(torch.from_numpy, pictures(1, 100))
    optimiser = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(8):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(images), labels).backward()
        optimiser.step()
    return module.eval()


def train():
    return pictures(1, 100)


def validation():
    return pictures(2, 300)


def test():
    return pictures(3, 300)


recipe = dict(epochs=1, batch_size=32, learning_rate=0.05)
suite = dict(
    backends=["eager"],
    batch_sizes=[1],
    home_only=[1],
    budget=dict(trained_epochs=1, trained_attempts=1, scratch_epochs=1, scratch_attempts=1),
    measuring=dict(window_seconds=0.01, blocks=3, joules_window_seconds=0.05, screening_seconds=0.01, images=20),
)
"""


def own_file(folder: Path, more: str = "", *, name: str = "mine.py", without: str = "") -> Path:
    """A task file in ``folder``, with ``more`` code at its end, which wins, and ``without`` one of its functions."""
    text = TEXT.replace(f"def {without}():", f"def not_{without}():") if without else TEXT
    path = folder / name
    path.write_text(text + more)
    return path
