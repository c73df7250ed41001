"""One writer a folder: a second run in the same results is refused, and a crash leaves nothing locked.

The kernel holds the lock (flock(2)) for as long as the process lives; the file only says who has it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from joulemark.machine.atomic_files import StoreError
from joulemark.machine.machine import boot

NAME = ".lock"


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process while the block runs. :class:`StoreError` names who holds it already."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file, writable = _opened(folder / NAME)
    except OSError as error:
        raise StoreError(
            f"cannot write {folder}: {error.strerror or error}: choose another place with --results"
        ) from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):  # a file system without locks: as it was before
                yield
                return
            raise StoreError(
                f"{folder} is being written by {_owner(file)}: wait until that has ended, or choose another place with "
                "--results"
            ) from error
        if writable:
            os.ftruncate(file, 0)
            os.pwrite(file, msgspec.json.encode(_self()), 0)
        yield
    finally:
        os.close(file)  # which gives the lock back


def _opened(path: Path) -> tuple[int, bool]:
    """The file, which is never a link to another one, and whether this user may write into it."""
    plain = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | plain, 0o644), True
    except PermissionError:  # another user's, in a folder that several share: a lock needs no more than to read
        return os.open(path, os.O_RDONLY | plain), False


def _self() -> dict[str, Any]:
    return {"process": os.getpid(), "host": socket.gethostname(), "boot": boot(),
            "since": datetime.now(UTC).isoformat(timespec="seconds")}  # fmt: skip


def _owner(file: int) -> str:
    try:
        said = msgspec.json.decode(os.pread(file, 4096, 0))
        return f"process {said['process']:d} on {said['host']!s:.80} since {said['since']!s:.40}"
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
        return "another process"
