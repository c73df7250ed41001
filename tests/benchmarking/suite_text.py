"""The text of a shipped suite with its task in it, for tests that change a word of either."""

from __future__ import annotations

from joulemark.benchmarking.suite_files import load_suite, shipped_suites
from joulemark.benchmarking.task_files import shipped_tasks


def whole_text(suite: str) -> str:
    """The suite's TOML with a ``[task]`` table in the place of the task's name."""
    name = load_suite(suite).task.name
    named = f'task = "{name}"\n'
    text = shipped_suites()[suite]
    assert text.count(named) == 1
    return f"{text.replace(named, '')}\n[task]\n" + shipped_tasks()[name].replace("\n[", "\n[task.")
