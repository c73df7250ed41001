"""The digest of a source file follows what it does, is the same on every Python, and names what it imports."""

from __future__ import annotations

import ast
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from joulemark.judging.syntax import OURS, checks_types, is_ours, is_type_checking, own_path, source_of, tree_digest

HERE = sorted(OURS.joinpath("joulemark", "judging").glob("*.py"))


@pytest.mark.parametrize("path", HERE, ids=lambda path: path.stem)
def test_a_file_written_anew_from_its_tree_has_its_digest(path):
    """``ast.unparse`` keeps no comment, blank line or bracket that is not needed."""
    text, name = path.read_bytes(), f"joulemark.judging.{path.stem}"
    anew = ast.unparse(ast.parse(text)).encode()
    assert anew != text
    assert tree_digest(anew, name) == tree_digest(text, name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(x):\n    return 2 * x\n", 'def f(x):\n    "Twice."\n    return (2*x)  # fast\n'),
        ("class A:\n    x = 1\n", 'class A:\n    """An A."""\n\n    x = 1\n'),
        ("x = 1\n", '"""A file."""\nx = 1'),
        ("x = 1\ny = 2\n", "x = 1\r\ny = 2\r\n"),
        ("x = 16\n", "x = 0x10\n"),
        ("x = 'ab'\n", "x = 'a' \"b\"\n"),
        ("import a\nimport b\nx = 1\n", "import b\nimport a\n\nimport a\nx = 1\n"),
        ("from m import a, b\n", "from m import b\nfrom m import a\n"),
        ("x = 1\n", "if typing.TYPE_CHECKING:\n    y = 2\nx = 1\n"),
    ],
)
def test_what_changes_nothing_that_runs_does_not_count(one, other):
    assert tree_digest(one.encode()) == tree_digest(other.encode())


@pytest.mark.parametrize(
    "others",
    [
        ("x = 1", "x = 1.0", "x = True", "x = '1'", "x = b'1'", "x = 1j", "x = -1", "x = None", "x = ..."),
        ("x = [1, 2]", "x = (1, 2)", "x = {1, 2}", "x = {1: 2}", "x = [2, 1]", "x = [[1], 2]", "x = 12"),
        ("x = y", "x = z", "y = x", "x += y", "x == y", "x: y"),
        (
            "def f(a, b): pass",
            "def f(a, *, b): pass",
            "def f(a, /, b): pass",
            "def f(a, *b): pass",
            "f = lambda a, b: 1",
        ),
        (
            "for i in x:\n    a\nb",
            "for i in x:\n    a\n    b",
            "while x:\n    a\nb",
            "for i in x:\n    a\nelse:\n    b",
        ),
        ("import a", "import a as b", "from a import b", "from a import b as c", "from . import a", "import a.b"),
        ("global ab", "global a, b", "nonlocal ab"),
        ("x = 'a'", "x = f'{a}'", "x = f'{a!r}'", "x = f'{a:3}'", "x = f'a'"),
        ("", "pass", "x"),
        ("x = 1\nimport a\ny = 2\nimport b", "x = 1\nimport a\nimport b\ny = 2", "import a\nx = 1\ny = 2\nimport b"),
    ],
)
def test_what_does_something_else_has_another_digest(others):
    assert len({tree_digest(text.encode()) for text in others}) == len(others)


def test_texts_that_nothing_reads_are_docstrings_wherever_they_stand():
    assert tree_digest(b"'a'\nx = 1\n") == tree_digest(b"x = 1\n")
    assert tree_digest(b"x = 1\n'a'\n") == tree_digest(b"x = 1\n")
    assert tree_digest(b"class A:\n    x = 1\n    'a'\n") == tree_digest(b"class A:\n    x = 1\n")
    assert tree_digest(b"x = 'a'\n") != tree_digest(b"x = 'b'\n")
    assert tree_digest(b"f'a'\nx = 1\n") != tree_digest(b"x = 1\n")  # computed: no docstring


def test_fields_of_records_with_a_default_do_not_count_and_others_do():
    def of(text: bytes) -> str:
        return tree_digest(text, "joulemark.x")

    plain = of(b"class A(Record):\n    x: int\n")
    assert of(b"class A(Record):\n    x: int\n    more: int = 0\n") == plain
    assert of(b"class A(Record):\n    x: int\n    more: int\n") != plain
    assert of(b"class A(Record):\n    x: int\n    more = 0\n") != plain
    other = of(b"class A(Layer):\n    x: int\n")
    assert of(b"class A(Layer):\n    x: int\n    more: int = 0\n") != other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"from x import *\nfrom y import f\n", b"from y import f\nfrom x import *\n"),
        (b"from x import *\nfrom y import *\n", b"from y import *\nfrom x import *\n"),
        (b"import a.b\nfrom x import a\n", b"from x import a\nimport a.b\n"),
        (b"from x import f\nfrom y import f\n", b"from y import f\nfrom x import f\n"),
    ],
)
def test_imports_that_may_take_each_others_names_count_in_their_order(one, other):
    assert tree_digest(one) != tree_digest(other)


@pytest.mark.parametrize(
    "source",
    [b"from flags import TYPE_CHECKING\n", b"from flags import ON as TYPE_CHECKING\n", b"TYPE_CHECKING = True\n"],
)
def test_a_type_checking_of_ones_own_may_run(source):
    body = b"if TYPE_CHECKING:\n    x = %d\n"
    assert tree_digest(source + body % 1) != tree_digest(source + body % 2)
    real = b"from typing import TYPE_CHECKING\n"
    assert tree_digest(real + body % 1) == tree_digest(real + body % 2)


def test_a_relative_import_beyond_the_top_counts_as_it_stands():
    source = b"from ... import x\n"
    assert tree_digest(source, "a.b") == hashlib.sha256(source).hexdigest()[:16]


@pytest.mark.parametrize("text", [b"x = (", b"print 'a'", b"\xff\xfe", b"x = '\x00'"])
def test_what_is_no_python_counts_as_it_stands(text):
    assert tree_digest(text) == hashlib.sha256(text).hexdigest()[:16]


def test_a_relative_import_is_the_one_in_full():
    full = tree_digest(b"from joulemark.judging.rules import boards\n", "joulemark.judging.marks")
    assert tree_digest(b"from .rules import boards\n", "joulemark.judging.marks") == full
    assert tree_digest(b"from .judging.rules import boards\n", "joulemark", package=True) == full
    assert tree_digest(b"from ..judging.rules import boards\n", "joulemark.report.board") == full
    assert tree_digest(b"from .rules import boards\n", "joulemark.report.board") != full


def test_a_module_of_ours_is_one_however_it_is_imported():
    one, other = b"import joulemark.judging.rules as rules\n", b"from joulemark.judging import rules\n"
    assert tree_digest(one) == tree_digest(other)
    assert tree_digest(b"import json.decoder as decoder\n") != tree_digest(b"from json import decoder\n")


@pytest.mark.parametrize(
    ("statement", "module", "package", "source"),
    [
        ("from a.b import c", "x.y", False, "a.b"),
        ("from . import c", "x.y", False, "x"),
        ("from . import c", "x.y", True, "x.y"),
        ("from .b import c", "x.y", False, "x.b"),
        ("from ..b.d import c", "x.y.z", False, "x.b.d"),
        ("from .. import c", "x.y.z", True, "x.y"),
        ("from . import c", "alone", False, ""),
        ("from . import c", None, False, ""),
    ],
)
def test_what_a_from_import_names(statement, module, package, source):
    (node,) = ast.parse(statement).body
    assert source_of(node, module, package=package) == source


def test_the_file_of_a_module_is_found_below_the_folder(tmp_path):
    (tmp_path / "room" / "inner").mkdir(parents=True)
    for name in ("room/__init__.py", "room/one.py", "room/both.py", "alone.py"):
        (tmp_path / name).touch()
    assert own_path("room", tmp_path) == tmp_path / "room" / "__init__.py"
    assert own_path("room.one", tmp_path) == tmp_path / "room" / "one.py"
    assert own_path("alone", tmp_path) == tmp_path / "alone.py"
    assert [own_path(name, tmp_path) for name in ("room.inner", "room.two", "alone.one", "nowhere")] == [None] * 4


def test_what_is_ours_begins_with_our_name_and_a_dot():
    assert is_ours("joulemark") and is_ours("joulemark.judging.syntax")
    assert not any(is_ours(name) for name in ("joulemarks", "my.joulemark", "", "joule"))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("if TYPE_CHECKING: pass", True),
        ("if typing.TYPE_CHECKING: pass", True),
        ("if not TYPE_CHECKING: pass", False),
        ("if TYPE_CHECKING or x: pass", False),
        ("while TYPE_CHECKING: pass", False),
    ],
)
def test_what_is_under_type_checking(statement, expected):
    (node,) = ast.parse(statement).body
    assert is_type_checking(node) == expected


def test_who_sets_type_checking_has_another_one():
    assert checks_types(ast.parse("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    x = 1\n"))
    assert not checks_types(ast.parse("def f():\n    TYPE_CHECKING = 1\n"))


def test_what_runs_beside_type_checking_counts():
    one, other = (f"if TYPE_CHECKING:\n    import x\nelse:\n    y = {y}\n".encode() for y in (1, 2))
    assert tree_digest(one) != tree_digest(other)
    one, other = (f"TYPE_CHECKING = True\nif TYPE_CHECKING:\n    y = {y}\n".encode() for y in (1, 2))
    assert tree_digest(one) != tree_digest(other)


def test_of_two_imports_of_one_name_the_last_counts():
    assert tree_digest(b"from a import f\nfrom b import f\n") != tree_digest(b"from b import f\nfrom a import f\n")


def test_what_is_too_deep_for_a_walk_has_a_digest():
    deep = b"x = " + b"+".join([b"'a'"] * 3000)
    assert tree_digest(deep) == tree_digest(deep) != tree_digest(deep + b"+'b'")


def test_a_renamed_import_gives_the_digest_of_before_it_was_moved():
    old = b"from joulemark.stats import bound\nimport joulemark.rules as rules\n\nx = bound(rules.y)\n"
    new = (
        b"import joulemark.judging.rules as rules\nfrom joulemark.judging.statistics import bound\nx = bound(rules.y)\n"
    )
    moved = {"joulemark.stats": "joulemark.judging.statistics", "joulemark.rules": "joulemark.judging.rules"}
    assert tree_digest(old) != tree_digest(new)
    assert tree_digest(old, renamed=moved) == tree_digest(new)


VERSIONS = ("3.11", "3.12", "3.13")
PYTHONS = [
    *(path for version in VERSIONS if (path := shutil.which(f"python{version}")) is not None),
    # Where the common version manager keeps those that are not on the path.
    *map(str, sorted(Path.home().glob(".pyenv/versions/3.1[123].*/bin/python"))),
]
CODE = """
import sys
from pathlib import Path
from joulemark.judging.syntax import OURS, tree_digest
for path in sorted(OURS.joinpath("joulemark").rglob("*.py")):
    name = ".".join(path.relative_to(OURS).with_suffix("").parts)
    print(name, tree_digest(path.read_bytes(), name))
print(tree_digest(b'''
type_like: list[int] = [1, 2.5, 3j, ..., None, True, b"x", "a" "b"]
def f[T](x): pass
''' if False else b'''
@decorated
async def f(a, /, b=1, *c, d, e=2, **g) -> None:
    async with a as b, c: pass
    try:
        x = f"{a!r:>{b}} {c=} {{}}" f"{d:.2f}" "tail" if (y := a) else lambda *z: [*z]
    except* ValueError as error:
        raise error from None
    match x:
        case {"k": [1, *rest], **others} if rest: pass
        case A(b=1) | None: pass
    for i in range(3): yield {**a}
    else: del x
'''))
"""


def test_every_python_that_is_here_gives_the_same_digests(capsys):
    """Those of 3.11 to 3.13 that the machine has; without others, the one that runs this is all that is asked."""
    said = {}
    for python in [sys.executable, *PYTHONS]:
        here = subprocess.run([python, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True)
        if here.returncode:
            continue  # a name that leads to no Python that is installed
        done = subprocess.run([python, "-c", CODE], capture_output=True, text=True, env={"PYTHONPATH": str(OURS)})
        assert done.returncode == 0, done.stderr
        said[here.stdout.strip()] = done.stdout
    capsys.readouterr()
    with capsys.disabled():
        sys.stdout.write(f" [digests compared on Python {', '.join(sorted(said))}] ")
    assert len(set(said.values())) == 1
    assert len(next(iter(said.values())).splitlines()) > 200


def test_defaults_of_a_users_own_records_count_and_so_do_constants_of_a_class():
    body = b"class C(msgspec.Struct):\n    lr: float = %s\n"
    assert tree_digest(body % b"0.1") != tree_digest(body % b"0.5")
    ours = b"class C(Record):\n    K: ClassVar[int] = %s\n"
    assert tree_digest(ours % b"1", "joulemark.x") != tree_digest(ours % b"2", "joulemark.x")
