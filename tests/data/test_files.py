"""Where files are looked for, in which order, and what is said when they are nowhere."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from joulemark.data import files
from joulemark.data.download import Remote
from joulemark.data.files import cache_folder, contents, find, obtain

REMOTES = (Remote("a.gz", "https://example.org/a.gz", "0"), Remote("b.gz", "https://example.org/b.gz", "0"))


def ask() -> list[Path]:
    return obtain("made", ("made", "."), (("a", "b"), ("whole.tar",)), REMOTES)


def test_a_layout_counts_only_when_complete(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one/a").touch()
    assert find(tmp_path, ("one",), (("a", "b"),)) is None
    (tmp_path / "one/b.gz").touch()
    assert find(tmp_path, ("two", "one"), (("a", "b"),)) == [tmp_path / "one/a", tmp_path / "one/b.gz"]


def test_folders_come_before_layouts(tmp_path):
    for name in ("made/whole.tar", "a", "b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find(tmp_path, ("made", "."), (("a", "b"), ("whole.tar",))) == [tmp_path / "made/whole.tar"]


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "a").mkdir()
    assert find(tmp_path, (".",), (("a",),)) is None


def test_own_files_come_before_the_cache(given):
    cached = cache_folder() / "made"
    cached.mkdir(parents=True)
    for folder in (cached, given):
        for name in ("a", "b"):
            (folder / name).touch()
    assert ask() == [given / "a", given / "b"]
    (given / "b").unlink()
    assert ask() == [cached / "a", cached / "b"]


def test_what_is_nowhere_is_downloaded_once(given, monkeypatch, capsys):
    asked = []

    def fake(remote, folder, **_):
        asked.append(remote.name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / remote.name).write_bytes(gzip.compress(b"content"))

    monkeypatch.setattr(files, "fetch", fake)
    expected = [cache_folder() / "made" / name for name in ("a.gz", "b.gz")]
    assert ask() == expected
    assert ask() == expected
    assert asked == ["a.gz", "b.gz"]
    assert contents(expected[0]) == b"content"
    assert "downloading https://example.org/a.gz to" in capsys.readouterr().err


def test_only_what_is_missing_is_downloaded(given, monkeypatch):
    cached = cache_folder() / "made"
    cached.mkdir(parents=True)
    (cached / "a.gz").touch()
    asked = []
    monkeypatch.setattr(files, "fetch", lambda remote, folder, **_: asked.append(remote.name))
    ask()
    assert asked == ["b.gz"]


def test_offline_it_says_what_where_and_what_to_do(given):
    with pytest.raises(FileNotFoundError) as caught:
        ask()
    said = str(caught.value)
    for part in (
        "a.gz, b.gz",
        str(given),
        str(cache_folder()),
        "https://example.org/a.gz",
        "no network in tests",
    ):
        assert part in said
    assert "\n" not in said


def test_offline_without_a_folder_it_names_the_variable(given, monkeypatch):
    monkeypatch.delenv("JOULEMARK_DATA")
    with pytest.raises(FileNotFoundError, match=r"no made data: a.gz, b.gz .* are not in .* set JOULEMARK_DATA to"):
        ask()


def test_a_folder_that_is_not_there(given, monkeypatch):
    monkeypatch.setenv("JOULEMARK_DATA", str(given / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"JOULEMARK_DATA is .*nowhere, and there is no such folder"):
        ask()


def test_cache_follows_xdg(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "joulemark"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for ignored in ("relative/folder", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_folder() == tmp_path / "home/.cache/joulemark"


def test_damaged_gzip_is_named(tmp_path):
    path = tmp_path / "a.gz"
    whole = gzip.compress(b"content" * 100)
    for wrong in (b"no gzip", whole[:-9], whole[:-8] + b"\0" * 8, whole[:10] + b"\xff" * 20):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"a\.gz is damaged"):
            contents(path)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-images.idx3-ubyte", "train-images.idx3-ubyte.gz"])
def test_a_file_is_found_under_its_other_usual_names(tmp_path, name):
    folder = tmp_path / "MNIST"
    folder.mkdir()
    (folder / name).write_bytes(b"")
    assert find(tmp_path, ["MNIST"], [["train-images-idx3-ubyte"]]) == [folder / name]
