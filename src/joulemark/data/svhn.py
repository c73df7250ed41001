"""SVHN, cropped digits: 73,257 training and 26,032 test images of house numbers, 3 x 32 x 32, unequal classes.

Source: Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Y. Ng, Reading digits in natural images with unsupervised
feature learning, 2011; sizes as in the paper, MD5s as torchvision has them. The "extra" images are not used. Files are
MATLAB 5 with X (32, 32, 3, n), bytes, and y (n, 1), where the digit 0 has label 10.

The files were not at hand when this was written: whether images repeat is not known, and the reader's tests write files
of the format themselves. So files are checked by MD5 when they are read, too.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np

from joulemark.data.download import Remote
from joulemark.data.files import contents, obtain
from joulemark.data.source import Pair, Source

FOLDERS = ("svhn", "SVHN", "housenumbers", ".")
SITE = "https://ufldl.stanford.edu/housenumbers/"
REMOTES = (
    Remote("train_32x32.mat", f"{SITE}train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
    Remote("test_32x32.mat", f"{SITE}test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
)


def read() -> Source:
    """Training and test images.

    ``FileNotFoundError`` if they are nowhere or scipy is missing, ``ValueError`` if a file is not the published one.
    """
    paths = obtain("svhn", FOLDERS, (tuple(remote.name for remote in REMOTES),), REMOTES)
    train, test = (_checked(path, remote.md5) for path, remote in zip(paths, REMOTES, strict=True))
    return Source(train, test)


def _checked(path: Path, md5: str) -> Pair:
    content = contents(path)
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise ValueError(f"{path} is not the published file: its MD5 is {found}, not {md5}")
    return parse(content, str(path))


def parse(content: bytes, name: str) -> Pair:
    """Images and labels of one file; label 10 becomes 0. ``ValueError``, with ``name``, if it is of another form."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise FileNotFoundError("scipy, which reads SVHN's files, is missing: pip install 'joulemark[svhn]'") from error
    try:
        found = loadmat(io.BytesIO(content), variable_names=("X", "y"))
    except NotImplementedError as error:
        raise ValueError(f"{name} is a MATLAB 7.3 file, not MATLAB 5 as published: get it from {SITE}") from error
    except Exception as error:  # a broken file raises nearly anything
        raise ValueError(f"{name} is no MATLAB 5 file: {type(error).__name__}: {error}") from error
    images, labels = found.get("X"), found.get("y")
    if images is None or images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise ValueError(f"{name} holds no images X of 32 x 32 x 3 bytes")
    if labels is None or labels.dtype.kind not in "uif" or labels.size != images.shape[3]:
        raise ValueError(f"{name} holds no labels y for its {images.shape[3]} images")
    if not np.isin(labels, range(1, 11)).all():
        raise ValueError(f"{name} holds labels that are not 1 to 10")
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels.reshape(-1).astype(np.int64) % 10
