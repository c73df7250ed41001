"""Splits by image content, not by position: the same image is in the same split whatever the file order."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
from numpy.typing import NDArray

from joulemark.task import Task

NAMES = ("train", "policy", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Split:
    """Images (n, channels, height, width), float32, scaled; labels (n,), int64."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


def digest(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> str:
    """SHA-256 of the sorted SHA-256 digests of each image with its label: the same whatever the order.

    Images are (n, channels, height, width), one byte a value.
    """
    rows = sorted(
        hashlib.sha256(bytes([label]) + image.tobytes()).digest() for image, label in zip(images, labels, strict=True)
    )
    return hashlib.sha256(b"".join(rows)).hexdigest()


def split(task: Task, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[str, Split]:
    """Train, policy, validation and test of ``task``, stratified by class.

    Within a class, images are ordered by SHA-256 of (split seed, pixels) and dealt out in the ratio of the split
    sizes. Raises ``ValueError`` if the data are not the task's, a size is no multiple of the number of classes, or a
    class has too few images.
    """
    found = digest(images, labels)
    if found != task.data_sha256:
        raise ValueError(
            f"the {task.data} data here are not those of task {task.name!r} (digest {found[:12]}, expected "
            f"{task.data_sha256[:12]}): install the version that the project pins"
        )
    seed = f"{task.split_seed}:".encode()
    if uneven := [name for name in NAMES if getattr(task.splits, name) % task.classes]:
        raise ValueError(f"task {task.name!r}: the {uneven[0]} split is no multiple of {task.classes} classes")
    order = sorted(range(len(labels)), key=lambda i: hashlib.sha256(seed + images[i].tobytes()).digest())
    by_class = [[i for i in order if labels[i] == c] for c in range(task.classes)]
    chosen: dict[str, list[int]] = {name: [] for name in NAMES}
    for members in by_class:
        start = 0
        for name in NAMES:
            wanted = getattr(task.splits, name) // task.classes
            if start + wanted > len(members):
                raise ValueError(f"task {task.name!r} wants more images of a class than the {len(members)} there are")
            chosen[name] += members[start : start + wanted]
            start += wanted
    mean, deviation = (np.array(v, np.float32)[:, None, None] for v in (task.mean, task.deviation))
    result = {}
    for name, members in chosen.items():
        # Mixed, so that the first n images of a split hold every class.
        rows = np.random.default_rng(task.split_seed).permutation(members)[: task.limit_images]
        result[name] = Split((images[rows] / np.float32(255.0) - mean) / deviation, labels[rows])
    return result
