"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

WRITING = ".writing-"
"""How the name of a file begins that is still being written."""


def replace_file(path: Path, data: bytes) -> None:
    """Write beside the place, sync, rename: another process sees the old file or the new one, never half of one.

    A symbolic link is replaced, not followed. Raises ``OSError``; the old file then stands as it was.
    """
    temporary = path.parent / f"{WRITING}{uuid.uuid4().hex}"  # mkstemp would keep results from other users
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class StoreError(OSError):
    """Something could not be written or read; the message says what, where and what to do."""
