"""What the tests of data share: real data if the machine has them, an empty cache, IDX files made by hand."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def real_data() -> Path:
    """The folder of real data; skips where there is none."""
    if "JOULEMARK_DATA" not in os.environ:
        pytest.skip("JOULEMARK_DATA, the folder of real data, is not set")
    return Path(os.environ["JOULEMARK_DATA"])


@pytest.fixture
def given(tmp_path, monkeypatch) -> Path:
    """An empty folder that JOULEMARK_DATA names; the cache is empty too, and downloads fail."""
    folder = tmp_path / "given"
    folder.mkdir()
    monkeypatch.setenv("JOULEMARK_DATA", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def no_network(remote, folder, **_):
        raise OSError("no network in tests")

    monkeypatch.setattr("joulemark.data.files.fetch", no_network)
    return folder


@pytest.fixture
def write_idx():
    """A writer of IDX files of bytes, by the format's description."""

    def write(path: Path, values: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
        path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)

    return write
