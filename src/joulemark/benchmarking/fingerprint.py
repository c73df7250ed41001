"""What a result was computed by: a digest of the code that a step reaches, so that no other change repeats the step."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path

from joulemark.record import content_key

PACKAGE = "joulemark"


def code_digest(modules: Iterable[str]) -> str:
    """Digest of ``modules`` (dotted names) and of all that they import, however far.

    Comments, docstrings and layout do not count: what is hashed are the syntax trees without them. Imports that a name
    in a string decides are not seen, so the caller names those modules. Of what our modules import, only ours counts;
    the versions of the rest belong in the key beside this. A module of others, a technique's file or an installed
    backend, counts with all it imports: an installed package by its version, other files by their trees, Python's own
    library not at all. Raises ``ValueError`` for a module named that does not exist.
    """
    contents: dict[str, str] = {}
    waiting = list(modules)
    for name in waiting:
        if not _of_python(name) and name not in sys.modules and _file(name) is None:
            raise ValueError(f"there is no module {name}")
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if name in contents or _of_python(name):
            continue
        if (installed := None if _ours(name) else _installed(top)) is not None:
            contents[top] = installed
        elif (path := _file(name)) is not None:  # else it may be wanted on other systems only
            contents[name] = _tree(path)
            waiting += _imports(name)
    return content_key("code", sorted(contents.items()))


def _file(module: str) -> Path | None:
    """Where a module is written; ``None`` if there is no such module or it is no file."""
    loaded = getattr(sys.modules.get(module), "__file__", None)
    try:
        spec = None if loaded else importlib.util.find_spec(module)
    except (ModuleNotFoundError, ValueError):  # no such parent; a module without a spec, as __main__ of a session
        return None
    origin = loaded or (spec.origin if spec else None)
    return Path(origin) if origin and Path(origin).is_file() else None


def _imports(module: str) -> list[str]:
    """Modules that ``module`` imports anywhere: of ours those of ours, of others all but our public face."""
    path = _file(module)
    if path is None or path.suffix != ".py":
        return []
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (source := _source(node, module, path)):
            found += list(_from(source, node.names))
    return [name for name in found if (_ours(name) if _ours(module) else name != PACKAGE)]


def _source(node: ast.ImportFrom, module: str, path: Path) -> str:
    """What a from-import names, in full where it counts dots from ``module``."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    if not node.level:
        return node.module or ""
    return importlib.util.resolve_name("." * node.level + (node.module or ""), package) if package else ""


def _from(module: str, names: Iterable[ast.alias]) -> Iterator[str]:
    """``from package import x`` imports the module ``package.x`` if x is one, else the package itself."""
    for alias in names:
        inside = f"{module}.{alias.name}"
        yield inside if _is_module(inside) else module


@functools.cache
def _is_module(name: str) -> bool:
    parent, _, last = name.rpartition(".")
    folders = getattr(sys.modules.get(parent), "__path__", None) or _folders(parent)
    return any((Path(folder) / f"{last}{end}").exists() for folder in folders for end in (".py", "/__init__.py"))


def _folders(package: str) -> list[str]:
    try:
        spec = importlib.util.find_spec(package)
    except (ModuleNotFoundError, ValueError):
        return []
    return list(spec.submodule_search_locations or ()) if spec else []


def _ours(name: str) -> bool:
    return name.partition(".")[0] == PACKAGE


def _of_python(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


@functools.cache
def _installed(package: str) -> str | None:
    """Distributions and versions that a package was installed by; ``None`` for files beside site-packages."""
    path = _file(package)
    if path is None or not {"site-packages", "dist-packages"} & set(path.parts):
        return None
    found = packages_distributions().get(package, [])
    return ", ".join(f"{one} {version(one)}" for one in sorted(set(found))) or None


def _tree(path: Path) -> str:
    """The syntax tree of a file as text, without docstrings; of a compiled one its hash."""
    if path.suffix != ".py":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return ast.dump(tree)
