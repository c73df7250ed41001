"""What is left out of keys and traces, because it never changes: defaults of records, and what a name stands for."""

from __future__ import annotations

import ast
from pathlib import Path

import msgspec
import pytest

from joulemark.benchmarking.suite import Budget, Measuring, Suite
from joulemark.judging.syntax import OURS
from joulemark.migrating.moves import MOVED
from joulemark.nets.header import Exit, Format, Header, Route
from joulemark.task import Own, Recipe, Splits, Task

GOLDEN = Path(__file__).with_name("defaults.json")
DECLARED = (Task, Splits, Recipe, Own, Suite, Budget, Measuring, Format, Exit, Route, Header)


def defaults(declared: type[msgspec.Struct]) -> dict:
    plain = {}
    for field in msgspec.structs.fields(declared):
        if field.default is not msgspec.NODEFAULT:
            plain[field.name] = None if field.default is msgspec.UNSET else msgspec.to_builtins(field.default)
        elif field.default_factory is not msgspec.NODEFAULT:
            plain[field.name] = msgspec.to_builtins(field.default_factory())
    return plain


@pytest.mark.parametrize("declared", DECLARED, ids=lambda one: one.__name__)
def test_no_default_was_changed(declared):
    """A new field with a default may be added to the golden file; no other line of it may change."""
    golden = msgspec.json.decode(GOLDEN.read_bytes())[declared.__name__]
    assert msgspec.json.decode(msgspec.json.encode(defaults(declared))) == golden


@pytest.mark.parametrize("declared", [Task, Own, Suite, Budget, Measuring], ids=lambda one: one.__name__)
def test_what_is_a_digest_leaves_its_defaults_out(declared):
    assert declared.__struct_config__.omit_defaults


RECORDS = Path(__file__).with_name("record_defaults.json")
NAMES = Path(__file__).with_name("names.json")


def record_defaults() -> dict[str, str]:
    """Every field of a record of ours that has a default, and the default as it is written."""
    found = {}
    for path in sorted(OURS.glob("joulemark/**/*.py")):
        module = ".".join(path.relative_to(OURS).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and any(
                ast.unparse(one).endswith(("Record", "Struct")) for one in node.bases
            ):
                fields = (one for one in node.body if isinstance(one, ast.AnnAssign) and one.value is not None)
                found |= {f"{module}.{node.name}.{one.target.id}": ast.unparse(one.value) for one in fields}
    return found


def today(names: dict[str, str]) -> dict[str, str]:
    """The same by the names that modules and classes have today."""
    return {f"{MOVED.get(name.rsplit('.', 2)[0], name.rsplit('.', 2)[0])}.{'.'.join(name.rsplit('.', 2)[1:])}": value
            for name, value in names.items()}  # fmt: skip


def test_no_default_of_a_record_was_changed():
    """A line for a new field may be added to the golden file; a field may go with its line; no other may change."""
    assert record_defaults() == today(msgspec.json.decode(RECORDS.read_bytes()))


def tables() -> dict[str, dict[str, str]]:
    """The vocabulary as it is written: other tests add to what is in memory."""
    tree = ast.parse((OURS / "joulemark" / "vocabulary.py").read_text())
    assigned = [node for node in tree.body if isinstance(node, ast.AnnAssign)]
    return next(ast.literal_eval(node.value) for node in assigned if node.target.id == "TABLES")


def test_a_name_stands_for_what_it_always_stood_for():
    """New names may be added to the golden file. One of old must not be pointed at other code: records hold it."""
    golden, written = msgspec.json.decode(NAMES.read_bytes()), tables()
    for kind, names in golden.items():
        for name, where in names.items():
            module, colon, attribute = where.partition(":")
            assert written[kind][name] == f"{MOVED.get(module, module)}{colon}{attribute}", f"{kind} {name}"
    assert {kind: sorted(names) for kind, names in written.items()} == {kind: sorted(n) for kind, n in golden.items()}
