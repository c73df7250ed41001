"""Splits by image content, not by position: the same image is in the same split whatever the file order."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
from numpy.typing import NDArray

from joulemark.data.source import Source
from joulemark.task import Task

NAMES = ("train", "policy", "validation", "test")

UNPINNED = "unknown"
"""A task's ``data_sha256`` where nobody has computed it yet: its reader's own checksums are then all there is."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Images (n, channels, height, width), float32, scaled; labels (n,), int64."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


def digest(source: Source) -> str:
    """SHA-256 of all images with their labels: the same whatever their order.

    Of one set: the SHA-256 of the sorted SHA-256 digests of (label byte, pixels). With an official test set: the
    SHA-256 of that of the training images followed by that of the test images, both as bytes.
    """
    parts = [_digest(*pair) for pair in (source.train, source.test) if pair is not None]
    return (parts[0] if source.test is None else hashlib.sha256(b"".join(parts)).digest()).hex()


def _digest(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> bytes:
    rows = sorted(
        hashlib.sha256(bytes([label]) + image.tobytes()).digest() for image, label in zip(images, labels, strict=True)
    )
    return hashlib.sha256(b"".join(rows)).digest()


def split(task: Task, source: Source) -> dict[str, Split]:
    """Train, policy, validation and test of ``task``, classes in the proportions of the images they are dealt from.

    Test comes from the official test images where there are any, and the other three from the training images alone;
    without an official test set all four come from the one set. Images are dealt in the order of the SHA-256 of (split
    seed, pixels). A training image that is also a test image, pixel by pixel, is left out. Images that repeat within a
    set are not looked for (MNIST, Fashion-MNIST and CIFAR-10 have neither kind).

    Raises ``ValueError`` if the data are not the task's or have too few images.
    """
    _check(task, source)
    if source.test is None:
        return _deal(task, *source.train, NAMES)
    seen = {image.tobytes() for image in source.test[0]}
    images, labels = source.train
    fresh = np.array([image.tobytes() not in seen for image in images], bool)
    if not fresh.all():
        images, labels = images[fresh], labels[fresh]
    return _deal(task, images, labels, NAMES[:3]) | _deal(task, *source.test, NAMES[3:])


def _check(task: Task, source: Source) -> None:
    """Raise ``ValueError`` if these are not the data of ``task``."""
    shape = source.train[0].shape[1:]
    if shape != task.input_shape or (source.test and source.test[0].shape[1:] != shape):
        raise ValueError(f"the {task.data} images are {list(shape)}: task {task.name!r} has {list(task.input_shape)}")
    found = digest(source)
    if task.data_sha256 not in (found, UNPINNED):
        raise ValueError(
            f"the {task.data} data here are not those of task {task.name!r} (digest {found[:12]}, expected "
            f"{task.data_sha256[:12]}): use the published files, or the package version that the project pins"
        )


def _deal(task: Task, images: NDArray[np.uint8], labels: NDArray[np.int64], names: tuple[str, ...]) -> dict[str, Split]:
    """Splits ``names`` of ``task`` from one set of images: each takes the next images of every class."""
    sizes = {name: getattr(task.splits, name) for name in names}
    if sum(sizes.values()) > len(labels):
        raise ValueError(
            f"task {task.name!r} wants {sum(sizes.values())} images for {', '.join(names)}: there are {len(labels)}"
        )
    seed = f"{task.split_seed}:".encode()
    keys = [hashlib.sha256(seed + image.tobytes()).digest() for image in images]
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__))
    members = [order[labels[order] == c] for c in range(task.classes)]
    if sum(map(len, members)) < len(labels):
        raise ValueError(f"the {task.data} data hold labels that are none of the {task.classes} classes")
    result = {}
    for name, size in sizes.items():
        counts = shares(size, [len(rows) for rows in members])
        chosen = np.concatenate([rows[:count] for rows, count in zip(members, counts, strict=True)])
        members = [rows[count:] for rows, count in zip(members, counts, strict=True)]
        # Mixed, so that the first n images of a split hold every class.
        chosen = np.random.default_rng(task.split_seed).permutation(chosen)[: task.limit_images]
        result[name] = Split(_scaled(task, images[chosen]), labels[chosen])
    return result


def shares(size: int, available: list[int]) -> list[int]:
    """How many of each class to take: ``size`` in the proportions of ``available``, by largest remainder.

    Never more of a class than there are, as long as ``size`` is at most their sum. Equal remainders: the first class.

    >>> shares(5, [10, 20, 30])
    [1, 2, 2]
    """
    total = sum(available)
    whole = [size * count // total for count in available]
    by_remainder = sorted(range(len(available)), key=lambda c: -(size * available[c] % total))
    for c in by_remainder[: size - sum(whole)]:
        whole[c] += 1
    return whole


def _scaled(task: Task, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    mean, deviation = (np.array(v, np.float32)[:, None, None] for v in (task.mean, task.deviation))
    result = images.astype(np.float32)
    result /= np.float32(255.0)  # in place: CIFAR-10 is 600 MB in this form
    result -= mean
    result /= deviation
    return result
