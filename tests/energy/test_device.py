"""Profiles on disk: what was written is read, and what is not ours, not whole or not of this machine is refused."""

from __future__ import annotations

import json

import msgspec
import pytest
from profiles import planted_profile

from joulemark.energy.device import own_profile, read_profile, write_profile


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "deep" / "profile.json"
    write_profile(file, planted_profile())
    return file


def test_a_profile_is_read_as_it_was_written(path):
    read = read_profile(path)
    assert msgspec.structs.replace(read, seal="") == planted_profile()
    assert own_profile(path) == read
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("rows", 0, "seconds"), 1e-9),
        (("fits", 0, "intercept"), 1e-6),
        (("nets", 0, "seconds"), 2e-3),
        (("machine", "processor"), "another"),
        (("seed",), 7),
    ],
)
def test_a_changed_number_is_noticed(path, where, value):
    content = json.loads(path.read_text())
    *outer, last = where
    inner = content
    for step in outer:
        inner = inner[step]
    inner[last] = value
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="was changed after it was written"):
        read_profile(path)


def test_written_anew_without_a_change_it_is_still_the_same(path):
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    assert read_profile(path).planned == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": 2}, "version 2, and this is version 1: calibrate again"),
        ({"more": 1}, "is no device profile"),
        ({"threads": "one"}, "is no device profile"),
    ],
)
def test_other_content_is_refused(path, change, sentence):
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=sentence):
        read_profile(path)


def test_impossible_numbers_are_refused(path):
    content = json.loads(path.read_text())
    content["rows"][0]["seconds"] = -1.0
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="is no device profile"):
        read_profile(path)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1, 2]", b"\xff\xfe", b'{"schema": 1, "seal"', b"[" * 5000])
def test_what_is_no_profile_is_refused(tmp_path, data):
    file = tmp_path / "profile.json"
    file.write_bytes(data)
    with pytest.raises(ValueError, match="no device profile"):
        read_profile(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read the device profile .*none\.json: No such file"):
        read_profile(tmp_path / "none.json")


def test_a_profile_of_another_machine_is_refused(path):
    profile = planted_profile()
    there = msgspec.structs.replace(profile.machine, hardware_class="arm-cortex-neon-4core")
    write_profile(path, msgspec.structs.replace(profile, machine=there))
    with pytest.raises(
        ValueError, match=r"calibrated on arm-cortex-neon-4core, and this machine is .*: run `joulemark"
    ):
        own_profile(path)


def test_an_unfinished_profile_is_refused(path):
    write_profile(path, planted_profile(fits=(), planned=500))
    with pytest.raises(ValueError, match=r"unfinished \(1 of 500 layers measured\)"):
        own_profile(path)


def test_drift_is_taken_out_by_the_control():
    profile = planted_profile()
    assert profile.steady(2.0, 3e-4) == pytest.approx(2.0)
    assert profile.steady(2.0, 6e-4) == pytest.approx(1.0)  # all was twice as slow then
