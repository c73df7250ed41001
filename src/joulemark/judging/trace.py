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
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

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
        units[unit] = digest(unit, folder=folder) or ""
        path = None if unit.startswith("package ") else _path(name, folder)
        if path is not None and path.suffix == ".py":
            waiting += _imports(name, path, folder)
    for table in {table for unit in units for table in _tables(unit, folder)}:
        units[table] = digest(table, folder=folder) or ""
    return dict(sorted(units.items()))


def changed(code: Mapping[str, str], *, folder: Path = OURS) -> tuple[str, ...]:
    """Units of a trace that are another thing now, or gone.

    What cannot be seen here is left out: a user's file that was not given, a package that is not installed.
    """
    found = []
    for unit, was in sorted(code.items()):
        now = digest(unit, folder=folder)
        if now != was and (now is not None or unit.startswith((f"{PACKAGE}.", "table "))):
            found.append(unit)
    return tuple(found)


def digest(unit: str, *, folder: Path = OURS) -> str | None:
    """Digest of one unit as it is now; ``None`` if it is not there.

    Read once a process: editing a file while something runs changes none of its keys.
    """
    if unit.startswith("package "):
        return _version(unit.removeprefix("package "))
    if unit.startswith("table "):
        table = folder / unit.removeprefix("table ")
        return hashlib.sha256(table.read_bytes()).hexdigest()[:16] if table.is_file() else None
    if unit.startswith("file "):
        return _digest_of_user(unit.removeprefix("file "), folder)
    path = _own_path(unit, folder)
    return None if path is None else _digest_of_file(path, unit, folder)


def _tables(unit: str, folder: Path) -> list[str]:
    """Units of the tables of constants that stand beside a module of ours, which may read them."""
    path = _own_path(unit, folder) if _ours(unit) else None
    return [] if path is None else [f"table {one.relative_to(folder).as_posix()}" for one in path.parent.glob("*.toml")]


def _digest_of_user(name: str, folder: Path) -> str | None:
    """Of a file that the vocabulary imported as it was then, of another module as its file is now."""
    for file, source in imported_files().items():
        if Path(file).name == name:
            return tree_digest(source, folder=folder)
    path = None if name.endswith(".py") else _path(name, folder)
    return None if path is None else _digest_of_file(path, name, folder)


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
    tree = ast.parse(source)
    writer = _Writer(module, package, folder, renamed or {})
    return hashlib.sha256("".join(writer.body(tree.body)).encode()).hexdigest()[:16]


class _Writer:
    """Writes a syntax tree as text: fields by name, without positions, docstrings, ``None`` and empty lists."""

    def __init__(self, module: str | None, package: bool, folder: Path, renamed: Mapping[str, str]) -> None:
        self.module, self.package, self.folder, self.renamed = module, package, folder, renamed

    def body(self, statements: list[ast.stmt]) -> Iterator[str]:
        """Statements one after the other; imports that follow each other in one order."""
        together: set[str] = set()
        for place, statement in enumerate(statements):
            if place == 0 and _is_text(statement):
                continue  # a docstring
            if isinstance(statement, ast.Import | ast.ImportFrom):
                together |= set(self._targets(statement))
                continue
            yield from self._flushed(together)
            if not _is_type_checking(statement):
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
                yield f"{self._now(alias.name)} as {alias.asname}"
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

    def _flushed(self, together: set[str]) -> Iterator[str]:
        if together:
            yield f"import({', '.join(sorted(together))})"
            together.clear()


def _pieces(values: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string without empty texts, which some Pythons put behind a nested format and others not."""
    return [one for one in values if not (isinstance(one, ast.Constant) and one.value == "")]


def _is_text(statement: ast.stmt) -> bool:
    expression = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(expression, ast.Constant) and isinstance(expression.value, str)


def _is_type_checking(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and (
        (isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING")
        or (isinstance(statement.test, ast.Attribute) and statement.test.attr == "TYPE_CHECKING")
    )


@functools.cache
def _imports(module: str, path: Path, folder: Path) -> tuple[str, ...]:
    """Modules that a file imports anywhere when it runs: all of others, and ours but for our public face."""
    found: list[str] = []
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.stmt) and _is_type_checking(node):
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
        return f"package {top}" if _version(top) else None
    return f"file {name}"  # installed nowhere: a technique's helper beside it


def _path(name: str, folder: Path) -> Path | None:
    """Where a module is written; ``None`` if there is no such module or it is no file."""
    if _ours(name):
        return _own_path(name, folder)
    loaded = getattr(sys.modules.get(name), "__file__", None)
    try:
        spec = None if loaded else importlib.util.find_spec(name)
    except (ModuleNotFoundError, ValueError, AttributeError):  # no such parent; a module without a spec, as __main__
        return None
    origin = loaded or (spec.origin if spec else None)
    return Path(origin) if origin and Path(origin).is_file() else None


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
