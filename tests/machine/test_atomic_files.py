"""A file is the old one or the new one, whatever stops the writer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from joulemark.machine import atomic_files
from joulemark.machine.atomic_files import replace_file


def test_the_new_file_stands_in_place_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.json"
    for data in (b"old", b"new", b""):
        replace_file(path, data)
        assert path.read_bytes() == data
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_writer_that_is_stopped_leaves_the_old_file(tmp_path, monkeypatch, step, error):
    def fail(*_):
        raise error

    path = tmp_path / "a.json"
    replace_file(path, b"old")
    monkeypatch.setattr(*((atomic_files.os, "fsync") if step == "fsync" else (Path, "replace")), fail)
    with pytest.raises(type(error)):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"mine")
    link = tmp_path / "a.json"
    link.symlink_to(tmp_path / "precious")
    replace_file(link, b"new")
    assert (tmp_path / "precious").read_bytes() == b"mine"
    assert not link.is_symlink()


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o022)
    try:
        replace_file(tmp_path / "a.json", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o644
