"""Suites by name or path: a TOML file that names a task and declares how it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from joulemark.benchmarking.suite import Suite
from joulemark.benchmarking.task_files import load_task, toml_texts
from joulemark.vocabulary import unknown_name_message


class SuiteError(ValueError):
    """A suite cannot be found or read; the message says what is wrong and where."""


def shipped_suites() -> dict[str, str]:
    """Names of the suites in the package and their text."""
    return toml_texts("suites")


def load_suite(name: str) -> Suite:
    """A suite of the package by name, or one from a TOML file by path. Raises :class:`SuiteError`."""
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise SuiteError(f"there is no suite file {name}")
        try:
            return parse_suite(path.read_text(encoding="utf-8"), where=name, folder=path.parent)
        except UnicodeDecodeError as error:
            raise SuiteError(f"{name} is no text in UTF-8 (byte {error.start}): save it as UTF-8") from error
        except OSError as error:
            raise SuiteError(f"cannot read suite {name}: {error.strerror}") from error
    shipped = shipped_suites()
    if name not in shipped:
        raise SuiteError(
            unknown_name_message("suite", name, shipped)
            + " (or give the path of a .toml file, or your own task file: mine.py)"
        )
    return parse_suite(shipped[name], where=f"{name}.toml")


def parse_suite(text: str, *, where: str, folder: Path = Path()) -> Suite:
    """A suite from TOML. Raises :class:`SuiteError` naming the file and the field.

    Its ``task`` is the name of one of ours, the path of a .toml file seen from ``folder``, or a table of its own.
    """
    try:
        stated = msgspec.toml.decode(text)
        if isinstance(stated.get("task"), str):
            stated["task"] = msgspec.to_builtins(load_task(stated["task"], folder=folder))
        return msgspec.convert(stated, Suite)
    except (msgspec.MsgspecError, ValueError) as error:
        raise SuiteError(f"{where}: {error}") from error


def narrowed(
    suite: Suite,
    *,
    techniques: tuple[str, ...] = (),
    seeds: int | None = None,
    limit_images: int | None = None,
    limit: float | None = None,
) -> Suite:
    """The suite with the command's options applied. A limit of images makes another task, never mixed with the full.

    With another ``limit`` in points than its own a suite has another name, so that both studies stand side by side.
    """
    changes: dict[str, Any] = {}
    if techniques:
        changes["techniques"] = techniques
    if seeds is not None:
        changes["seeds"] = tuple(range(seeds))
    if limit is not None and suite.limits_points != (limit,):
        changes["limits_points"] = (limit,)
        changes["name"] = f"{suite.name}-limit{limit:g}"
    if limit_images is not None:
        task = suite.task
        name = f"{task.name}-first{limit_images}"
        changes["task"] = msgspec.structs.replace(task, name=name, limit_images=limit_images)
    return msgspec.convert(msgspec.to_builtins(msgspec.structs.replace(suite, **changes)), Suite)  # what it refuses
