"""CIFAR-10 in all its forms: two layouts, as a folder or an archive."""

from __future__ import annotations

import io
import pickle
import tarfile

import numpy as np
import pytest

from joulemark.data import cifar10
from joulemark.data.splits import digest

RNG = np.random.default_rng(0)
BATCHES = [(RNG.integers(0, 256, (3, 3072), np.uint8), [n, n + 1, 9 - n]) for n in range(6)]
DIGEST = "829383a3be7af59e5f471569fa6c57a450f2d0fdbf0b10f67eff379df3ef6db0"


def files(layout: str) -> dict[str, bytes]:
    """The six files of a layout, named as in the archive."""
    if layout == "binary":
        rows = [b"".join(bytes([n]) + row.tobytes() for row, n in zip(*batch, strict=True)) for batch in BATCHES]
        return dict(zip((f"cifar-10-batches-bin/{name}" for name in cifar10.BINARY), rows, strict=True))
    made = [pickle.dumps({"data": rows, "labels": labels}, protocol=2) for rows, labels in BATCHES]
    return dict(zip((f"cifar-10-batches-py/{name}" for name in cifar10.PYTHON), made, strict=True))


def archive(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as made:
        for name, value in reversed(members.items()):
            info = tarfile.TarInfo(name)
            info.size = len(value)
            made.addfile(info, io.BytesIO(value))
    return content.getvalue()


def put(folder, members: dict[str, bytes]) -> None:
    for name, value in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(value)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("layout", ["binary", "python"])
@pytest.mark.parametrize("below", ["", "cifar10"])
def test_all_forms_are_read_alike(given, layout, packed, below):
    members = {f"cifar-10-{layout}.tar.gz": archive(files(layout))} if packed else files(layout)
    put(given / below, members)
    found = cifar10.read()
    assert found.test is not None
    assert found.train[0].shape == (15, 3, 32, 32)
    assert found.train[1].tolist() == [n for _, labels in BATCHES[:5] for n in labels]
    assert found.test[1].tolist() == BATCHES[5][1]
    assert np.array_equal(found.test[0].reshape(3, -1), BATCHES[5][0])
    # Red comes first, row by row.
    assert found.train[0][4, 2, 31, 30] == BATCHES[1][0][1, 2 * 1024 + 31 * 32 + 30]


def test_the_folder_itself_may_be_named(given, monkeypatch):
    put(given, files("binary"))
    monkeypatch.setenv("JOULEMARK_DATA", str(given / "cifar-10-batches-bin"))
    assert len(cifar10.read().train[1]) == 15


def test_the_one_file_that_is_missing_is_named(given):
    members = files("binary")
    del members["cifar-10-batches-bin/data_batch_4.bin"]
    put(given, members)
    with pytest.raises(FileNotFoundError, match=r"given/cifar-10-batches-bin lacks data_batch_4\.bin:"):
        cifar10.read()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda value: value[:-1], "test_batch.bin has 9218 bytes: no whole number of images"),
        (lambda value: b"\x0a" + value[1:], "test_batch.bin holds no images, or labels that are not 0 to 9"),
        (lambda value: b"", "test_batch.bin holds no images"),
    ],
)
def test_damaged_files_are_named(given, change, said):
    members = files("binary")
    name = "cifar-10-batches-bin/test_batch.bin"
    put(given, {**members, name: change(members[name])})
    with pytest.raises(ValueError, match=said):
        cifar10.read()


def test_a_batch_of_other_images_is_refused(given):
    other = pickle.dumps({"data": np.zeros((2, 5), np.uint8), "labels": [0, 1]}, protocol=2)
    put(given, {**files("python"), "cifar-10-batches-py/test_batch": other})
    with pytest.raises(ValueError, match="test_batch holds rows of 5 bytes, not images of 3072"):
        cifar10.read()


def test_damaged_archives_are_named(given):
    content = archive(files("binary"))
    path = given / "cifar-10-binary.tar.gz"
    for wrong in (content[: len(content) // 2], b"no archive", content[:200] + b"\0" * 50 + content[250:]):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"cifar-10-binary.tar.gz is damaged"):
            cifar10.read()
    members = files("binary")
    members.pop("cifar-10-batches-bin/data_batch_3.bin")
    path.write_bytes(archive(members))
    with pytest.raises(ValueError, match=r"is not CIFAR-10's archive: it has no data_batch_3\.bin"):
        cifar10.read()


def test_links_in_an_archive_are_not_followed(given, tmp_path):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as made:
        for name in files("binary"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            made.addfile(info)
    (given / "cifar-10-binary.tar.gz").write_bytes(content.getvalue())
    with pytest.raises(ValueError, match=r"it has no data_batch_1\.bin"):
        cifar10.read()


def test_real_cifar10(real_data):
    found = cifar10.read()
    assert found.test is not None
    assert found.train[0].shape == (50000, 3, 32, 32)
    assert np.bincount(found.train[1]).tolist() == [5000] * 10
    assert np.bincount(found.test[1]).tolist() == [1000] * 10
    # The mean that everyone subtracts.
    mean = found.train[0].mean((0, 2, 3)) / 255
    assert mean == pytest.approx([0.49139968, 0.48215841, 0.44653091], abs=1e-8)
    assert digest(found) == DIGEST
    assert len({image.tobytes() for images, _ in (found.train, found.test) for image in images}) == 60000
