"""Whether the processor blurs its counters, from bit 0 of a register in a file that stands in for the device."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemark.meters.filtering import MISC_PACKAGE_CTLS, energy_filtered


def test_the_register_is_0xbc() -> None:
    assert MISC_PACKAGE_CTLS == 188


@pytest.mark.parametrize(
    ("register", "filtered"),
    [(b"\x01" + bytes(7), True), (b"\xfe" + bytes(7), False), (bytes(7) + b"\x01", False), (bytes(8), False)],
)
def test_filtering_is_bit_0_of_its_register_and_no_other(tmp_path: Path, register: bytes, filtered: bool) -> None:
    msr = tmp_path / "msr"
    msr.write_bytes(b"\xff" * 0xBC + register + b"\xff" * 8)
    assert energy_filtered(msr) is filtered


@pytest.mark.parametrize("text", [b"", bytes(0xBC), bytes(0xBC) + b"\x01", bytes(0xBC) + b"\x01" * 7])
def test_a_register_that_is_not_all_there_is_unknown_and_not_off(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "msr").write_bytes(text)
    assert energy_filtered(tmp_path / "msr") is None


def test_what_cannot_be_opened_or_read_is_unknown_and_leaves_no_file_open(tmp_path: Path) -> None:
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    assert energy_filtered(tmp_path / "none") is None
    assert energy_filtered(tmp_path) is None  # a directory opens, and cannot be read
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before
