"""Fixtures of the checks' tests."""

from __future__ import annotations

import pytest
from made_up import fill


@pytest.fixture
def folder(tmp_path):
    """A folder of results that breaks no rule: (its root, its store)."""
    return tmp_path, fill(tmp_path)
