"""The digest of code changes with what is computed and with nothing else."""

import sys
import textwrap

import pytest

from joulemark.benchmark import fingerprint
from joulemark.benchmark.fingerprint import code_digest


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


def test_the_training_of_a_baseline_reaches_no_measuring():
    from joulemark.benchmark.session import Session  # the real thing: what a change of measuring must not repeat

    reached: set[str] = set()
    waiting = ["joulemark.training", "joulemark.nets.lenet", "joulemark.data.mnist5k"]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += fingerprint._imports(name)
    assert "joulemark.training" in reached
    assert not [name for name in reached if "benchmark" in name or "backends" in name or "meters" in name]
    assert Session.training_code is not Session.code
