"""Targets and the files of outcomes: limits, unknown values, and what is no stored answer."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from joulemark.selftest.outcome import PROTOCOL, Outcome, Target, above, below, read, write


def outcome(**more: Any) -> Outcome:
    given = {"experiment": "V4", "title": "a line", "board": "GPU-aa", "started": "2026-11-30T12:00:00+00:00",
             "seconds": 61.5, "targets": (below("bias", 0.001, 0.01), above("R2", None, 0.9999)),
             "figures": {"watts": [1.5, None]}, "facts": {"driver": "580"}}  # fmt: skip
    return Outcome(**{**given, **more})


@pytest.mark.parametrize(
    ("value", "passed"), [(0.0, True), (0.0099, True), (-0.0099, True), (0.01, False), (-0.01, False), (-5.0, False)]
)
def test_a_magnitude_stays_below_its_limit_or_not(value: float, passed: bool) -> None:
    assert below("bias", value, 0.01) == Target(name="bias", wanted="< 0.01", value=value, passed=passed)


@pytest.mark.parametrize(("value", "passed"), [(0.99991, True), (0.9999, False), (-2.0, False)])
def test_a_value_passes_its_limit_or_not(value: float, passed: bool) -> None:
    assert above("R2", value, 0.9999) == Target(name="R2", wanted="> 0.9999", value=value, passed=passed)


def test_an_unknown_value_neither_passes_nor_fails() -> None:
    assert [one("x", None, 1.0).passed for one in (below, above)] == [None, None]


def test_not_a_number_does_not_pass() -> None:
    assert [one("x", float("nan"), 1.0).passed for one in (below, above)] == [False, False]


def test_an_outcome_comes_back_as_it_was_and_a_person_can_read_it(tmp_path: Path) -> None:
    path = write(tmp_path / "out" / "deep", outcome())
    assert path == tmp_path / "out" / "deep" / "V4.json"
    assert read(path.parent, "V4", "GPU-aa") == outcome()
    assert json.loads(path.read_text())["protocol"] == PROTOCOL
    assert path.read_text().count("\n") > 10
    assert path.read_bytes().endswith(b"}\n")


def test_the_last_outcome_of_an_experiment_stands_and_others_stay(tmp_path: Path) -> None:
    for one in (outcome(), outcome(experiment="V5"), outcome(seconds=2.0)):
        write(tmp_path, one)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["V4.json", "V5.json"]
    stored = read(tmp_path, "V4", "GPU-aa")
    assert stored is not None
    assert stored.seconds == 2.0


@pytest.mark.parametrize("change", [{"board": "GPU-bb"}, {"protocol": PROTOCOL - 1}, {"protocol": PROTOCOL + 1}])
def test_another_board_or_protocol_is_no_answer(tmp_path: Path, change: dict[str, Any]) -> None:
    write(tmp_path, outcome(**change))
    assert read(tmp_path, "V4", "GPU-aa") is None


@pytest.mark.parametrize("text", [b"", b"{", b"null", b"[]", b"{}", b'{"experiment": 4}', b"\xff\xfe"])
def test_a_damaged_file_is_no_answer(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "V4.json").write_bytes(text)
    assert read(tmp_path, "V4", "GPU-aa") is None


def test_no_file_and_no_folder_are_no_answer(tmp_path: Path) -> None:
    assert read(tmp_path, "V4", "GPU-aa") is read(tmp_path / "nowhere", "V4", "GPU-aa") is None


def test_what_cannot_be_stored_leaves_the_old_outcome_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, outcome())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, outcome(seconds=2.0))
    assert [path.name for path in tmp_path.iterdir()] == ["V4.json"]
    assert read(tmp_path, "V4", "GPU-aa") == outcome()


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(FileExistsError, match="out"):
        write(tmp_path / "out", outcome())


def test_a_figure_that_is_no_number_of_json_is_stored_as_unknown(tmp_path: Path) -> None:
    write(tmp_path, outcome(figures={"ratio": float("nan")}))
    stored = read(tmp_path, "V4", "GPU-aa")
    assert stored is not None
    assert stored.figures == {"ratio": None}
    assert msgspec.structs.replace(stored, figures={}) == outcome(figures={})
