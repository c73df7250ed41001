"""Fixtures of the benchmark's tests."""

from __future__ import annotations

import dataclasses

import pytest
from tiny import tiny_splits, tiny_suite

from joulemark.benchmarking import session as session_module
from joulemark.benchmarking.session import Session
from joulemark.benchmarking.suite import Suite
from joulemark.judging import trace


@dataclasses.dataclass
class Heard:
    """A listener that remembers."""

    events: list = dataclasses.field(default_factory=list)

    def __call__(self, event) -> None:
        self.events.append(event)

    def titles(self, what: str) -> list[str]:
        return [event.title for event in self.events if event.what == what]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def open_session(tmp_path, monkeypatch):
    """Opens sessions on one results folder, with made-up images."""
    splits = tiny_splits()
    monkeypatch.setattr(session_module, "load", lambda task: splits)

    def make(suite: Suite | None = None) -> Session:
        return Session.open(suite or tiny_suite(), tmp_path / "results", command="test")

    return make


@pytest.fixture
def change(monkeypatch):
    """A function that lets some units of code have been changed, as if their files had been edited."""
    real = trace._digest_of_file

    def change(*units: str) -> None:
        monkeypatch.setattr(
            trace,
            "_digest_of_file",
            lambda path, unit, folder: "f" * 16 if unit in units else real(path, unit, folder),
        )

    return change
