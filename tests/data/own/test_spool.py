"""Rows that are read once: in memory or on disk they are the same, and nothing is left on disk."""

from __future__ import annotations

import tempfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulemark.data.own import spool
from joulemark.data.own.batches import Batch
from joulemark.data.own.spool import DiskFullError, gathered


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where temporary files go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def batches(sizes, dtype="f4"):
    rng = np.random.default_rng(0)
    for size in sizes:
        yield Batch(
            rng.integers(0, 200, size=(size, 2, 3)).astype(dtype), rng.integers(0, 9, size=size),
            rng.integers(0, 9, size=size).astype(str),
        )  # fmt: skip


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(0, 7), min_size=1, max_size=6).filter(any),
    memory=st.integers(0, 300),
    dtype=st.sampled_from(["u1", "i8", "f4"]),
)
def test_on_disk_is_what_it_would_be_in_memory(folder, sizes, memory, dtype):
    found = gathered("train()", batches(sizes, dtype), memory_bytes=memory)
    for one, parts in zip(found, zip(*batches(sizes, dtype), strict=True), strict=True):
        np.testing.assert_array_equal(one, np.concatenate(parts))
        assert one.dtype.kind == parts[0].dtype.kind
    assert isinstance(found.inputs, np.memmap) == (found.inputs.nbytes > memory)
    del found, one
    assert list(folder.iterdir()) == []


def test_rows_without_labels_stay_without():
    assert gathered("x", [Batch(np.ones((2, 3), "f4"))])[1:] == (None, None)


F4, U1 = np.ones((3, 2), "f4"), np.ones((3, 2), "u1")
LABELS = np.zeros(3, int)
NAMES = np.array(["a"] * 3)
BAD = np.array([[1, 2], [3, np.nan], [np.inf, 1]], "f4")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "gave no rows"),
        ([Batch(F4[:0])], "gave no rows"),
        ([Batch(F4), Batch(np.ones((3, 4), "f4"))], "rows of float32 [4] behind row 3, and of float32 [2] before"),
        ([Batch(F4), Batch(U1)], "rows of uint8 [2] behind row 3, and of float32 [2] before"),
        ([Batch(F4, LABELS), Batch(F4)], "labels with some rows and not with others"),
        ([Batch(F4, LABELS), Batch(F4, LABELS, NAMES)], "groups with some rows and not with others"),
        ([Batch(F4), Batch(BAD)], "row 4 of train() holds NaN, infinity or a number too large for float32"),
        ((Batch(F4) for _ in iter(int, 1)), "gave more than 100 rows and did not end: if there are more, say how many"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_does_not_belong_together_gets_one_sentence_and_leaves_no_file(folder, given, said):
    for memory in (1 << 30, 8):
        with pytest.raises(ValueError, match="train") as refused:
            gathered("train()", given, most=100, memory_bytes=memory)
        assert said in str(refused.value)
        del refused
        assert list(folder.iterdir()) == []


def test_a_disk_that_would_be_filled_is_left_alone(folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(spool.shutil, "disk_usage", lambda path: usage(100, 0, 100))
    with pytest.raises(DiskFullError, match="more than half of what is free on the disk"):
        gathered("train()", batches([9, 9]), memory_bytes=10)
    assert list(Path(folder).iterdir()) == []


def test_an_array_that_is_filled_again_counts_as_it_was():
    def refilled():
        held = np.zeros((2, 3), np.float32)
        for number in range(5):
            held[:] = number
            yield Batch(held, np.full(2, number))

    assert gathered("train()", refilled()).inputs[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_a_mapped_file_stays_one(tmp_path):
    np.save(tmp_path / "rows.npy", np.arange(12.0, dtype=np.float32).reshape(4, 3))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert np.shares_memory(gathered("train()", [Batch(np.asarray(mapped))]).inputs, mapped)
