"""The store: whole files or none, damaged records named and set aside, full disks, any fsspec URL."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import msgspec
import pytest

from joulemark.record import Failure
from joulemark.store import Store, StoreError, hardware_classes


def failure(key: str = "k1", reason: str = "it broke") -> Failure:
    return Failure(
        key=key, task="t", task_key="tk", technique="x", knobs=({"a": 1},), seed=0, reason=reason, started="now"
    )


@pytest.fixture(params=["folder", "memory"])
def root(request, tmp_path) -> str:
    return str(tmp_path) if request.param == "folder" else f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def store(root) -> Store:
    return Store(root, hardware_class="c", task="t")


@pytest.fixture
def local(tmp_path) -> Store:
    return Store(tmp_path, hardware_class="c", task="t")


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_records_come_back(store, root):
    assert store.failures() == []
    store.put(failure("k2"))
    store.put(failure("k1"))
    store.put(failure("k1", "again"))  # replaces
    assert Store(root, hardware_class="c", task="t").failures() == [failure("k1", "again"), failure("k2")]
    assert store.damaged == []


def test_bytes_come_back_and_go(store):
    assert store.read("nets/a.safetensors") is None
    store.write("nets/a.safetensors", b"\x00\xff")
    store.write("steps/one/first", b"1")
    store.write("steps/one/second", b"2")
    assert store.read("nets/a.safetensors") == b"\x00\xff"
    assert store.exists("steps/one")
    store.remove("steps/one")
    store.remove("steps/never")
    assert not store.exists("steps/one/first")
    assert store.read("steps/one/second") is None
    assert store.exists("nets/a.safetensors")


def test_layout_is_the_one_documented(local, tmp_path):
    local.put(failure())
    assert files(tmp_path) == ["c/t/failures/k1.json"]


def test_hardware_classes_are_those_with_attempts(root):
    for hardware_class, task in (("b", "t"), ("a", "t"), ("z", "other")):
        Store(root, hardware_class=hardware_class, task=task).write("attempts/k.json", b"{}")
    assert hardware_classes(root, "t") == ["a", "b"]
    assert hardware_classes(f"{root}/nowhere", "t") == []


def test_results_obey_the_umask(local, tmp_path):
    old = os.umask(0o022)
    try:
        local.put(failure())
    finally:
        os.umask(old)
    assert (tmp_path / "c/t/failures/k1.json").stat().st_mode & 0o777 == 0o644


def damage(stated: dict, how: str) -> bytes:
    return {
        "half": json.dumps(stated)[:40].encode(),
        "empty": b"",
        "no text": b"\xff\xfe\x00",
        "another type": b"[]",
        "other schema": json.dumps({**stated, "schema": 0}).encode(),
        "nested": b"[" * 200_000,
        "unknown field": json.dumps({**stated, "colour": "red"}).encode(),
        "missing field": json.dumps({k: v for k, v in stated.items() if k != "seed"}).encode(),
        "renamed": json.dumps({**stated, "key": "k9"}).encode(),
    }[how]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("half", "truncated"),
        ("empty", "truncated"),
        ("no text", "malformed"),
        ("another type", "Expected `object`"),
        ("other schema", "schema 0, this version reads 2"),
        ("nested", "maximum recursion depth"),
        ("unknown field", "colour"),
        ("missing field", "seed"),
        ("renamed", "the record inside is k9: the file was renamed or edited"),
    ],
)
def test_a_damaged_record_is_named_each_time_and_set_aside_when_it_is_made_again(store, root, how, why):
    store.put(failure("k1"))
    store.put(failure("k3"))
    data = damage(msgspec.to_builtins(failure("k2")), how)
    store.write("failures/k2.json", data)
    assert [one.key for one in store.failures()] == ["k1", "k3"]
    (damaged,) = store.damaged
    assert damaged.path.endswith("failures/k2.json")
    assert why in damaged.reason
    assert store.read("failures/k2.json") == data  # reading moves nothing
    assert [one.key for one in store.failures()] == ["k1", "k3"]
    assert store.damaged == [damaged]
    again = Store(root, hardware_class="c", task="t")
    assert [one.key for one in again.failures()] == ["k1", "k3"]
    assert again.damaged == [damaged]  # said each time

    again.put(failure("k2"))
    assert again.read("damaged/failures-k2.json") == data
    assert again.damaged[0].aside.endswith("damaged/failures-k2.json")
    assert [one.key for one in again.failures()] == ["k1", "k2", "k3"]
    assert len(again.damaged) == 1


def test_a_record_of_a_newer_version_is_never_written_over(store):
    newer = json.dumps({**msgspec.to_builtins(failure("k1")), "schema": 3, "colour": "red"}).encode()
    store.write("failures/k1.json", newer)
    for read_before in (False, True):
        if read_before:
            assert store.failures() == []
            (damaged,) = store.damaged
            assert (damaged.reason, damaged.newer) == (
                "it has schema 3, this version reads 2: update Joulemark", True
            )  # fmt: skip
        with pytest.raises(StoreError, match=r"k1\.json was written by a newer version.*update Joulemark"):
            store.put(failure("k1"))
        assert store.read("failures/k1.json") == newer
        assert not store.exists("damaged")


@pytest.mark.parametrize("what", ["loop", "pipe", "secret"])
def test_what_is_no_readable_file_counts_as_damaged_and_moves_aside(local, tmp_path, what):
    local.put(failure("k1"))
    place = tmp_path / "c/t/failures/k2.json"
    if what == "loop":
        place.symlink_to(place)
    elif what == "pipe":
        os.mkfifo(place)
    else:
        place.write_text("{}")
        place.chmod(0)
        if os.access(place, os.R_OK):
            pytest.skip("nothing is secret to this user")
    assert [one.key for one in local.failures()] == ["k1"]
    (damaged,) = local.damaged
    assert damaged.path == str(place)
    assert damaged.reason in (os.strerror(errno.ELOOP), os.strerror(errno.EACCES), "it is no regular file")
    with pytest.raises(StoreError, match=r"cannot read .*k2\.json"):
        local.read("failures/k2.json")
    local.put(failure("k2"))
    assert [one.key for one in local.failures()] == ["k1", "k2"]
    assert os.path.lexists(tmp_path / "c/t/damaged/failures-k2.json")
    assert local.damaged[0].aside == str(tmp_path / "c/t/damaged/failures-k2.json")


def test_what_carries_no_seal_is_known(store):
    store.put(failure("k1"))
    store.write("failures/k2.json", json.dumps(msgspec.to_builtins(failure("k2"))).encode())
    assert [one.key for one in store.failures()] == ["k1", "k2"]
    assert store.unsealed == {"k2"}


def test_results_that_are_a_file_are_refused(tmp_path):
    (tmp_path / "afile").write_text("x")
    for ask in (hardware_classes, lambda root, task: Store(root, hardware_class="c", task=task)):
        with pytest.raises(StoreError, match="afile is a file, and results are kept in a folder"):
            ask(tmp_path / "afile", "t")


def test_what_another_run_has_mended_is_not_set_aside(store, root):
    store.write("failures/k1.json", b"{")
    assert store.failures() == []
    Store(root, hardware_class="c", task="t").put(failure("k1", "mended"))
    store.put(failure("k1"))
    assert not store.exists("damaged")


def test_a_damaged_record_asked_for_by_key_counts_as_none(store):
    store.write("attempts/k.json", b"{")
    store.write("trials/k.json", b"{")
    assert store.attempt("k") is None
    assert store.trial("k") is None
    assert store.attempt("never") is None
    assert len(store.damaged) == 2


def test_a_folder_that_may_only_be_read_is_still_read(local, monkeypatch):
    local.put(failure("k1"))
    local.write("failures/k2.json", b"{")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("joulemark.store.replace_file", refuse)
    assert [one.key for one in local.failures()] == ["k1"]
    assert len(local.damaged) == 1


@pytest.mark.parametrize("stage", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_an_error_in_the_middle_leaves_the_old_file(local, tmp_path, monkeypatch, stage, number):
    local.put(failure(reason="old"))

    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(*((os, "fsync") if stage == "fsync" else (Path, "replace")), full)
    with pytest.raises(StoreError) as caught:
        local.put(failure(reason="new"))
    monkeypatch.undo()
    message = str(caught.value)
    assert os.strerror(number) in message
    assert "k1.json" in message
    assert "--results" in message
    assert "\n" not in message
    assert files(tmp_path) == ["c/t/failures/k1.json"]
    assert local.failures() == [failure(reason="old")]


def test_an_interrupt_in_the_middle_leaves_the_old_file(local, tmp_path, monkeypatch):
    local.put(failure(reason="old"))

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        local.put(failure(reason="new"))
    assert files(tmp_path) == ["c/t/failures/k1.json"]
    assert local.failures() == [failure(reason="old")]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are POSIX")
def test_a_full_disk_in_a_real_process(tmp_path):
    program = """
import resource, sys
from joulemark.store import Store, StoreError
store = Store(sys.argv[1], hardware_class="c", task="t")
store.write("nets/n", b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    store.write("nets/n", bytes(100_000))
except StoreError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    (sentence,) = done.stdout.splitlines()
    assert sentence.startswith(f"cannot write {tmp_path}/c/t/nets/n: {os.strerror(errno.EFBIG)}.")
    assert files(tmp_path) == ["c/t/nets/n"]
    assert (tmp_path / "c/t/nets/n").read_bytes() == b"old"


def test_a_file_where_a_folder_should_be_is_said(tmp_path):
    (tmp_path / "c").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write"):
        Store(tmp_path, hardware_class="c", task="t").put(failure())


def test_readers_see_the_old_or_the_new_file_and_nothing_else(local, tmp_path):
    program = """
import sys
from joulemark.store import Store
store = Store(sys.argv[1], hardware_class="c", task="t")
for i in range(150):
    store.write("nets/n", bytes([i % 256]) * 200_000)
"""
    local.write("nets/n", b"\x00" * 200_000)
    writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    seen = set()
    while writer.poll() is None:
        data = local.read("nets/n")
        assert len(data) == 200_000
        assert len(set(data)) == 1
        seen.add(data[0])
    assert writer.returncode == 0
    assert len(seen) > 1
