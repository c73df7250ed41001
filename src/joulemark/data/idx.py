"""The IDX format of MNIST: two zero bytes, type, number of axes, big-endian lengths, then the values.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits, "The IDX file format".
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemark.data.files import contents
from joulemark.data.source import Pair, Source

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

CLASSES = 10
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def parse(content: bytes, name: str) -> NDArray[Any]:
    """The array of one uncompressed IDX file, big-endian. ``ValueError``, with ``name``, unless it is exactly one."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise ValueError(f"{name} is no IDX file: it begins with {content[:4].hex(' ') or 'nothing'}")
    kind, axes = np.dtype(TYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    if len(content) < start:
        raise ValueError(f"{name} ends within its head: {len(content)} bytes of {start}")
    shape = struct.unpack(f">{axes}I", content[4:start])
    expected = start + math.prod(shape) * kind.itemsize
    if len(content) != expected:
        raise ValueError(f"{name} has {len(content)} bytes, and its head {list(shape)} asks for {expected}")
    return np.frombuffer(content, kind, offset=start).reshape(shape)


def source(paths: Sequence[Path]) -> Source:
    """The data set of the files ``NAMES``, in that order, each plain or gzipped. ``ValueError`` if one is wrong."""
    train_images, train_labels, test_images, test_labels = paths
    return Source(_pair(train_images, train_labels), _pair(test_images, test_labels))


def _pair(images_path: Path, labels_path: Path) -> Pair:
    images, labels = (parse(contents(path), str(path)) for path in (images_path, labels_path))
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(f"{images_path} holds {images.dtype} {images.shape}, not grey images of one byte a pixel")
    if labels.shape != images.shape[:1] or labels.dtype != np.uint8:
        raise ValueError(f"{labels_path} holds {labels.dtype} {labels.shape}, not one byte for each of {len(images)}")
    if labels.size and labels.max() >= CLASSES:
        raise ValueError(f"{labels_path} holds the label {labels.max()}: labels are 0 to {CLASSES - 1}")
    return images[:, None], labels.astype(np.int64)
