"""What the code was when a record was made: its trace, from the commit that the record names.

Records of the first schema keep one digest of all code, which tells nobody what changed since. The commit tells it:
modules are read from there, under the names that they have today.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from joulemark.judging.syntax import is_ours, own_path, tree_digest
from joulemark.judging.trace import trace
from joulemark.migrating.moves import MOVED
from joulemark.vocabulary import TABLES

BEFORE = {new: old for old, new in MOVED.items()}
"""Of records of the first schema: the names of then."""


class History(contextlib.AbstractContextManager["History"]):
    """The commits of a repository, read when first asked for; a context, at whose end they are forgotten."""

    def __init__(self, repository: Path, tasks: Mapping[str, Any]) -> None:
        """Take the repository and the tasks that results may be of, by key. ``ValueError`` if it is no repository."""
        if not repository.is_dir() or not _git(repository, "rev-parse", "--git-dir"):
            raise ValueError(f"{repository} is no Git repository: name the folder that holds the commits")
        self.repository, self.tasks = repository, tasks
        self._trees: dict[str, Path | None] = {}
        self._digests: dict[tuple[Path, str], tuple[str, str]] = {}
        self._held = contextlib.ExitStack()

    def __exit__(self, *error: object) -> None:
        """Remove what was read."""
        self._held.close()

    def trace(self, stated: Mapping[str, Any], kind: str) -> dict[str, str]:
        """The trace of a stored record of the first schema; empty if its commit is not known or was changed since."""
        provenance = stated["provenance"]
        commit = provenance.get("commit")
        if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{7,40}", commit):
            return {}
        units = self._traced(commit, self._roots(stated, kind))
        versions = {f"package {name}": f"{name} {version}" for name, version in provenance["versions"].items()}
        return {
            unit: versions.get(unit, digest)
            for unit, digest in sorted(units.items())
            if not unit.startswith("package ") or unit in versions
        }

    def file(self, commit: object, name: str) -> bytes | None:
        """A file of the package as it was; ``None`` if the commit or the file is not there."""
        known = isinstance(commit, str) and re.fullmatch(r"[0-9a-f]{7,40}", commit)
        folder = self._tree(str(commit)) if known else None
        path = folder / "joulemark" / name if folder is not None else None
        return path.read_bytes() if path is not None and path.is_file() else None

    def _roots(self, stated: Mapping[str, Any], kind: str) -> Iterator[str]:
        """Modules that did the work then, by the names that they had."""
        task = self.tasks.get(stated["task_key"])
        if task is not None:
            yield from (_then("data set", task.data), _then("builder", task.recipe.builder))
        yield from ("joulemark.training", "joulemark.data")
        if kind == "made":
            yield "joulemark.benchmark.making"
            if stated["technique"] != "baseline":
                yield "joulemark.benchmark.workbench"
                yield from (_then("backend", "onnxruntime"), _then("energy model", "row-stationary"))
                for part in stated["technique"].split("+"):
                    yield _then("technique", part.partition(":")[0])
            return
        yield from ("joulemark.benchmark.attempt", "joulemark.benchmark.trial")
        if kind == "free":
            yield "joulemark.benchmark.free"
            yield _then("backend", stated["backend"])
        models = stated.get("models") or {}
        yield from (_then("energy model", name) for name in (models if isinstance(models, dict) else ()))
        yield from (_then("energy model", report["model"]) for report in (models if isinstance(models, list) else ()))
        yield from (_then("backend", timing["backend"]) for timing in stated.get("timings", ()))

    def _traced(self, commit: str, roots: Iterable[str]) -> dict[str, str]:
        folder = self._tree(commit)
        if folder is None:
            return {}
        there = [root for root in roots if root and own_path(root, folder) is not None]
        return dict(self._renamed(folder, unit, digest) for unit, digest in trace(there, folder=folder).items())

    def _renamed(self, folder: Path, unit: str, digest: str) -> tuple[str, str]:
        """A unit of an old tree under its name of today, its digest with such names in the imports."""
        path = own_path(unit, folder) if unit.startswith("joulemark") else None
        if path is None:
            return unit, digest
        if (folder, unit) not in self._digests:
            package = path.name == "__init__.py"
            digest = tree_digest(
                path.read_bytes(), unit, package=package, folder=folder, renamed={old: _today(old) for old in MOVED}
            )
            self._digests[folder, unit] = (_today(unit), digest)
        return self._digests[folder, unit]

    def _tree(self, commit: str) -> Path | None:
        """A folder with the package as it was; ``None`` if the repository has no such commit."""
        if commit not in self._trees:
            archive = _git(self.repository, "archive", "--format=tar", commit, "src/joulemark")
            self._trees[commit] = self._extracted(archive) if archive else None
        return self._trees[commit]

    def _extracted(self, data: bytes) -> Path:
        folder = self._held.enter_context(tempfile.TemporaryDirectory())
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(folder, filter="data")
        return Path(folder) / "src"


def moved(units: Mapping[str, str], folder: Path) -> dict[str, str]:
    """A trace with the names of today: of modules that were only moved since, the digest of today.

    ``folder`` holds the package of today. A module was only moved, or only imports what was, if it has the digest that
    the trace says once the names that the trace knows stand in its imports again. A trace that has the name of today,
    too, means by the old one the package that has it now.
    """
    today = {unit: unit if _today(unit) in units else _today(unit) for unit in units}
    renamed = {now: unit for unit, now in today.items() if now != unit}
    if not renamed:
        return dict(units)
    # Of other names only those matter whose file is gone, so that many traces share what is computed here.
    gone = {now: now for now in today.values() if is_ours(now) and own_path(now, folder) is None}
    before = tuple(sorted({**gone, **renamed}.items()))
    return {today[unit]: _digests(folder, today[unit], before).get(was, was) for unit, was in units.items()}


@functools.cache
def _digests(folder: Path, module: str, before: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Digest of a module with some old names in its imports -> its digest as it is; empty for no module of ours."""
    path = own_path(module, folder) if module.startswith("joulemark.") else None
    if path is None:
        return {}
    source, package = path.read_bytes(), path.name == "__init__.py"
    was = tree_digest(source, module, package=package, folder=folder, renamed=dict(before))
    return {was: tree_digest(source, module, package=package, folder=folder)}


def _today(module: str) -> str:
    """The name of a module today, however often it was moved."""
    seen = {module}
    while (module := MOVED.get(module, module)) not in seen:
        seen.add(module)
    return module


def _git(repository: Path, *words: str) -> bytes:
    """What Git says; empty if it fails."""
    done = subprocess.run(["git", *words], cwd=repository, capture_output=True, check=False)  # noqa: S603, S607
    return b"" if done.returncode else done.stdout


def _then(kind: str, name: str) -> str:
    """The module of a name in the time of the first schema."""
    where = TABLES[kind].get(name.partition(":")[0], "").partition(":")[0]
    return BEFORE.get(where, where)
