"""What a result was made or judged by: the digest of every unit of code that was used, so that no other change counts.

A *unit* is one module of ours ("joulemark.training"), a user's file ("file mine.py", or "file helper" for a module that
it imports), an installed package ("package torch"), whose digest is its version, or a table of constants beside a
module of ours ("table joulemark/energy/systolic.toml"). A *trace* holds the units of some
roots and of all that these import, however far. Imports are read from syntax trees; nothing is imported. The vocabulary
is the only place where a string decides what is imported, and it says what it handed out.

Comments, docstrings, layout and the order of imports do not count. Nor do modules that only declare (:data:`DECLARE`):
what they declare is in the values that a key is the digest of. Nor does what stands under ``if TYPE_CHECKING``, which
never runs. The digest of a syntax tree is our own, since that of ``ast.dump`` differs from Python to Python.

Everything here needs Python's own library alone, so that any Python can be asked for the same digests.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import TypeGuard

from joulemark.vocabulary import imported_files

PACKAGE = "joulemark"
OURS = Path(__file__).resolve().parents[2]
"""The folder that this package stands in."""

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
            waiting += [] if _ours(name) else [".".join(name.split(".")[:n]) for n in range(1, name.count(".") + 1)]
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
    return " " in unit or _ours(unit)


LONGEST = 200
"""Characters of a unit."""


def digest(unit: str, *, folder: Path = OURS) -> str | None:
    """Digest of one unit as it is now; ``None`` if it is not there.

    Read once a process: editing a file while something runs changes none of its keys.
    """
    if not is_unit(unit):
        return None
    if unit.startswith("package "):
        return _version(unit.removeprefix("package "))
    if unit.startswith("table "):
        table = folder / unit.removeprefix("table ")
        return hashlib.sha256(table.read_bytes()).hexdigest()[:16] if table.is_file() else None
    if unit.startswith("file "):
        return next(iter(sorted(_digests_of_user(unit, folder))), None)
    path = _own_path(unit, folder)
    return None if path is None else _digest_of_file(path, unit, folder)


def _tables(unit: str, folder: Path) -> list[str]:
    """Units of the tables of constants that stand beside a module of ours, which may read them."""
    path = _own_path(unit, folder) if _ours(unit) else None
    return [] if path is None else [f"table {one.relative_to(folder).as_posix()}" for one in path.parent.glob("*.toml")]


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
    return tree_digest(path.read_bytes(), module, package=path.name == "__init__.py", folder=folder)


def tree_digest(
    source: bytes,
    module: str | None = None,
    *,
    package: bool = False,
    folder: Path = OURS,
    renamed: Mapping[str, str] | None = None,
) -> str:
    """Digest of a source file by its syntax tree, the same on every Python.

    ``module`` is its dotted name, which relative imports count from. ``renamed`` maps names of modules that it imports
    to those that shall stand in their place.
    """
    try:
        tree = ast.parse(source)
        writer = _Writer(module, package, folder, renamed or {}, checked=_checks_types(tree))
        text = "".join(writer.body(tree.body)).encode()
    except (SyntaxError, ValueError, RecursionError):  # deeper than can be walked, or no Python: what stands there
        text = source
    return hashlib.sha256(text).hexdigest()[:16]


class _Writer:
    """Writes a syntax tree as text: fields by name, without positions, docstrings, ``None`` and empty lists."""

    def __init__(
        self, module: str | None, package: bool, folder: Path, renamed: Mapping[str, str], *, checked: bool = True
    ) -> None:
        self.module, self.package, self.folder, self.renamed = module, package, folder, renamed
        self.checked = checked  # whether TYPE_CHECKING is what it is called

    def body(self, statements: list[ast.stmt]) -> Iterator[str]:
        """Statements one after the other; imports that follow each other in one order."""
        together: list[str] = []
        for place, statement in enumerate(statements):
            if place == 0 and _is_text(statement):
                continue  # a docstring
            if isinstance(statement, ast.Import | ast.ImportFrom):
                together += self._targets(statement)
                continue
            yield from self._flushed(together)
            if self.checked and _is_type_checking(statement):
                yield from self.body(statement.orelse)
            else:
                yield from self.node(statement)
        yield from self._flushed(together)

    def node(self, node: ast.AST) -> Iterator[str]:
        yield f"{type(node).__name__}("
        if isinstance(node, ast.Constant):
            yield f"{type(node.value).__name__} {node.value!r}"
        else:
            for name, value in sorted(ast.iter_fields(node)):
                if isinstance(node, ast.JoinedStr):
                    value = _pieces(value)
                if value is not None and value != []:
                    yield f"{name}="
                    yield from self._value(name, value)
        yield ")"

    def _value(self, name: str, value: object) -> Iterator[str]:
        if isinstance(value, ast.AST):
            yield from self.node(value)
        elif isinstance(value, list):
            yield "["
            if value and isinstance(value[0], ast.stmt):
                yield from self.body(value)
            else:
                for one in value:
                    yield from self._value(name, one)
            yield "]"
        else:
            yield repr(value)

    def _targets(self, statement: ast.Import | ast.ImportFrom) -> Iterator[str]:
        """Each name that an import binds, with where it comes from."""
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                yield f"{self._now(alias.name)} as {alias.asname or alias.name}"
            return
        source = source_of(statement, self.module, package=self.package)
        for alias in statement.names:
            inside = f"{source}.{alias.name}"
            if _ours(source) and _own_path(inside, self.folder) is not None:
                yield f"{self._now(inside)} as {alias.asname or alias.name}"
            elif inside in self.renamed:  # a module that was there before it was moved
                yield f"{self.renamed[inside]} as {alias.asname or alias.name}"
            else:
                yield f"{self._now(source)}:{alias.name} as {alias.asname or alias.name}"

    def _now(self, name: str) -> str:
        return self.renamed.get(name, name)

    def _flushed(self, together: list[str]) -> Iterator[str]:
        """Imports that follow each other, in one order, unless one of them takes the name of another."""
        if together:
            bound = [target.rpartition(" as ")[2] for target in set(together)]
            ordered = together if len(set(bound)) < len(bound) else sorted(set(together))
            yield f"import({', '.join(ordered)})"
            together.clear()


def _pieces(values: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string without empty texts, which some Pythons put behind a nested format and others not."""
    return [one for one in values if not (isinstance(one, ast.Constant) and one.value == "")]


def _is_text(statement: ast.stmt) -> bool:
    expression = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(expression, ast.Constant) and isinstance(expression.value, str)


def _checks_types(tree: ast.AST) -> bool:
    """Whether TYPE_CHECKING is that of ``typing``, which is false when anything runs."""
    return not any(
        isinstance(node, ast.Name) and node.id == "TYPE_CHECKING" and isinstance(node.ctx, ast.Store)
        for node in ast.walk(tree)
    )


def _is_type_checking(statement: ast.stmt) -> TypeGuard[ast.If]:
    return isinstance(statement, ast.If) and (
        (isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING")
        or (isinstance(statement.test, ast.Attribute) and statement.test.attr == "TYPE_CHECKING")
    )


@functools.cache
def _imports(module: str, path: Path, folder: Path) -> tuple[str, ...]:
    """Modules that a file imports anywhere when it runs: all of others, and ours but for our public face."""
    found: list[str] = []
    tree = ast.parse(path.read_bytes())
    checked = _checks_types(tree)
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if checked and isinstance(node, ast.stmt) and _is_type_checking(node):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = source_of(node, module, package=path.name == "__init__.py")
            for alias in node.names:
                inside = f"{source}.{alias.name}"
                found.append(inside if _is_module(inside, folder) else source)
        waiting += ast.iter_child_nodes(node)
    return tuple(found)


def source_of(node: ast.ImportFrom, module: str | None, *, package: bool) -> str:
    """What a from-import names, in full where it counts dots from ``module``."""
    if not node.level:
        return node.module or ""
    around = module if package else (module or "").rpartition(".")[0]
    return importlib.util.resolve_name("." * node.level + (node.module or ""), around) if around else ""


def _unit(name: str, folder: Path) -> str | None:
    """The unit that a module belongs to; ``None`` if there is no such module."""
    if _ours(name):
        return name if _own_path(name, folder) is not None else None
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
    if _ours(name):
        return _own_path(name, folder)
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


def _own_path(module: str, folder: Path) -> Path | None:
    stem = folder.joinpath(*module.split("."))
    for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
        if path.is_file():
            return path
    return None


def _is_module(name: str, folder: Path) -> bool:
    if _ours(name):
        return _own_path(name, folder) is not None
    parent, _, last = name.rpartition(".")
    folders = getattr(sys.modules.get(parent), "__path__", None) or ()
    return any((Path(one) / f"{last}{end}").exists() for one in folders for end in (".py", "/__init__.py"))


def _ours(name: str) -> bool:
    return name.partition(".")[0] == PACKAGE


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
