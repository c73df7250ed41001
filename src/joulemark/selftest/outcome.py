"""What an experiment found: figures, targets, and its file, which is why a finished experiment is not repeated."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import msgspec

from joulemark.record import Record

PROTOCOL = 1
"""Goes up when experiments change so that older outcomes no longer answer the same question."""


class Target(Record, frozen=True, kw_only=True):
    """One thing that was wanted; ``passed`` and ``value`` are ``None`` if it could not be found out."""

    name: str
    wanted: str  # "> 0.9999"
    value: float | None
    passed: bool | None


class Outcome(Record, frozen=True, kw_only=True):
    """One finished experiment on one board."""

    protocol: int = PROTOCOL
    experiment: str  # "V4"
    title: str
    board: str  # UUID
    started: str  # ISO 8601, UTC
    seconds: float
    targets: tuple[Target, ...]
    figures: dict[str, Any]  # units in the names
    facts: dict[str, Any]  # driver, limits, versions


Found = tuple[list[Target], dict[str, Any]]
"""What an experiment returns: its targets and its figures."""


def below(name: str, value: float | None, limit: float) -> Target:
    """A target that a magnitude stays below a limit."""
    passed = None if value is None else abs(value) < limit
    return Target(name=name, wanted=f"< {limit:g}", value=value, passed=passed)


def above(name: str, value: float | None, limit: float) -> Target:
    """A target that a value passes a limit."""
    return Target(name=name, wanted=f"> {limit:g}", value=value, passed=None if value is None else value > limit)


def write(folder: Path, outcome: Outcome) -> Path:
    """Store an outcome, whole or not at all. Raises ``OSError`` if the folder cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{outcome.experiment}.json"
    writing = folder / f".writing-{outcome.experiment}-{os.getpid()}"
    try:
        with writing.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(outcome), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        writing.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            writing.unlink()
    return path


def read(folder: Path, experiment: str, board: str) -> Outcome | None:
    """The stored outcome of an experiment; ``None`` if there is none of this protocol and board that can be read."""
    try:
        outcome = msgspec.json.decode((folder / f"{experiment}.json").read_bytes(), type=Outcome)
    except (OSError, msgspec.DecodeError):
        return None
    return outcome if outcome.protocol == PROTOCOL and outcome.board == board else None
