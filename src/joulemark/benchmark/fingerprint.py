"""What a result was computed by: a digest of the code that a step reaches, so that no other change repeats the step."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

from joulemark.record import content_key

PACKAGE = "joulemark"


def code_digest(modules: Iterable[str]) -> str:
    """Digest of ``modules`` (dotted names) and of all modules of this package that they import, however far.

    Comments, docstrings and layout do not count: what is hashed are the syntax trees without them. Imports that a name
    in a string decides are not seen, so the caller names those modules. Modules of others are left out; their versions
    belong in the key beside this. Raises ``ValueError`` for a module of ours that does not exist.
    """
    reached: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in reached or name.partition(".")[0] != PACKAGE:
            continue
        reached.add(name)
        waiting += _imports(name)
    return content_key("code", [(name, _tree(_file(name))) for name in sorted(reached)])


def _file(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"there is no module {module}")
    return Path(spec.origin)


def _imports(module: str) -> list[str]:
    """Modules of this package that ``module`` imports anywhere in its text."""
    found: list[str] = []
    for node in ast.walk(ast.parse(_file(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if _ours(alias.name)]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0 and _ours(node.module):
            found += list(_from(node.module, node.names))
    return found


def _from(module: str, names: Iterable[ast.alias]) -> Iterator[str]:
    """``from package import x`` imports the module ``package.x`` if x is one, else the package itself."""
    for alias in names:
        inside = f"{module}.{alias.name}"
        yield inside if _is_module(inside) else module


@functools.cache
def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is a module, not a package
        return False


def _ours(name: str) -> bool:
    return name.partition(".")[0] == PACKAGE


def _tree(path: Path) -> str:
    """The syntax tree of a file as text, without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return ast.dump(tree)
