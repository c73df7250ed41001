"""What the code was when a record was made: its trace, from the commit that the record names.

Records of the first schema keep one digest of all code, which tells nobody what changed since. The commit tells it:
modules are read from there, under the names that they have today.
"""

from __future__ import annotations

import functools
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from joulemark.judging.trace import trace, tree_digest
from joulemark.migrating.moves import MOVED
from joulemark.vocabulary import TABLES

BEFORE = {new: old for old, new in MOVED.items()}


class History:
    """The commits of a repository. ``trace`` gives what a record was made by, as far as that can be known."""

    def __init__(self, repository: Path, tasks: Mapping[str, Any]) -> None:
        """Take the repository and the tasks that results may be of, by key."""
        self.repository, self.tasks = repository, tasks
        self._trace = functools.cache(self._traced)

    def trace(self, stated: Mapping[str, Any], kind: str) -> dict[str, str]:
        """The trace of a stored record of the first schema; empty if its commit is not known or was changed since."""
        provenance = stated["provenance"]
        commit = provenance.get("commit")
        if not commit or "+" in commit:
            return {}
        units = self._trace(commit, tuple(sorted(self._roots(stated, kind))))
        versions = {f"package {name}": f"{name} {version}" for name, version in provenance["versions"].items()}
        return {
            unit: versions.get(unit, digest)
            for unit, digest in sorted(units.items())
            if not unit.startswith("package ") or unit in versions
        }

    def _roots(self, stated: Mapping[str, Any], kind: str) -> Iterator[str]:
        """Modules that did the work then, by the names that they had."""
        task = self.tasks.get(stated["task_key"])
        if task is not None:
            yield from (_then("data set", task.data), _then("builder", task.recipe.builder))
        yield "joulemark.training"
        if kind == "made":
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

    def _traced(self, commit: str, roots: tuple[str, ...]) -> dict[str, str]:
        with self._tree(commit) as folder:
            if folder is None:
                return {}
            there = [root for root in roots if root and _path(folder, root) is not None]
            return dict(_renamed(trace(there, folder=folder), folder))

    @contextmanager
    def _tree(self, commit: str) -> Iterator[Path | None]:
        """A folder with the package as it was; ``None`` if the repository has no such commit."""
        done = subprocess.run(  # noqa: S603
            ["git", "archive", "--format=tar", commit, "src/joulemark"],  # noqa: S607
            cwd=self.repository, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            yield None
            return
        with tempfile.TemporaryDirectory() as folder:
            with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
                archive.extractall(folder, filter="data")
            yield Path(folder) / "src"


def moved(units: Mapping[str, str], folder: Path) -> dict[str, str]:
    """A trace with the names of today: of modules that were only moved since, the digest of today.

    ``folder`` holds the package of today. A module was only moved if it, with the old names in its imports, has the
    digest that the trace says.
    """
    found = {}
    for unit, was in units.items():
        now = MOVED.get(unit, unit)
        path = _path(folder, now)
        if path is not None and path.suffix == ".py":
            source = path.read_bytes()
            if tree_digest(source, now, folder=folder, renamed=BEFORE) == was:
                found[now] = tree_digest(source, now, package=path.name == "__init__.py", folder=folder)
                continue
        found[now] = was
    return found


def _renamed(units: Mapping[str, str], folder: Path) -> Iterable[tuple[str, str]]:
    """The units of an old tree under the names of today, their digests with those names in the imports."""
    for unit, digest in units.items():
        path = _path(folder, unit) if unit.startswith("joulemark") else None
        if path is None:
            yield unit, digest
        else:
            package = path.name == "__init__.py"
            source = path.read_bytes()
            yield MOVED.get(unit, unit), tree_digest(source, unit, package=package, folder=folder, renamed=MOVED)


def _then(kind: str, name: str) -> str:
    """The module of a name in the time of the first schema."""
    where = TABLES[kind].get(name.partition(":")[0], "").partition(":")[0]
    return BEFORE.get(where, where)


def _path(folder: Path, module: str) -> Path | None:
    stem = folder.joinpath(*module.split("."))
    return next((one for one in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py") if one.is_file()), None)
