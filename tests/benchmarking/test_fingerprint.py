"""The digest of code changes with what is computed and with nothing else."""

import sys
import textwrap

import pytest

from joulemark.benchmarking import fingerprint
from joulemark.benchmarking.fingerprint import code_digest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of two modules, a importing b, whose text can be replaced."""
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(fingerprint, "PACKAGE", "papers")
    monkeypatch.delitem(sys.modules, "papers", raising=False)  # that of the test before
    fingerprint._is_module.cache_clear()

    def write(**modules: str) -> None:
        for name, text in modules.items():
            (tmp_path / "papers" / f"{name}.py").write_text(textwrap.dedent(text))

    write(
        a="from papers import b\nimport os\n\ndef f(x):\n    return b.g(x) + 1\n",
        b='"""Doubles."""\n\ndef g(x):\n    """Twice x."""\n    return 2 * x\n',
        c="h = 1\n",
    )
    yield write
    sys.modules.pop("papers", None)
    fingerprint._is_module.cache_clear()


def test_comments_docstrings_and_layout_do_not_count(package):
    before = code_digest(["papers.a"])
    package(b='"""Doubles a number."""\n\n\ndef g(x):  # fast\n    """Two x."""\n    return (2 * x)\n')
    assert code_digest(["papers.a"]) == before


@pytest.mark.parametrize("text", ["def g(x):\n    return 3 * x\n", "def g(y):\n    return 2 * y\n", "g = None\n"])
def test_an_imported_module_counts(package, text):
    before = code_digest(["papers.a"])
    package(b=text)
    assert code_digest(["papers.a"]) != before


def test_a_module_that_nothing_imports_does_not_count_until_something_does(package):
    before = code_digest(["papers.a"])
    package(c="h = 2\n")
    assert code_digest(["papers.a"]) == before
    package(a="from papers import b\n\ndef f(x):\n    from papers.c import h\n    return b.g(x) + h\n")
    with_c = code_digest(["papers.a"])
    package(c="h = 3\n")
    assert code_digest(["papers.a"]) != with_c


def test_modules_may_import_each_other(package):
    package(b="from papers import a\n")
    assert code_digest(["papers.a"]) == code_digest(["papers.b"])


def test_a_module_that_is_not_there_is_said():
    with pytest.raises(ValueError, match=r"there is no module joulemark\.nowhere"):
        code_digest(["joulemark.nowhere"])


@pytest.fixture
def others(tmp_path, monkeypatch):
    """A package of somebody else's, and a file beside it, whose text can be replaced."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("theirs", "beside")]:
            del sys.modules[name]
        fingerprint._is_module.cache_clear()
        fingerprint._installed.cache_clear()

    write("theirs/__init__.py", "")
    write("theirs/backend.py", "from . import inner\nfrom .deep.far import x\nimport nowhere_at_all\nimport os\n")
    write("theirs/inner.py", "import beside\n")
    write("theirs/deep/far.py", "x = 1\n")  # a package without __init__.py
    write("theirs/unused.py", "x = 1\n")
    write("beside.py", "from joulemark import Net\nfrom joulemark.nets import lenet\nimport msgspec\n")
    forget()
    yield write
    forget()


@pytest.mark.parametrize("name", ["theirs/backend.py", "theirs/inner.py", "theirs/deep/far.py", "beside.py"])
def test_code_of_others_counts_with_what_it_imports(others, name, tmp_path):
    before = code_digest(["theirs.backend"])
    others(name, (tmp_path / name).read_text() + "# a comment\n")
    others("theirs/unused.py", "x = 2\n")
    assert code_digest(["theirs.backend"]) == before
    others(name, (tmp_path / name).read_text() + "y = 3\n")
    assert code_digest(["theirs.backend"]) != before


def test_of_what_others_import_of_ours_modules_count_and_the_public_face_does_not(others):
    assert "joulemark.nets.builders.lenet" in fingerprint._imports("beside")
    assert "joulemark" not in fingerprint._imports("beside")


def test_an_installed_package_counts_by_its_version(others, monkeypatch):
    monkeypatch.setattr(fingerprint, "version", lambda _: "1.0")
    before = code_digest(["theirs.backend"]), code_digest(["joulemark.record"])
    monkeypatch.setattr(fingerprint, "version", lambda _: "2.0")
    fingerprint._installed.cache_clear()
    assert code_digest(["theirs.backend"]) != before[0]
    assert code_digest(["joulemark.record"]) == before[1]  # ours have the versions in the key beside this


def test_a_missing_module_of_others_is_said(others):
    for name in ("theirs.nowhere", "nowhere_at_all", "theirs.backend.deeper"):
        with pytest.raises(ValueError, match=f"there is no module {name}"):
            code_digest([name])


def test_the_training_of_a_baseline_reaches_no_measuring():
    from joulemark.benchmarking.session import Session  # the real thing: what a change of measuring must not repeat

    reached: set[str] = set()
    waiting = ["joulemark.training", "joulemark.nets.builders.lenet", "joulemark.data.mnist5k"]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += fingerprint._imports(name)
    assert "joulemark.training" in reached
    assert not [name for name in reached if "benchmark" in name or "backends" in name or "meters" in name]
    assert Session.training_code is not Session.code
