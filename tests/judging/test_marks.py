"""Marks of the committed records: what a change of the code may do to them, and what it must.

The code is a copy that is changed; the records are the committed ones and the baselines that come with the package.
"""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import msgspec
import pytest

from joulemark.benchmarking.tracing import FREE, JUDGING, MAKING, MEASURING
from joulemark.judging import trace
from joulemark.judging.syntax import OURS, tree_digest
from joulemark.judging.trace import changed
from joulemark.migrating import history
from joulemark.record import Attempt, FreeTrial, Made, Trial
from joulemark.vocabulary import TABLES

PROJECT = Path(__file__).parents[2]
KINDS = {"made": Made, "attempts": Attempt, "trials": Trial, "free": FreeTrial}


def committed() -> dict[str, dict[str, str]]:
    """Path of every committed record that keeps a trace, and the trace."""
    found = {}
    for path in [*PROJECT.glob("results/*/*/*/*.json"), *OURS.glob("joulemark/baselines/*/*.json")]:
        if path.parent.name in KINDS or "baselines" in path.parts:
            found[str(path)] = msgspec.json.decode(path.read_bytes())["code"]
    return found


CODES = committed()
TEXTS = {path: str(sorted(code.items())) for path, code in CODES.items()}
"""The same as texts: few of them differ."""
_seen: dict[tuple[str, str | None], str] = {}
"""Digests of the copy's files as one call of ``marks`` finds them."""


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Path:
    """A copy of the package that may be changed; a digest is kept for each text, so that others are not read again."""
    for source in [*OURS.glob("joulemark/**/*.py"), *OURS.glob("joulemark/**/*.toml")]:
        target = tmp_path / source.relative_to(OURS)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    known: dict[tuple[str | None, bytes], str] = {}

    def digest(path: Path, module: str | None, folder: Path) -> str:
        if (str(path), module) not in _seen:
            text = path.read_bytes()
            if (module, text) not in known:
                known[module, text] = tree_digest(text, module, package=path.name == "__init__.py", folder=folder)
            _seen[str(path), module] = known[module, text]
        return _seen[str(path), module]

    monkeypatch.setattr(trace, "_digest_of_file", digest)
    return tmp_path


def marks(folder: Path, codes: dict[str, dict[str, str]] = CODES) -> dict[str, tuple[str, ...]]:
    _seen.clear()
    known: dict[str, tuple[str, ...]] = {}
    found = {}
    for path, code in codes.items():
        text = TEXTS[path] if codes is CODES else str(sorted(code.items()))
        if text not in known:
            known[text] = changed(code, folder=folder)
        found[path] = known[text]
    return found


def edit(folder: Path, module: str, old: str, new: str) -> None:
    path = folder / "joulemark" / f"{module.replace('.', '/')}.py"
    text = path.read_text()
    assert old in text, f"{module} has no {old!r}"
    path.write_text(text.replace(old, new, 1))


def name_everything(folder: Path) -> None:
    for kind in TABLES:
        edit(folder, "vocabulary", f'    "{kind}": {{\n', f'    "{kind}": {{\n        "new": "theirs.new:new",\n')


def write_docstrings(folder: Path) -> None:
    """Of modules, classes and functions, and of constants and fields."""
    for path in folder.glob("joulemark/**/*.py"):
        lines = path.read_text().splitlines()
        path.write_text("\n".join(re.sub(r'^( *)"""(?=[A-Z])', r'\1"""Another first word. ', line) for line in lines))
    assert "Another first word. Scale of weights" in (folder / "joulemark/nets/layers/integer.py").read_text()


def add_fields(folder: Path) -> None:
    for name in ("Score", "Made", "Attempt", "Trial", "FreeTrial", "Study", "Quantity"):
        text = (folder / "joulemark" / "record.py").read_text()
        head = re.search(rf'class {name}\(Record.*?""".*?"""\n', text, re.DOTALL)
        (folder / "joulemark" / "record.py").write_text(text.replace(head[0], f"{head[0]}\n    more: int = 0\n"))
    edit(folder, "nets.header", "    options: dict[str, Any]\n", "    options: dict[str, Any]\n    more: int = 0\n")
    edit(folder, "task", "    metric: ", "    more: int = 0\n    metric: ")
    edit(folder, "task", "    builder: ", "    more: int = 0\n    builder: ")
    edit(folder, "benchmarking.suite", "    blocks: ", "    more: int = 0\n    blocks: ")
    edit(folder, "workloads.workload", "    layer: str", "    more: int = 0\n    layer: str")
    edit(folder, "benchmarking.ledger", "    seconds: float", "    more: int = 0\n    seconds: float")


def add_a_technique(folder: Path) -> None:
    (folder / "joulemark" / "techniques" / "pruning" / "unrelated.py").write_text("import joulemark\n\nx = 1\n")
    (folder / "joulemark" / "energy" / "another.toml").write_text("x = 1\n")


def comment(folder: Path) -> None:
    for path in [*folder.glob("joulemark/**/*.py"), *folder.glob("joulemark/energy/*.toml")]:
        path.write_text(f"{path.read_text()}\n\n# the end\n")


@pytest.mark.parametrize("change", [name_everything, write_docstrings, add_fields, add_a_technique, comment])
def test_harmless_changes_leave_every_mark_as_it_is(copy, change):
    before = marks(copy)
    assert before == marks(OURS)
    assert len(before) > 700
    change(copy)
    assert marks(copy) == before


def test_a_moved_file_keeps_its_marks_when_the_migrator_has_run(copy, monkeypatch):
    before = marks(copy)
    old, new = "joulemark.judging.statistics", "joulemark.judging.bounds"
    users = [path for path in copy.glob("joulemark/**/*.py") if old in path.read_text()]
    for path in users:
        path.write_text(path.read_text().replace(old, new))
    (copy / "joulemark/judging/statistics.py").rename(copy / "joulemark/judging/bounds.py")
    monkeypatch.setitem(history.MOVED, old, new)
    assert marks(copy) != before
    brought = {path: history.moved(code, copy) for path, code in CODES.items()}
    renamed = {path: tuple(sorted(unit.replace(old, new) for unit in units)) for path, units in before.items()}
    assert marks(copy, brought) == renamed


def mutated(text: str) -> str:
    """A source with a number in a function raised by one; without such a number, with one statement more."""
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for node in (inner for function in functions for inner in ast.walk(function)):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            node.value += 1
            return ast.unparse(tree)
    return f"{text}\nmutated = 1\n"


def file_of(folder: Path, unit: str) -> Path:
    path = folder / f"{unit.replace('.', '/')}.py"
    return path if path.is_file() else folder / unit.replace(".", "/") / "__init__.py"


TODAY = {
    "making": (*MAKING, *(TABLES["technique"].values()), TABLES["builder"]["resnet20"], TABLES["data set"]["cifar10"]),
    "judging": (*JUDGING, *TABLES["backend"].values(), *TABLES["metric"].values(), *TABLES["kind of layer"].values()),
    "measuring": (*MEASURING, *TABLES["energy model"].values()),
    "free": FREE,
}
"""Roots of what a run of now stores, and some that a suite can name."""


def test_a_mutation_of_any_unit_that_a_run_of_now_traces_marks_what_it_stores_and_nothing_else(copy):
    codes = {kind: trace.trace({one.partition(":")[0] for one in roots}) for kind, roots in TODAY.items()}
    units = sorted({unit for code in codes.values() for unit in code if unit.startswith("joulemark")})
    assert len(units) > 120
    assert not any(marks(copy, codes).values())
    for unit in units:
        path = file_of(copy, unit)
        text = path.read_text()
        path.write_text(mutated(text))
        assert marks(copy, codes) == {kind: (unit,) if unit in code else () for kind, code in codes.items()}, unit
        path.write_text(text)


def test_a_mutation_of_every_traced_unit_marks_its_rows_and_no_others(copy):
    before = marks(copy)
    units = sorted({unit for code in CODES.values() for unit in code if unit.startswith("joulemark.")})
    alike = [unit for unit in units if any(unit in code and unit not in before[path] for path, code in CODES.items())]
    assert len(alike) > 20
    for unit in alike:
        path = file_of(copy, unit)
        text = path.read_text()
        path.write_text(mutated(text))
        expected = {
            path: tuple(sorted({*units, unit} if unit in CODES[path] else units)) for path, units in before.items()
        }
        assert marks(copy) == expected, unit
        path.write_text(text)


def test_tables_and_packages_count_too(copy):
    before = marks(copy)
    for table in (copy / "joulemark" / "energy").glob("*.toml"):
        unit = f"table {table.relative_to(copy).as_posix()}"
        users = {path for path, code in CODES.items() if unit in code and unit not in before[path]}
        text = table.read_text()
        table.write_text(f"changed = 1\n{text}")
        assert {path for path, units in marks(copy).items() if units != before[path]} == users, unit
        table.write_text(text)


def test_a_table_counts_with_the_modules_that_name_it():
    def tables(module: str) -> set[str]:
        return {unit.rpartition("/")[2] for unit in trace.trace([module]) if unit.startswith("table ")}

    assert tables("joulemark.energy.microcontroller") == {"efm32gg.toml"}
    assert "efm32gg.toml" not in tables("joulemark.energy.accelerator") | tables("joulemark.energy.systolic")
    assert "systolic.toml" in tables("joulemark.energy.systolic")
