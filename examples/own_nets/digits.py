"""The published net of the package ``digit-recognizer-py`` 0.1.0 (Shivam Gupta, MIT), with its weights, on MNIST.

Three convolutions and two linear layers, 390,410 parameters; 99.06 % of MNIST's 10,000 test images are right. The
package does not say which rows its weights were trained on. They get 99.69 % of the 60,000 training images right, so
take them as seen: the validation rows here are part of those, and the net looks a little better on them than it is.

``pip install --no-deps digit-recognizer-py``: it asks for torchvision, which only its readers of pictures use.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from joulemark.data import mnist

TRAIN, VALIDATION = 20_000, 5_000  # rows, of the 60,000 official training images

# Ours, as theirs is unknown: from random weights it reaches 99.12 % on test (seed 0, fp32).
recipe = {"epochs": 6, "batch_size": 64, "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 5e-4}


def net() -> nn.Module:
    """The published net, which takes (n, 1, 28, 28) and gives (n, 10) logits."""
    folder = _package_folder()
    module: nn.Module = _model_file(folder / "model.py").CNN()
    module.load_state_dict(torch.load(folder / "models" / "handwriting_model.pth", weights_only=True))
    return module.eval()


def _package_folder() -> Path:
    # By distribution, not by import: what the package imports first is torchvision.
    try:
        distribution = importlib.metadata.distribution("digit-recognizer-py")
    except importlib.metadata.PackageNotFoundError as error:
        raise ValueError("the package is not installed: pip install --no-deps digit-recognizer-py") from error
    return Path(str(distribution.locate_file("digit_recognizer")))


def _model_file(path: Path):  # noqa: ANN202 - a module
    # The package itself cannot be imported without torchvision; this one file can.
    name = "digit_recognizer_model"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)  # noqa: TID251 - an example, not the library
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def _official_training_rows(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = mnist.read().train
    rows = np.random.default_rng(0).permutation(len(labels))[first:last]
    # Not images[rows]: its strides read as channels last where there is one channel, and this net's view refuses those.
    return np.take(images, rows, axis=0), labels[rows]


def train() -> tuple[np.ndarray, np.ndarray]:
    """Images (20000, 1, 28, 28), one byte a pixel, and digits (20000,)."""
    return _official_training_rows(0, TRAIN)


def validation() -> tuple[np.ndarray, np.ndarray]:
    """5,000 other images of the official training set, and their digits."""
    return _official_training_rows(TRAIN, TRAIN + VALIDATION)


def test() -> tuple[np.ndarray, np.ndarray]:
    """The official test set: 10,000 images and digits."""
    return mnist.read().test


def preprocess(batch: Tensor) -> Tensor:
    """Bytes to floats, scaled as the package does."""
    return (batch.float() / 255 - 0.1307) / 0.3081
