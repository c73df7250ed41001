"""CIFAR-10: 50,000 training and 10,000 test images, 3 x 32 x 32, ten classes of equal size.

Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009. Both layouts of the official page
are read, extracted or as the archive: "binary" (a label byte, then the red, green and blue planes) and "python" (a
pickled dict). No two of the 60,000 images are equal pixel by pixel; near duplicates across training and test are known
(B. Barz, J. Denzler, Do we train on test data?, 2020) and are left in, as in all published figures.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from joulemark.data.download import Remote
from joulemark.data.files import contents, obtain
from joulemark.data.pickled import Rows, load_batch
from joulemark.data.source import Pair, Source

SHAPE = (3, 32, 32)
VALUES = 3 * 32 * 32  # bytes an image

BINARY = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
PYTHON = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
ARCHIVES = {"cifar-10-binary.tar.gz": BINARY, "cifar-10-python.tar.gz": PYTHON}
FOLDERS = tuple(
    f"{outer}/{inner}"
    for outer in (".", "cifar10", "cifar-10", "CIFAR10")
    for inner in ("cifar-10-batches-bin", "cifar-10-batches-py", ".")
)
REMOTES = (
    Remote(
        "cifar-10-binary.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
    ),
)


def read() -> Source:
    """Training and test images. ``FileNotFoundError`` if they are nowhere, ``ValueError`` if a file is damaged."""
    paths = obtain("cifar10", FOLDERS, (BINARY, PYTHON, *((name,) for name in ARCHIVES)), REMOTES)
    if names := ARCHIVES.get(paths[0].name):
        batches = _members(paths[0], names)
    else:
        names = BINARY if ".bin" in paths[0].name else PYTHON
        batches = {str(path): contents(path) for path in paths}
    parse = _binary if names is BINARY else load_batch
    *train, test = (_checked(*parse(content, name), name) for name, content in batches.items())
    images, labels = zip(*train, strict=True)
    return Source((np.concatenate(images), np.concatenate(labels)), test)


def _members(path: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """The named files of an archive, in that order, read in memory: nothing is written anywhere."""
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(contents(path)), mode="r:") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                file = archive.extractfile(member) if member.isfile() and name in names else None
                if file:
                    found[name] = file.read()
    except tarfile.TarError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"{path} is not CIFAR-10's archive: it has no {missing[0]}")
    return {f"{name} in {path}": found[name] for name in names}


def _checked(rows: NDArray[np.uint8], labels: NDArray[np.int64], name: str) -> Pair:
    if rows.shape[1] != VALUES:
        raise ValueError(f"{name} holds rows of {rows.shape[1]} bytes, not images of {VALUES}")
    if not len(labels) or not 0 <= labels.min() <= labels.max() <= 9:
        raise ValueError(f"{name} holds no images, or labels that are not 0 to 9")
    return rows.reshape(-1, *SHAPE), labels


def _binary(content: bytes, name: str) -> Rows:
    if len(content) % (1 + VALUES):
        raise ValueError(f"{name} has {len(content)} bytes: no whole number of images of {1 + VALUES}")
    rows = np.frombuffer(content, np.uint8).reshape(-1, 1 + VALUES)
    return rows[:, 1:], rows[:, 0].astype(np.int64)
