"""Bringing a folder over: file by file, whatever lies there, again and again, and with what is known by then."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from joulemark.migrating import migrate as migrate_module
from joulemark.migrating.migrate import migrate
from joulemark.record import SCHEMA
from joulemark.store import seal_of


def failure(**changes) -> dict:
    return {
        "schema": 1, "key": "k", "task": "t", "task_key": "tk", "technique": "int8", "seed": 0,
        "knobs": {"images": 256}, "reason": "it hung", "started": "2026-01-02T03:04:05Z", **changes,
    }  # fmt: skip


def written(path: Path, stated: dict, *, sealed: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode({**stated, "seal": seal_of(stated)} if sealed else stated))
    return path


def read(path: Path) -> dict:
    return msgspec.json.decode(path.read_bytes())


@pytest.fixture
def place(tmp_path) -> Path:
    return tmp_path / "here/t/failures"


def test_a_record_is_written_once_under_its_name_and_sealed(tmp_path, place):
    path = written(place / "k.json", failure())
    assert migrate(tmp_path).written == 1
    record = read(path)
    seal = record.pop("seal")
    assert (record["schema"], record["knobs"], seal) == (SCHEMA, [{"images": 256}], seal_of(record))
    before = path.stat()
    again = migrate(tmp_path)
    assert (again.records, again.written, again.failed) == (1, 0, ())
    assert path.stat().st_mtime_ns == before.st_mtime_ns  # not even touched


def test_what_had_no_seal_gets_none(tmp_path, place):
    path = written(place / "k.json", failure(), sealed=False)
    assert migrate(tmp_path).written == 1
    assert "seal" not in read(path)
    assert read(path)["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        (failure(schema=SCHEMA + 1), f"schema {SCHEMA + 1}, this version reads 1 to {SCHEMA}: update Joulemark"),
        (failure(schema="1"), "it has schema 1"),
        (failure(schema=0), "it has schema 0"),
        (failure(seed="none"), "seed"),
        ({}, "it is no record"),
        (failure(technique=5), "its values are not those of a record"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_strange_record_is_named_and_left_and_all_others_come_over(tmp_path, place, stated, words):
    strange = written(place / "a.json", stated)
    good = written(place / "b.json", failure())
    before = strange.read_bytes()
    done = migrate(tmp_path)
    assert (done.written, strange.read_bytes()) == (1, before)
    (one,) = done.failed
    assert one.startswith(str(strange))
    assert words in one
    assert "\n" not in one
    assert read(good)["schema"] == SCHEMA


@pytest.mark.parametrize("data", [b"", b"no JSON", b"[1]", b"[" * 100_000, b"5", b"\xff"])
def test_what_is_no_record_is_named_and_left(tmp_path, place, data):
    place.mkdir(parents=True)
    (place / "a.json").write_bytes(data)
    done = migrate(tmp_path)
    assert len(done.failed) == 1
    assert (place / "a.json").read_bytes() == data


def test_an_edited_record_is_named_and_left(tmp_path, place):
    path = written(place / "a.json", failure())
    path.write_bytes(path.read_bytes().replace(b"it hung", b"it flew"))
    assert "edited after it was made" in migrate(tmp_path).failed[0]
    assert read(path)["schema"] == 1


def test_pipes_and_links_are_passed_over(tmp_path, place):
    written(place / "a.json", failure())
    elsewhere = written(tmp_path / "elsewhere.json", failure())
    os.mkfifo(place / "b.json")
    (place / "c.json").symlink_to(elsewhere)
    assert migrate(tmp_path / "here").records == 1
    assert read(elsewhere)["schema"] == 1


def test_a_folder_without_records_says_so(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ValueError, match=r"^there are no records below .*: name a folder of results$"):
        migrate(tmp_path)


def test_code_that_was_not_known_is_filled_in_when_a_history_is_given(tmp_path, monkeypatch):
    class Known:
        """Stands for a repository that has every commit."""

        def __init__(self, repository, tasks) -> None:
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error) -> None:
            pass

        def trace(self, record, kind):
            return {"joulemark.nets.lenet": "0" * 16}

    committed = next(iter(sorted((Path(__file__).parents[2] / "results").glob("*/*/attempts/*.json"))))
    record = read(committed)
    record.pop("seal")
    path = written(tmp_path / "here/t/attempts" / committed.name, {**record, "code": {}})
    first = migrate(tmp_path)
    assert (first.written, first.unknown) == (0, 1)
    monkeypatch.setattr(migrate_module, "History", Known)
    second = migrate(tmp_path, repository=tmp_path)
    assert (second.written, second.unknown) == (1, 0)
    assert read(path)["code"] == {"joulemark.nets.builders.lenet": "0" * 16}  # by the name of today
