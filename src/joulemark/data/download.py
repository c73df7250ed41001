"""One file from an official address: https only, checksum before it gets its name, no half files."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import hashlib
import http.client
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BLOCK = 1 << 20  # bytes
STALE_SECONDS = 3600.0

Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes so far and the bytes in all (``None``: the server does not say)."""


@dataclasses.dataclass(frozen=True)
class Remote:
    """A file as published. ``md5`` is the publisher's; what is read is checked by SHA-256 (see ``Task``)."""

    name: str
    address: str
    md5: str


def fetch(
    remote: Remote,
    folder: Path,
    *,
    progress: Progress | None = None,
    timeout_seconds: float = 30.0,
    schemes: Collection[str] = ("https",),
) -> Path:
    """Download ``remote`` into ``folder`` and return its path.

    The file appears under its name only when its checksum is right. Raises ``ValueError`` for a wrong checksum or an
    address, redirections included, whose scheme is not one of ``schemes``; ``OSError`` if the server or the disk fails.
    ``timeout_seconds`` bounds each wait, not the whole.
    """
    _check_scheme(remote.address, schemes)
    opener = urllib.request.build_opener(_Redirects(schemes))
    opener.addheaders = [("User-Agent", "joulemark")]
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder, remote.name)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{remote.name}.", delete=False) as file:
        part = Path(file.name)
        try:
            with opener.open(remote.address, timeout=timeout_seconds) as answer:
                found = _copy(answer, file, remote.name, progress)
            if found != remote.md5:
                raise ValueError(
                    f"{remote.address} sent a file with MD5 {found}, published is {remote.md5}: it was deleted; try "
                    "again, and if that does not help, the file or the network is not what it should be"
                )
            file.close()
            part.chmod(0o644)
            return part.replace(folder / remote.name)
        except http.client.HTTPException as error:  # an answer cut short is no OSError
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        finally:
            part.unlink(missing_ok=True)


def _sweep(folder: Path, name: str) -> None:
    """Remove what killed downloads of this file left; a part of the last hour may still be written."""
    for part in folder.glob(f".{glob.escape(name)}.*"):
        with contextlib.suppress(FileNotFoundError):  # another download may sweep too
            if time.time() - part.stat().st_mtime > STALE_SECONDS:
                part.unlink()


def show(name: str, done: int, total: int | None) -> None:
    """A line on standard error that counts up."""
    of = f" of {total / 1e6:.1f}" if total else ""
    sys.stderr.write(f"\r{name}: {done / 1e6:.1f}{of} MB" + ("\n" if done == total else ""))


def _copy(answer: Any, file: Any, name: str, progress: Progress | None) -> str:
    """Copy block by block; the MD5 of all. ``ConnectionError`` if it is not as long as announced."""
    length = answer.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    digest = hashlib.md5(usedforsecurity=False)
    done = 0
    while block := answer.read(BLOCK):
        file.write(block)
        digest.update(block)
        done += len(block)
        if progress:
            progress(name, done, total)
    if total is not None and done != total:
        raise ConnectionError(f"it ended after {done} of {total} bytes")
    return digest.hexdigest()


def _check_scheme(address: str, schemes: Collection[str]) -> None:
    if urlsplit(address).scheme not in schemes:
        raise ValueError(f"{address} is no address to download from: it must begin with {' or '.join(schemes)}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but never to another scheme."""

    def __init__(self, schemes: Collection[str]) -> None:
        self.schemes = schemes

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_scheme(newurl, self.schemes)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
