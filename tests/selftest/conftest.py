"""A driver with one board in place of ``pynvml``."""

from __future__ import annotations

import os
import sys

import pytest
from fake_nvml import UNSIGNED_INT, FakeNvml


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """The board of :mod:`fake_machine`, held by this program alone."""
    board = {"name": "NVIDIA H100", "limits": [100_000, 200_000], "enforced": 200_000, "millijoules": 5, "celsius": 40,
             "megahertz": 1980, "throttle": 0, "pids": [os.getpid()],
             "fields": {185: (UNSIGNED_INT, 90_000), 186: (UNSIGNED_INT, 91_000)}}  # fmt: skip
    fake = FakeNvml({"GPU-aa": board})
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake
