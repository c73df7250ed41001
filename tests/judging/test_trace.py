"""Traces change with what was used and with nothing else."""

from __future__ import annotations

import ast
import sys
import textwrap
from pathlib import Path

import pytest

from joulemark.judging import syntax
from joulemark.judging import trace as module
from joulemark.judging.syntax import OURS
from joulemark.judging.trace import DECLARE, changed, digest, trace
from joulemark.vocabulary import import_file


@pytest.fixture(autouse=True)
def forgotten():
    """Digests are read once a process; here files change in it."""

    def forget():
        for cached in (module._digest_of_file, module._imports, module._version, module._text, module._strings):
            cached.cache_clear()

    forget()
    yield forget
    forget()


@pytest.fixture
def package(tmp_path, monkeypatch, forgotten):
    """A package of ours, a importing b, whose text can be replaced; what is traced, is traced below its folder."""
    monkeypatch.setattr(syntax, "PACKAGE", "papers")
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "__init__.py").write_text("")

    def write(**modules: str) -> None:
        for name, text in modules.items():
            (tmp_path / "papers" / f"{name}.py").write_text(textwrap.dedent(text))
        forgotten()

    write(
        a="from papers import b\nimport os\n\ndef f(x):\n    return b.g(x) + 1\n",
        b='"""Doubles."""\n\ndef g(x):\n    """Twice x."""\n    return 2 * x\n',
        c="h = 1\n",
    )
    write.folder = tmp_path
    return write


def test_a_trace_holds_what_is_imported_however_far(package):
    assert set(trace(["papers.a"], folder=package.folder)) == {"papers", "papers.a", "papers.b"}
    package(b="import papers.c as c\n")
    assert set(trace(["papers.a"], folder=package.folder)) == {"papers", "papers.a", "papers.b", "papers.c"}


def test_the_package_around_a_module_runs_first_and_counts(package):
    before = trace(["papers.a"], folder=package.folder)
    package(__init__="import os\nos.umask(0)\n")
    assert changed(before, folder=package.folder) == ("papers",)


@pytest.mark.parametrize(
    "text",
    [
        '"""Doubles a number."""\n\n\ndef g(x):  # fast\n    """Two x."""\n    return (2 * x)\n',
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from papers import c\ndef g(x):\n    return 2 * x\n",
    ],
)
def test_comments_docstrings_layout_and_what_never_runs_do_not_count(package, text):
    package(b='"""Doubles."""\n\ndef g(x):\n    """Twice x."""\n    return 2 * x\n')
    plain = "from typing import TYPE_CHECKING\ndef g(x):\n    return 2 * x\n" if "TYPE_CHECKING" in text else None
    if plain:
        package(b=plain)
    before = trace(["papers.a"], folder=package.folder)
    package(b=text)
    assert trace(["papers.a"], folder=package.folder) == before
    assert changed(before, folder=package.folder) == ()


def test_the_order_of_imports_does_not_count_and_where_they_come_from_does(package):
    package(b="import os\nfrom papers import c\nimport sys\n")
    before = trace(["papers.b"], folder=package.folder)
    package(b="import sys\nimport os\n\nfrom papers import c\n")
    assert changed(before, folder=package.folder) == ()
    package(b="import sys\nimport os\n\nfrom papers import a as c\n")
    assert changed(before, folder=package.folder) == ("papers.b",)


@pytest.mark.parametrize(
    "text",
    [
        "def g(x):\n    return 3 * x\n",
        "def g(y):\n    return 2 * y\n",
        "def g(x):\n    return 2.0 * x\n",
        "def g(x):\n    return -2 * x\n",
        "g = None\n",
    ],
)
def test_a_module_that_was_used_counts(package, text):
    before = trace(["papers.a"], folder=package.folder)
    package(b=text)
    assert changed(before, folder=package.folder) == ("papers.b",)


def test_a_module_that_is_gone_counts_and_one_that_nothing_used_does_not(package):
    before = trace(["papers.a"], folder=package.folder)
    package(c="h = 2\n")
    assert changed(before, folder=package.folder) == ()
    (package.folder / "papers" / "b.py").unlink()
    assert changed(before, folder=package.folder) == ("papers.b",)


def test_modules_may_import_each_other_relatively_too(package):
    package(b="from . import a\nfrom .c import h\n")
    assert trace(["papers.a"], folder=package.folder) == trace(["papers.b"], folder=package.folder)
    assert "papers.c" in trace(["papers.a"], folder=package.folder)


def test_tables_beside_a_module_count_and_a_new_one_does_not(package):
    table = package.folder / "papers" / "costs.toml"
    table.write_text("mac = 1\n")
    assert "table papers/costs.toml" not in trace(["papers.a"], folder=package.folder)  # nothing names it
    package(b='def g(x):\n    return 2 * x\n\nTABLE = "costs.toml"\n')
    before = trace(["papers.a"], folder=package.folder)
    assert "table papers/costs.toml" in before
    (package.folder / "papers" / "others.toml").write_text("")
    table.write_text("# joules\nmac = 1  # each\n")
    assert changed(before, folder=package.folder) == ()
    table.write_text("mac = 2\n")
    assert changed(before, folder=package.folder) == ("table papers/costs.toml",)
    table.unlink()
    assert changed(before, folder=package.folder) == ("table papers/costs.toml",)


@pytest.mark.parametrize(
    "name", ["joulemark.nowhere", "nowhere_at_all", "json.nowhere.deeper.still", "msgspec.nowhere"]
)
def test_a_root_that_is_not_there_is_said(name):
    if name.startswith("json"):
        assert trace([name]) == {}  # of Python's own library
        return
    with pytest.raises(ValueError, match=f"there is no module {name}"):
        trace([name])


def test_installed_packages_count_by_their_version(monkeypatch, forgotten):
    before = trace(["joulemark.training"])
    assert before["package msgspec"].startswith("msgspec ")
    monkeypatch.setattr(module, "version", lambda name: "0.0")
    forgotten()
    assert "package msgspec" in changed(before)


def test_what_cannot_be_seen_here_is_left_out():
    assert changed({"package never_installed": "never 1.0", "file unknown.py": "0" * 16}) == ()
    assert changed({"joulemark.never": "0" * 16}) == ("joulemark.never",)


def test_a_users_file_counts_with_what_it_imports(tmp_path, monkeypatch, forgotten):
    monkeypatch.syspath_prepend(tmp_path)
    mine, helper = tmp_path / "mine_to_trace.py", tmp_path / "helper_to_trace.py"
    helper.write_text("half = 0.5\n")
    mine.write_text(
        "import joulemark\nfrom helper_to_trace import half\nfrom joulemark.nets.folding import fold\nx = 1\n"
    )
    before = trace([import_file(mine).__name__])
    assert {"file mine_to_trace.py", "file helper_to_trace", "joulemark.nets.folding"} <= set(before)
    assert "joulemark" not in before
    mine.write_text(mine.read_text().replace("x = 1", "x = 1  # one"))
    import_file(mine)
    assert changed(before) == ()
    mine.write_text(mine.read_text().replace("x = 1", "x = 2"))
    assert changed(before) == ()  # what runs is still the old one
    import_file(mine)
    assert changed(before) == ("file mine_to_trace.py",)
    helper.write_text("half = 0.25\n")
    forgotten()
    assert changed(before) == ("file helper_to_trace", "file mine_to_trace.py")
    sys.modules.pop("helper_to_trace")


def test_declaring_modules_only_declare():
    """Fields, validators, keys and messages: nothing that computes a result may hide from the traces."""
    allowed = {
        "joulemark": {"__getattr__"},
        "joulemark.record": {"__post_init__", "content_key"},
        "joulemark.task": {"__post_init__", "refuse_name", "key", "_plain"},
        "joulemark.nets.header": {"__post_init__"},
        "joulemark.benchmarking.suite": {"__post_init__", "of"},  # "of" chooses among what is declared
    }
    for name in DECLARE - {"joulemark.vocabulary"}:
        path = OURS.joinpath(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        functions = {n.name for n in ast.walk(ast.parse(path.read_bytes())) if isinstance(n, ast.FunctionDef)}
        assert functions <= allowed[name], name
        loops = [n for n in ast.walk(ast.parse(path.read_bytes())) if isinstance(n, ast.While)]
        assert not loops


def test_no_name_or_record_is_in_any_trace():
    for root in ("joulemark.benchmarking.trial", "joulemark.benchmarking.workbench", "joulemark.training"):
        assert not set(trace([root])) & DECLARE


def test_the_training_of_a_baseline_reaches_no_measuring_and_judging_no_training():
    """What a change of the one must not repeat of the other."""
    training = trace(["joulemark.training", "joulemark.nets.builders.lenet", "joulemark.data.mnist5k"])
    assert not [unit for unit in training if "benchmarking" in unit or "backends" in unit or "meters" in unit]
    judging = trace(["joulemark.benchmarking.attempt"])
    assert not [unit for unit in judging if "techniques" in unit or unit.startswith("joulemark.training")]
    assert "joulemark.benchmarking.measuring" in judging
    making = trace(["joulemark.benchmarking.workbench", "joulemark.techniques.pruning.magnitude"])
    assert not [unit for unit in making if "judging" in unit or "meters" in unit or unit == "joulemark.store"]


@pytest.mark.parametrize(
    "unit",
    ["file evil_unit.helper", "file this.x", "table ../../etc/passwd", "/etc/passwd", "joulemark./etc/passwd",
     "file .x", "x" * 5000, "/", "", "joulemark\n.x", "package os.path", "table joulemark/../x.toml"],
)  # fmt: skip
def test_what_a_record_says_imports_nothing_and_opens_nothing_else(unit, tmp_path, monkeypatch, capsys):
    (tmp_path / "evil_unit").mkdir()
    (tmp_path / "evil_unit" / "__init__.py").write_text("raise SystemExit('it ran')\n")
    (tmp_path / "evil_unit" / "helper.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert changed({unit: "0" * 16}) in ((unit,), ())
    assert "evil_unit" not in sys.modules
    assert capsys.readouterr().out == ""


def test_two_files_of_one_name_are_two(tmp_path):
    first, second = tmp_path / "a" / "same_name.py", tmp_path / "b" / "same_name.py"
    for path, text in ((first, "x = 1\n"), (second, "x = 2\n")):
        path.parent.mkdir()
        path.write_text(text)
    codes = [trace([import_file(path).__name__]) for path in (first, second)]
    assert codes[0] != codes[1]
    assert changed(codes[0]) == changed(codes[1]) == ()
    second.write_text("x = 3\n")
    import_file(second)
    assert changed(codes[1]) == ("file same_name.py",)


def test_digest_of_one_unit():
    assert digest("joulemark.judging.trace") == trace(["joulemark.judging.trace"])["joulemark.judging.trace"]
    assert digest("joulemark.nowhere") is None
    assert Path(OURS, "joulemark", "judging", "trace.py").is_file()
