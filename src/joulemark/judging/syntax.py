"""The digest of one source file by its syntax tree, the same on every Python, and what its imports name.

Comments, docstrings (of fields and constants, too), layout and the order of imports do not count. Nor does what stands
under ``if TYPE_CHECKING``, which never runs, and nor do fields of our records that have a default: a record without
such a field is what it was, and a test keeps every default as it is. The digest is our own, since that of ``ast.dump``
differs from Python to Python.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeGuard

PACKAGE = "joulemark"
TYPING = ("typing", "typing_extensions")
RECORDS = frozenset({"Record", "Struct"})
"""Names of the classes that records derive from."""
OURS = Path(__file__).resolve().parents[2]
"""The folder that this package stands in."""


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
        writer = _Writer(module, package, folder, renamed or {}, checked=checks_types(tree))
        text = "".join(writer.body(tree.body)).encode()
    except (
        SyntaxError,
        ValueError,
        ImportError,
        RecursionError,
    ):  # deeper than can be walked, or no Python: what stands there
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
        together: list[tuple[str, str]] = []
        for statement in statements:
            if _is_text(statement):
                continue  # a docstring
            if isinstance(statement, ast.Import | ast.ImportFrom):
                together += self._targets(statement)
                continue
            yield from self._flushed(together)
            if self.checked and is_type_checking(statement):
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
                if (
                    isinstance(node, ast.ClassDef)
                    and name == "body"
                    and is_ours(self.module or "")
                    and _is_record(node)
                ):
                    value = [one for one in value if not _has_default(one)]
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

    def _targets(self, statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
        """Each name that an import binds, and where it comes from with that name."""
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                # Without "as", it is the outermost package that gets a name.
                bound = alias.asname or alias.name.partition(".")[0]
                yield bound, f"{self._now(alias.name)} as {alias.asname or alias.name}"
            return
        source = source_of(statement, self.module, package=self.package)
        for alias in statement.names:
            inside = f"{source}.{alias.name}"
            bound = alias.asname or alias.name
            if is_ours(source) and own_path(inside, self.folder) is not None:
                yield bound, f"{self._now(inside)} as {bound}"
            elif inside in self.renamed:  # a module that was there before it was moved
                yield bound, f"{self.renamed[inside]} as {bound}"
            else:
                yield bound, f"{self._now(source)}:{alias.name} as {bound}"

    def _now(self, name: str) -> str:
        return self.renamed.get(name, name)

    def _flushed(self, together: list[tuple[str, str]]) -> Iterator[str]:
        """Imports that follow each other, in one order, unless one of them takes the name of another."""
        if together:
            bound = [name for name, _ in set(together)]
            # Nobody sees which names a star brings: it may take any other.
            clash = len(set(bound)) < len(bound) or ("*" in bound and len(bound) > 1)
            targets = [target for _, target in together]
            yield f"import({', '.join(targets if clash else sorted(set(targets)))})"
            together.clear()


def _pieces(values: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string without empty texts, which some Pythons put behind a nested format and others not."""
    return [one for one in values if not (isinstance(one, ast.Constant) and one.value == "")]


def _is_text(statement: ast.stmt) -> bool:
    expression = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(expression, ast.Constant) and isinstance(expression.value, str)


def _is_record(node: ast.ClassDef) -> bool:
    bases = (one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in node.bases)
    return not RECORDS.isdisjoint(bases)


def _has_default(statement: ast.stmt) -> bool:
    """Whether it declares a field of a record with a default; a constant of the class is none."""
    if not isinstance(statement, ast.AnnAssign) or statement.value is None:
        return False
    kind = statement.annotation.value if isinstance(statement.annotation, ast.Subscript) else statement.annotation
    return "ClassVar" not in (getattr(kind, "id", ""), getattr(kind, "attr", ""))


def checks_types(tree: ast.AST) -> bool:
    """Whether TYPE_CHECKING is that of ``typing``, which is false when anything runs."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "TYPE_CHECKING" and isinstance(node.ctx, ast.Store):
            return False
        names = node.names if isinstance(node, ast.ImportFrom) and node.module not in TYPING else ()
        if any("TYPE_CHECKING" in (one.name, one.asname) for one in names):
            return False
    return True


def is_type_checking(statement: ast.stmt) -> TypeGuard[ast.If]:
    """Whether a statement is ``if TYPE_CHECKING``."""
    return isinstance(statement, ast.If) and (
        (isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING")
        or (isinstance(statement.test, ast.Attribute) and statement.test.attr == "TYPE_CHECKING")
    )


def source_of(node: ast.ImportFrom, module: str | None, *, package: bool) -> str:
    """What a from-import names, in full where it counts dots from ``module``."""
    if not node.level:
        return node.module or ""
    around = module if package else (module or "").rpartition(".")[0]
    return importlib.util.resolve_name("." * node.level + (node.module or ""), around) if around else ""


def own_path(module: str, folder: Path) -> Path | None:
    """The file of a module below ``folder``; ``None`` if there is none."""
    stem = folder.joinpath(*module.split("."))
    for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
        if path.is_file():
            return path
    return None


def is_ours(name: str) -> bool:
    """Whether a dotted name is in this package."""
    return name.partition(".")[0] == PACKAGE
