"""Fashion-MNIST: where its files are looked for and fetched from, and the real ones where they are."""

from __future__ import annotations

import re

import numpy as np
import pytest

from joulemark.data import fashion, idx, mnist
from joulemark.data.splits import digest

DIGEST = "8fa002860203894a37b95e7b4b04ec16462c86229d6bc814cbbc4892cfc54055"


def write(folder, write_idx, value: int) -> None:
    for name in idx.NAMES:
        images = "images" in name
        rows = 3 if "train" in name else 2
        write_idx(folder / f"{name}.gz", np.full((rows, 28, 28) if images else (rows,), value, np.uint8))


@pytest.mark.parametrize("folder", fashion.FOLDERS)
def test_it_is_found_in_every_folder_that_people_keep_it_in(given, write_idx, folder):
    write(given / folder, write_idx, 2)
    found = fashion.read()
    assert found.train[0].shape == (3, 1, 28, 28)
    assert found.test[0].shape == (2, 1, 28, 28)
    assert set(found.train[1]) == set(found.test[1]) == {2}


def test_two_sets_of_the_same_names_are_kept_apart(given, write_idx):
    write(given / "MNIST/raw", write_idx, 1)
    with pytest.raises(FileNotFoundError, match="no fashion data"):
        fashion.read()
    write(given / "FashionMNIST/raw", write_idx, 2)
    assert fashion.read().train[0].max() == 2
    assert mnist.read().train[0].max() == 1


def test_files_that_lie_in_no_folder_of_its_own_could_be_anyones_and_are_not_taken(given, write_idx):
    write(given, write_idx, 2)
    with pytest.raises(FileNotFoundError, match="no fashion data"):
        fashion.read()


def test_a_folder_named_after_the_other_set_is_not_taken_for_it(given, write_idx, monkeypatch):
    write(given / "MNIST/raw", write_idx, 1)
    monkeypatch.setenv("JOULEMARK_DATA", str(given / "MNIST/raw"))
    with pytest.raises(FileNotFoundError, match=r"no fashion data: .*MNIST/raw/fashion \(below JOULEMARK_DATA\)"):
        fashion.read()


def test_what_is_missing_is_fetched_from_its_authors_and_checked_by_their_sums(given, monkeypatch):
    fetched = []

    def fetch(remote, folder, **_):
        fetched.append(remote)
        raise OSError("no network in tests")

    monkeypatch.setattr("joulemark.data.files.fetch", fetch)
    with pytest.raises(FileNotFoundError, match="set JOULEMARK_DATA to the folder that holds fashion"):
        fashion.read()
    assert fetched == [fashion.REMOTES[0]]
    names = ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz",
             "t10k-labels-idx1-ubyte.gz"]  # fmt: skip
    assert [one.name for one in fashion.REMOTES] == names
    for remote in fashion.REMOTES:
        assert remote.address.startswith("https://github.com/zalandoresearch/fashion-mnist/")
        assert remote.address.endswith(f"/{remote.name}")
    assert len({one.md5 for one in (*fashion.REMOTES, *mnist.REMOTES)}) == 8
    assert all(re.fullmatch("[0-9a-f]{32}", one.md5) for one in fashion.REMOTES)


def test_real_fashion(real_data):
    found = fashion.read()
    assert found.train[0].shape == (60000, 1, 28, 28)
    assert found.test[0].shape == (10000, 1, 28, 28)
    assert np.bincount(found.train[1]).tolist() == [6000] * 10
    assert np.bincount(found.test[1]).tolist() == [1000] * 10
    assert found.train[0].mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert found.train[0].std() / 255 == pytest.approx(0.3530, abs=5e-5)
    assert digest(found) == DIGEST
    assert len({image.tobytes() for images, _ in (found.train, found.test) for image in images}) == 70000
