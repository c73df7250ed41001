"""SVHN's files: MATLAB 5, written here byte by byte and by scipy."""

from __future__ import annotations

import hashlib
import io
import struct
import sys
import zlib

import numpy as np
import pytest

from joulemark.data import svhn
from joulemark.data.download import Remote

pytest.importorskip("scipy.io", reason="scipy, which reads MATLAB files, is missing")

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 3, 32, 32), np.uint8)
LABELS = np.array([10, 1, 9, 10, 5, 3])


def element(kind: int, content: bytes) -> bytes:
    """A data element of a MATLAB 5 file: type, length, content, padding to 8 bytes."""
    return struct.pack("<II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def matrix(name: str, values: np.ndarray) -> bytes:
    """An array of bytes: flags (class 9: uint8), lengths of the axes, name, values with the first axis fastest."""
    parts = element(6, struct.pack("<II", 9, 0)) + element(5, struct.pack(f"<{values.ndim}i", *values.shape))
    return element(14, parts + element(1, name.encode()) + element(2, values.tobytes(order="F")))


def mat_file(variables: dict[str, np.ndarray], packed: bool) -> bytes:
    """MATLAB 5 by the description of MathWorks: 128 bytes of head, then elements, each deflated if ``packed``."""
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    made = [matrix(name, values) for name, values in variables.items()]
    # A deflated element is not padded.
    return head + b"".join(struct.pack("<II", 15, len(z := zlib.compress(m))) + z if packed else m for m in made)


def usual(images: np.ndarray = IMAGES, labels: np.ndarray = LABELS) -> dict[str, np.ndarray]:
    return {"X": images.transpose(2, 3, 1, 0), "y": labels.astype(np.uint8)[:, None]}


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_written_by_hand(packed):
    images, labels = svhn.parse(mat_file(usual(), packed), "made")
    assert np.array_equal(images, IMAGES)
    assert images.flags.c_contiguous
    assert labels.tolist() == [0, 1, 9, 0, 5, 3]
    assert labels.dtype == np.int64


@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_a_file_of_scipy(kind):
    from scipy.io import savemat

    content = io.BytesIO()
    savemat(content, {"X": usual()["X"], "y": LABELS.astype(kind)[:, None]}, do_compression=True)
    images, labels = svhn.parse(content.getvalue(), "made")
    assert np.array_equal(images, IMAGES)
    assert labels.tolist() == [0, 1, 9, 0, 5, 3]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"y": usual()["y"]}, "made holds no images X"),
        ({**usual(), "X": IMAGES}, "made holds no images X"),
        ({"X": usual()["X"]}, "made holds no labels y for its 6 images"),
        ({**usual(), "y": usual()["y"][:2]}, "made holds no labels y for its 6 images"),
        ({**usual(), "y": usual()["y"] * 0}, "made holds labels that are not 1 to 10"),
        ({**usual(), "y": usual()["y"] + 1}, "made holds labels that are not 1 to 10"),
    ],
)
def test_other_files_are_refused(variables, said):
    with pytest.raises(ValueError, match=said):
        svhn.parse(mat_file(variables, True), "made")


@pytest.mark.parametrize("content", [b"", b"no such file" * 50, mat_file(usual(), True)[:3000]])
def test_damaged_files_are_refused(content):
    with pytest.raises(ValueError, match=r"made (is no MATLAB 5 file|holds no images X)"):
        svhn.parse(content, "made")


def test_a_newer_matlab_file_is_said():
    head = b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<H", 0x0200) + b"IM"
    with pytest.raises(
        ValueError, match=r"^made is a MATLAB 7\.3 file, not MATLAB 5 as published: get it from https://"
    ):
        svhn.parse(head + b"\x89HDF\r\n\x1a\n".ljust(384, b"\0"), "made")


def test_files_are_checked_when_they_are_read(given, monkeypatch):
    contents = [mat_file(usual(), True), mat_file(usual(IMAGES[:2], LABELS[:2]), True)]
    remotes = [
        Remote(published.name, published.address, hashlib.md5(content, usedforsecurity=False).hexdigest())
        for published, content in zip(svhn.REMOTES, contents, strict=True)
    ]
    monkeypatch.setattr(svhn, "REMOTES", tuple(remotes))
    for remote, content in zip(remotes, contents, strict=True):
        (given / remote.name).write_bytes(content)
    found = svhn.read()
    assert found.test is not None
    assert len(found.train[1]) == 6
    assert found.test[1].tolist() == [0, 1]
    (given / "test_32x32.mat").write_bytes(contents[0])
    with pytest.raises(ValueError, match=r"test_32x32\.mat is not the published file: its MD5 is"):
        svhn.read()


def test_without_scipy_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(FileNotFoundError, match=r"pip install 'joulemark\[svhn\]'"):
        svhn.parse(b"", "made")
