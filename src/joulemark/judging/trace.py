"""What a result was made or judged by: the digest of every unit of code that was used, so that no other change counts.

A *unit* is one module of ours ("joulemark.training"), a user's file ("file mine.py", or "file helper" for a module that
it imports), an installed package ("package torch"), whose digest is its version, or a table of constants beside a
module of ours ("table joulemark/energy/systolic.toml"). A *trace* holds the units of some
roots and of all that these import, however far. Imports are read from syntax trees; nothing is imported. The vocabulary
is the only place where a string decides what is imported, and it says what it handed out.

What counts in a file is said in :mod:`joulemark.judging.syntax`. Modules that only declare (:data:`DECLARE`) do not
count: what they declare is in the values that a key is the digest of. A table counts by its values, with the modules
that name it. What no import tells is not seen: a module that a string names when the code runs, a file of the user's
that his code opens.

Everything here needs Python's own library alone, so that any Python can be asked for the same digests.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from joulemark.judging.syntax import OURS, checks_types, is_ours, is_type_checking, own_path, source_of, tree_digest
from joulemark.vocabulary import imported_files

DECLARE = frozenset(
    {
        "joulemark",
        "joulemark.record",
        "joulemark.task",
        "joulemark.vocabulary",
        "joulemark.nets.header",
        "joulemark.benchmarking.suite",
    }
)
"""Modules that only declare fields, names and what is refused. A test allows them nothing else."""


def trace(roots: Iterable[str], *, folder: Path = OURS) -> dict[str, str]:
    """Unit -> digest of the modules ``roots`` and of all that they import, however far.

    Our own modules are read below ``folder``. Of a module of others (a technique's file, an installed backend), all
    that it imports counts, but for our public face: an installed package by its version, other files by their trees,
    Python's own library not at all. Raises ``ValueError`` for a root that does not exist.
    """
    remember_sources()
    units: dict[str, str] = {}
    waiting = list(dict.fromkeys(roots))
    for name in waiting:
        if not _of_python(name) and _unit(name, folder) is None:
            raise ValueError(f"there is no module {name}")
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name in DECLARE or _of_python(name):
            continue
        seen.add(name)
        unit = _unit(name, folder)
        if unit is None:  # it may be wanted on other systems only
            continue
        path = None if unit.startswith("package ") else _path(name, folder)
        users = imported_files().get(str(path))
        # Two files of the user may have one name: the digest is that of the one that is meant.
        units[unit] = tree_digest(users, folder=folder) if users is not None else digest(unit, folder=folder) or ""
        if path is not None and path.suffix == ".py":
            waiting += _imports(name, path, folder)
            waiting += [".".join(name.split(".")[:n]) for n in range(1, name.count(".") + 1)]  # they run first
    for table in {table for unit in units for table in _tables(unit, folder)}:
        units[table] = digest(table, folder=folder) or ""
    return dict(sorted(units.items()))


def changed(code: Mapping[str, str], *, folder: Path = OURS) -> tuple[str, ...]:
    """Units of a trace that are another thing now, or gone, or no units at all.

    What cannot be seen here is left out: a user's file that was not given, a package that is not installed.
    """
    found = []
    for unit, was in sorted(code.items()):
        now = _digests_of_user(unit, folder) if unit.startswith("file ") else _only(digest(unit, folder=folder))
        if was not in now and (now or not unit.startswith(("file ", "package ")) or not is_unit(unit)):
            found.append(unit)
    return tuple(found)


def _only(one: str | None) -> set[str]:
    return set() if one is None else {one}


NAME = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
FORMS = re.compile(rf"{NAME}|file ([\w-]+\.py|{NAME})|package [A-Za-z_]\w*|table (\w+/)+[\w.-]+\.toml", re.ASCII)


def is_unit(unit: str) -> bool:
    """Whether a text can be a unit. A record may hold anything, and no other text of it leads to a file.

    >>> is_unit("joulemark.task"), is_unit("file mine.py"), is_unit("table joulemark/../../etc/passwd"), is_unit("os")
    (True, True, False, False)
    """
    if len(unit) > LONGEST or not FORMS.fullmatch(unit):
        return False
    return " " in unit or is_ours(unit)


LONGEST = 200
"""Characters of a unit."""


def remember_sources() -> None:
    """Keep the text of every module that is loaded, ours and the user's, unless it is kept already.

    Called when a session opens and before each trace: what a file is edited to while something runs is not what runs.
    """
    for module in [*sys.modules.values()]:
        known = getattr(module, "__dict__", {})  # not by name: a lazy module would import what it is asked for
        file, name = known.get("__file__"), known.get("__name__")
        if not isinstance(file, str) or not isinstance(name, str) or not file.endswith(".py"):
            continue
        installed = {"site-packages", "dist-packages"} & set(Path(file).parts)
        if is_ours(name) or not (installed or _of_python(name)):
            with contextlib.suppress(OSError):
                _text(Path(file).resolve())


@functools.cache
def _text(path: Path) -> bytes:
    return path.read_bytes()


def digest(unit: str, *, folder: Path = OURS) -> str | None:
    """Digest of one unit; ``None`` if it is not there.

    Of a module that is loaded, as it was when it was first remembered (:func:`remember_sources`).
    """
    if not is_unit(unit):
        return None
    if unit.startswith("package "):
        return _version(unit.removeprefix("package "))
    if unit.startswith("table "):
        table = folder / unit.removeprefix("table ")
        return _digest_of_table(table.read_bytes()) if table.is_file() else None
    if unit.startswith("file "):
        return next(iter(sorted(_digests_of_user(unit, folder))), None)
    path = own_path(unit, folder)
    return None if path is None else _digest_of_file(path, unit, folder)


def _digest_of_table(text: bytes) -> str:
    """Of the values of a table, not of its comments; of what is no table, of its text."""
    try:
        values = json.dumps(tomllib.loads(text.decode()), sort_keys=True, default=str).encode()
    except (ValueError, RecursionError):
        values = text
    return hashlib.sha256(values).hexdigest()[:16]


def _tables(unit: str, folder: Path) -> list[str]:
    """Units of the tables of constants beside a module of ours that it names, with or without the ``.toml``."""
    path = own_path(unit, folder) if is_ours(unit) else None
    beside = [] if path is None else list(path.parent.glob("*.toml"))
    named = _strings(path) if path is not None and beside else frozenset()
    return [f"table {one.relative_to(folder).as_posix()}" for one in beside if {one.name, one.stem} & named]


@functools.cache
def _strings(path: Path) -> frozenset[str]:
    """All texts in a file that are no part of another one."""
    nodes = ast.walk(ast.parse(_text(path)))
    return frozenset(one.value for one in nodes if isinstance(one, ast.Constant) and isinstance(one.value, str))


def _digests_of_user(unit: str, folder: Path) -> set[str]:
    """Of files that the vocabulary imported as they were then, of another module as its file is now.

    Several files may have that name: any of them may be the one.
    """
    name = unit.removeprefix("file ")
    found = {tree_digest(source, folder=folder) for file, source in imported_files().items() if Path(file).name == name}
    path = None if found or name.endswith(".py") or not is_unit(unit) else _path(name, folder)
    return found if path is None else {_digest_of_file(path, name, folder)}


@functools.cache
def _digest_of_file(path: Path, module: str | None, folder: Path) -> str:
    if path.suffix != ".py":  # compiled
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return tree_digest(_text(path.resolve()), module, package=path.name == "__init__.py", folder=folder)


@functools.cache
def _imports(module: str, path: Path, folder: Path) -> tuple[str, ...]:
    """Modules that a file imports anywhere when it runs: all of others, and ours but for our public face."""
    found: list[str] = []
    try:
        tree = ast.parse(_text(path.resolve()))
    except (SyntaxError, ValueError, RecursionError):  # no Python: it imports nothing
        return ()
    checked = checks_types(tree)
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if checked and isinstance(node, ast.stmt) and is_type_checking(node):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            try:
                source = source_of(node, module, package=path.name == "__init__.py")
            except ImportError:  # beyond its own top: it would not run
                continue
            for alias in node.names:
                inside = f"{source}.{alias.name}"
                found.append(inside if _is_module(inside, folder) else source)
        elif isinstance(node, ast.Call):
            found += _by_string(node)
        waiting += ast.iter_child_nodes(node)
    return tuple(found)


def _by_string(node: ast.Call) -> list[str]:
    """The module that ``importlib.import_module("name")`` imports, where the name stands there."""
    called = getattr(node.func, "attr", getattr(node.func, "id", ""))
    first = node.args[0] if node.args else None
    if called not in ("import_module", "__import__") or not isinstance(first, ast.Constant):
        return []
    return [first.value] if isinstance(first.value, str) and re.fullmatch(NAME, first.value, re.ASCII) else []


def _unit(name: str, folder: Path) -> str | None:
    """The unit that a module belongs to; ``None`` if there is no such module."""
    if is_ours(name):
        return name if own_path(name, folder) is not None else None
    path = _path(name, folder)
    if path is None:
        return None
    if str(path) in imported_files():
        return f"file {path.name}"
    top = name.partition(".")[0]
    if {"site-packages", "dist-packages"} & set(path.parts):
        return f"package {top}" if _version(top) else f"file {name}"
    return f"file {name}"  # installed nowhere: a technique's helper beside it


def _path(name: str, folder: Path) -> Path | None:
    """Where a module is written; ``None`` if there is no such module or it is no file."""
    if is_ours(name):
        return own_path(name, folder)
    loaded = getattr(sys.modules.get(name), "__file__", None)
    found = Path(loaded) if loaded else _found(name)
    return found if found is not None and found.is_file() else None


def _found(name: str) -> Path | None:
    """Where a module would be imported from, package by package; nothing is imported, as ``find_spec`` would."""
    places: list[str] | None = None
    spec = None
    for count in range(1, name.count(".") + 2):
        spec = PathFinder.find_spec(".".join(name.split(".")[:count]), places)
        if spec is None:
            return None
        places = list(spec.submodule_search_locations or [])
    return Path(spec.origin) if spec is not None and spec.origin else None


def _is_module(name: str, folder: Path) -> bool:
    if is_ours(name):
        return own_path(name, folder) is not None
    parent, _, last = name.rpartition(".")
    if _of_python(name) or not parent:
        return False
    folders = getattr(sys.modules.get(parent), "__path__", None)
    if folders is None:  # not loaded yet, as of an import inside a function
        return _found(name) is not None
    return any((Path(one) / f"{last}{end}").exists() for one in folders for end in (".py", "/__init__.py"))


def _of_python(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


@functools.cache
def _version(package: str) -> str | None:
    """Distributions and versions that a package was installed by; ``None`` if it is not installed."""
    names = sorted(set(_distributions().get(package, [])))
    try:
        return ", ".join(f"{name} {version(name)}" for name in names) or None
    except PackageNotFoundError:
        return None


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()
