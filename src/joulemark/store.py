"""Where results live: one JSON a record, keyed by content, written atomically; nets and unfinished steps beside them.

    <root>/<hardware class>/<task>/made/<key>.json             (how a net was made; the key begins with its inputs)
                                  /attempts/<key>.json
                                  /trials/<key>.json
                                  /free/<key>.json               (what costs nothing)
                                  /failures/<key>.json
                                  /truths/<key>.json             (what is true of the rows of a split)
                                  /studies/<suite>.json           (which of these one board is drawn from)
                                  /suites/<suite>.json            (of a user's own task: how it was run)
                                  /nets/<hash>.safetensors
                                  /steps/<attempt>/<step>         (unfinished attempts; removed when they finish)
                                  /damaged/<name>                 (files that could not be read and were made again)

``root`` is a folder or any fsspec URL. A file is either there and whole or not there: locally it is written beside its
place, synced and renamed; object stores put whole objects. Reading changes nothing: a record that cannot be read counts
as none and is named in ``Store.damaged`` each time; who makes it again puts the unreadable file aside.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import fsspec
import msgspec

from joulemark.machine.atomic_files import WRITING, replace_file
from joulemark.machine.atomic_files import StoreError as StoreError
from joulemark.machine.held_folder import held
from joulemark.record import SCHEMA, Attempt, Failure, FreeTrial, Made, Record, Study, Trial, Truth

T = TypeVar("T", bound=Record)
STALE_SECONDS = 3600.0
KINDS: dict[type[Record], str] = {
    Made: "made",
    Attempt: "attempts",
    Trial: "trials",
    FreeTrial: "free",
    Failure: "failures",
    Study: "studies",
    Truth: "truths",
}
"""Folder of each type of record."""


class Damaged(Record, frozen=True, kw_only=True):
    """A file that could not be read and why; ``aside`` is where it was put when its record was made again.

    One of a ``newer`` version is never made again here.
    """

    path: str
    reason: str
    aside: str | None = None
    newer: bool = False


class Store:
    """The results of one task on one hardware class."""

    def __init__(self, root: str | Path, *, hardware_class: str, task: str) -> None:
        self.files, path = _open(root)
        self.hardware_class = hardware_class
        self.folder = f"{path}/{hardware_class}/{task}"
        self.local = _is_local(self.files)
        self.damaged: list[Damaged] = []
        self.unsealed: set[str] = set()  # keys of the records read that carry no seal
        self._unread: dict[str, bytes | None] = {}  # by name: what stood in the files of ``damaged``; None: cannot tell

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Nobody else writes here while the block runs (local folders only). Raises :class:`StoreError` if one does."""
        return held(Path(self.folder)) if self.local else contextlib.nullcontext()

    def write(self, name: str, data: bytes) -> None:
        """Put ``data`` at ``name`` (a path below the folder), whole or not at all. Raises :class:`StoreError`."""
        path = f"{self.folder}/{name}"
        try:
            if self.local:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                replace_file(Path(path), data)
            else:
                self.files.makedirs(path.rpartition("/")[0], exist_ok=True)
                self.files.pipe_file(path, data)
        except OSError as error:
            raise StoreError(
                f"cannot write {path}: {error.strerror or error}. Everything finished before is kept: free some space "
                "or choose another place with --results, then run the same command again"
            ) from error

    def read(self, name: str) -> bytes | None:
        """The bytes at ``name``, or ``None`` if there is no file. Raises :class:`StoreError` if it cannot be read."""
        try:
            return self._bytes(name)
        except OSError as error:
            raise StoreError(f"cannot read {self.folder}/{name}: {error.strerror or error}") from error

    def _bytes(self, name: str) -> bytes | None:
        path = f"{self.folder}/{name}"
        try:
            if self.local:
                mode = Path(path).stat().st_mode  # a pipe would be waited for, a device read for ever
                if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                    raise OSError(errno.EINVAL, "it is no regular file")
            return bytes(self.files.cat_file(path))
        except (FileNotFoundError, IsADirectoryError):
            return None

    def exists(self, name: str) -> bool:
        """Whether there is something at ``name``."""
        return bool(self.files.exists(f"{self.folder}/{name}"))

    def remove(self, name: str) -> None:
        """Remove a file or folder, if it is there."""
        with contextlib.suppress(FileNotFoundError):  # it may not be there, or another run removes it too
            self.files.rm(f"{self.folder}/{name}", recursive=True)

    def sweep(self) -> None:
        """Remove what killed writers left behind (local folders only; files of the last hour may still be written)."""
        if not self.local or not Path(self.folder).is_dir():
            return
        for leftover in Path(self.folder).rglob(f"{WRITING}*"):
            with contextlib.suppress(FileNotFoundError):  # another run may sweep too
                if time.time() - leftover.stat().st_mtime > STALE_SECONDS:
                    leftover.unlink()

    def put(self, record: Made | Attempt | Trial | FreeTrial | Failure | Study | Truth) -> None:
        """Store a record under its key, sealed (see :func:`sealed`); a damaged file in its place is kept aside.

        Raises :class:`StoreError` if it cannot be written, or if a newer version's record stands there.
        """
        name = f"{KINDS[type(record)]}/{record.key}.json"
        self._refuse_newer(name)
        self._set_aside(name)
        self.write(name, sealed(record))

    def made(self, key: str) -> Made | None:
        """How one net was made, or ``None``; a damaged file counts as none."""
        return self._get(f"made/{key}.json", Made)

    def attempt(self, key: str) -> Attempt | None:
        """One attempt, or ``None``; a damaged file counts as none."""
        return self._get(f"attempts/{key}.json", Attempt)

    def trial(self, key: str) -> Trial | None:
        """One trial, or ``None``; a damaged file counts as none."""
        return self._get(f"trials/{key}.json", Trial)

    def free_trial(self, key: str) -> FreeTrial | None:
        """One free trial, or ``None``; a damaged file counts as none."""
        return self._get(f"free/{key}.json", FreeTrial)

    def find(self, record_type: type[T], inputs: str) -> list[T]:
        """All records of these inputs, by whatever code they were made; ``inputs`` begins their keys."""
        kind = KINDS[record_type]
        found = [self._get(f"{kind}/{name}", record_type) for name in self.names(kind) if name.startswith(f"{inputs}-")]
        return [record for record in found if record is not None]

    def study(self, suite: str) -> Study | None:
        """The study of a suite by its name, or ``None``."""
        return self._get(f"studies/{suite}.json", Study)

    def truth(self, key: str) -> Truth | None:
        """What is true of a split, or ``None``; a damaged file counts as none."""
        return self._get(f"truths/{key}.json", Truth)

    def truths(self) -> dict[str, Truth]:
        """All that is true of splits and can be read, by key."""
        return {truth.key: truth for truth in self._all("truths", Truth)}

    def all_made(self) -> list[Made]:
        """How every net was made, as far as that can be read."""
        return self._all("made", Made)

    def attempts(self) -> list[Attempt]:
        """All attempts that can be read."""
        return self._all("attempts", Attempt)

    def trials(self) -> list[Trial]:
        """All trials that can be read."""
        return self._all("trials", Trial)

    def failures(self) -> list[Failure]:
        """All failures that can be read."""
        return self._all("failures", Failure)

    def names(self, folder: str) -> list[str]:
        """Names of the files in ``folder`` (a path below the store's), sorted; none if it is not there."""
        try:
            return sorted(path.rpartition("/")[2] for path in self.files.ls(f"{self.folder}/{folder}", detail=False))
        except FileNotFoundError:
            return []

    def _all(self, kind: str, record_type: type[T]) -> list[T]:
        names = self.names(kind)
        found = (self._get(f"{kind}/{name}", record_type) for name in names if name.endswith(".json"))
        return [record for record in found if record is not None]

    def _get(self, name: str, record_type: type[T]) -> T | None:
        data = None
        try:
            if not re.fullmatch(r"[a-z]+/[A-Za-z0-9._-]{1,200}\.json", name):  # a study may name anything
                raise ValueError(f"{name!r:.80} is no name of a record")
            data = self._bytes(name)
            if data is None:
                return None
            found = opened(data, record_type, name)
        except OSError as error:
            self._leave_out(name, None, error.strerror or str(error))
        except ValueError as error:
            self._leave_out(name, data, str(error))
        else:
            if not found.sealed:
                self.unsealed.add(name.rpartition("/")[2].removesuffix(".json"))
            return found.record
        return None

    def _leave_out(self, name: str, data: bytes | None, reason: str) -> None:
        if name not in self._unread:
            self._unread[name] = data
            newer = data is not None and (_schema(data) or 0) > SCHEMA
            self.damaged.append(Damaged(path=f"{self.folder}/{name}", reason=reason, newer=newer))

    def _refuse_newer(self, name: str) -> None:
        try:
            schema = _schema(self._bytes(name) or b"")
        except OSError:
            return  # what cannot be read is no record
        if schema is not None and schema > SCHEMA:
            raise StoreError(
                f"{self.folder}/{name} was written by a newer version of Joulemark (schema {schema}, this one writes "
                f"{SCHEMA}) and is left as it is: update Joulemark, or choose another place with --results"
            )

    def _set_aside(self, name: str) -> None:
        """Keep a file that could not be read before another takes its place."""
        if name not in self._unread:
            return
        data = self._unread.pop(name)
        aside, path = f"damaged/{name.replace('/', '-')}", f"{self.folder}/{name}"
        try:
            if self._bytes(name) != data:  # another run has made it again already
                return
        except OSError:
            data = None
        if data is not None:
            self.write(aside, data)
        elif not self._move(path, f"{self.folder}/{aside}"):
            return
        self.damaged = [
            msgspec.structs.replace(one, aside=f"{self.folder}/{aside}") if one.path == path else one
            for one in self.damaged
        ]

    def _move(self, path: str, to: str) -> bool:
        """Move what cannot be copied; whether it is there now. What stays is said when it cannot be written over."""
        if not self.local:
            return False
        try:
            Path(to).parent.mkdir(parents=True, exist_ok=True)
            Path(path).replace(to)
        except OSError:
            return False
        return True


@dataclass(frozen=True)
class Opened(Generic[T]):
    """A record as it was stored. ``sealed`` is false for one that carries no seal: older than seals, or edited."""

    record: T
    sealed: bool


def seal_of(stated: dict[str, Any]) -> str:
    """Seal of a record as plain JSON values: SHA-256 of its canonical JSON (sorted keys, no spaces), without the seal.

    It shows that a file was changed since it was stored. It is no signature: who edits a record can seal it anew.

    >>> seal_of({"b": 1, "a": [2.0]}) == seal_of({"a": [2.0], "b": 1, "seal": "any"})
    True
    """
    content = {name: value for name, value in stated.items() if name != "seal"}
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def sealed(record: Record) -> bytes:
    """The file of a record: its JSON, readable, with its seal as the last member."""
    stated = msgspec.json.decode(msgspec.json.encode(record))
    return msgspec.json.format(msgspec.json.encode({**stated, "seal": seal_of(stated)}), indent=1) + b"\n"


def opened(data: bytes, record_type: type[T], name: str) -> Opened[T]:
    """Inverse of :func:`sealed`; ``name`` is that of the file.

    Raises ``ValueError`` if it is no such record, is of another schema, was edited after it was stored or stands under
    another's name.
    """
    schema = _schema(data)
    if schema is not None and schema != SCHEMA:
        remedy = "update Joulemark" if schema > SCHEMA else "bring it over with `joulemark migrate`"
        raise ValueError(f"it has schema {schema}, this version reads {SCHEMA}: {remedy}")
    try:
        stated = msgspec.json.decode(data)
        seal = stated.pop("seal", None) if isinstance(stated, dict) else None
        record = msgspec.convert(stated, type=record_type)
        edited = seal is not None and seal != seal_of(stated)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if edited:
        raise ValueError("it was edited after it was made: its seal does not fit its content")
    if f"{stated['key']}.json" != name.rpartition("/")[2]:
        raise ValueError(f"the record inside is {stated['key']}: the file was renamed or edited")
    return Opened(record, seal is not None)


def _open(root: str | Path) -> tuple[Any, str]:
    try:
        files, path = fsspec.core.url_to_fs(str(root))
    except (ImportError, ValueError) as error:
        raise StoreError(f"cannot open {root}: {error}") from error
    if _is_local(files) and Path(path).exists() and not Path(path).is_dir():
        raise StoreError(f"{root} is a file, and results are kept in a folder: name that folder")
    return files, str(path)


def _is_local(files: Any) -> bool:
    return "file" in (files.protocol if isinstance(files.protocol, tuple) else ())


def _schema(data: bytes) -> int | None:
    try:
        return msgspec.json.decode(data, type=_Versioned).schema
    except (msgspec.MsgspecError, RecursionError):
        return None


class _Versioned(msgspec.Struct):
    """Any record, of any version."""

    schema: int


def hardware_classes(root: str | Path, task: str) -> list[str]:
    """Hardware classes below ``root`` that hold results of a task."""
    files, path = _open(root)
    try:
        folders = [str(name) for name in files.ls(path, detail=False)]
    except FileNotFoundError:
        return []
    return sorted(name.rpartition("/")[2] for name in folders if files.exists(f"{name}/{task}/attempts"))


def task_folders(root: str | Path) -> list[tuple[str, str]]:
    """(hardware class, task's folder) of everything two levels below ``root``, results or not."""
    files, path = _open(root)
    names = [str(name).removeprefix(path).strip("/").split("/") for name in files.glob(f"{path}/*/*")]
    return sorted((parts[0], parts[1]) for parts in names if len(parts) == 2)


def folders(root: str | Path) -> list[tuple[str, str]]:
    """(hardware class, task) of every folder of results below ``root``."""
    files, path = _open(root)
    kinds = "|".join(KINDS.values())
    found = set()
    for name in files.find(path):
        match = re.fullmatch(rf"([^/]+)/([^/]+)/({kinds})/[^/]+\.json", str(name).removeprefix(path).lstrip("/"))
        if match:
            found.add((match[1], match[2]))
    return sorted(found)
