"""Fixtures of the benchmark's tests."""

from __future__ import annotations

import dataclasses

import pytest
from tiny import tiny_splits, tiny_suite

from joulemark.benchmarking import session as session_module
from joulemark.benchmarking.session import Session
from joulemark.benchmarking.suite import Suite


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
