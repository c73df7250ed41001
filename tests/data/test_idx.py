"""IDX files: every type against NumPy's own bytes, and files that are not what their head says."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given as over
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from joulemark.data import idx

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


@over(st.data(), st.sampled_from(sorted(CODES)))
def test_what_was_written_is_read(data, kind):
    shapes = arrays.array_shapes(min_dims=1, max_dims=4, max_side=5)
    values = data.draw(arrays.arrays(kind, shapes))
    head = bytes([0, 0, CODES[kind], values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    found = idx.parse(head + values.astype(f">{kind}").tobytes(), "made")
    assert found.shape == values.shape
    np.testing.assert_array_equal(found, values)


def test_a_file_by_hand():
    content = bytes.fromhex("00 00 0b 02 00000002 00000003 0001 0002 0003 fffe 0100 7fff")
    assert idx.parse(content, "made").tolist() == [[1, 2, 3], [-2, 256, 32767]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "made is no IDX file: it begins with nothing"),
        (b"\x1f\x8b\x08\x00rest", "made is no IDX file: it begins with 1f 8b 08 00"),
        (b"\0\0\x0a\1" + struct.pack(">I", 0), "made is no IDX file"),
        (b"\0\0\x08\3" + struct.pack(">II", 1, 1), "made ends within its head: 12 bytes of 16"),
        (b"\0\0\x08\1" + struct.pack(">I", 3) + b"ab", "made has 10 bytes, and its head .3. asks for 11"),
        (b"\0\0\x08\1" + struct.pack(">I", 3) + b"abcd", "made has 12 bytes, and its head .3. asks for 11"),
        (b"\0\0\x0e\3" + struct.pack(">III", *[2**32 - 1] * 3), "made has 16 bytes"),
    ],
)
def test_what_is_no_idx_file_is_refused(content, said):
    with pytest.raises(ValueError, match=said):
        idx.parse(content, "made")


def test_images_and_labels_are_put_together(tmp_path, write_idx):
    rng = np.random.default_rng(0)
    values = [rng.integers(0, 10, (7, 2, 3), np.uint8), np.arange(7, dtype=np.uint8)]
    values += [rng.integers(0, 10, (4, 2, 3), np.uint8), np.arange(4, dtype=np.uint8)]
    paths = [tmp_path / f"{name}.gz" for name in idx.NAMES]
    for path, array in zip(paths, values, strict=True):
        write_idx(path, array)
    found = idx.source(paths)
    assert found.test is not None
    assert found.train[0].shape == (7, 1, 2, 3)
    assert np.array_equal(found.test[0][:, 0], values[2])
    assert found.test[1].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("which", "array", "said"),
    [
        (0, np.zeros((2, 3), np.uint8), "images-idx3-ubyte holds uint8 .2, 3., not grey images"),
        (1, np.zeros(3, np.uint8), "labels-idx1-ubyte holds uint8 .3,., not one byte for each of 2"),
    ],
)
def test_files_that_do_not_fit_together(tmp_path, write_idx, which, array, said):
    usual = [np.zeros((2, 3, 3), np.uint8), np.zeros(2, np.uint8)] * 2
    paths = [tmp_path / name for name in idx.NAMES]
    for path, values in zip(paths, [*usual[:which], array, *usual[which + 1 :]], strict=True):
        write_idx(path, values)
    with pytest.raises(ValueError, match=said):
        idx.source(paths)


@pytest.mark.parametrize(("label", "fits"), [(9, True), (10, False), (99, False), (255, False)])
def test_a_label_beyond_the_ten_classes_is_refused(tmp_path, label, fits):
    def write(name: str, values: np.ndarray) -> Path:
        head = bytes([0, 0, 8, values.ndim]) + b"".join(struct.pack(">I", size) for size in values.shape)
        path = tmp_path / name
        path.write_bytes(head + values.astype(np.uint8).tobytes())
        return path

    images, labels = write("images", np.zeros((3, 4, 4))), write("labels", np.array([0, label, 1]))
    if fits:
        assert idx.source([images, labels, images, labels]).train[1].tolist() == [0, label, 1]
    else:
        with pytest.raises(ValueError, match=f"labels holds the label {label}: labels are 0 to 9"):
            idx.source([images, labels, images, labels])
