"""Tasks by name: every TOML file in the package's ``tasks`` folder holds one, each once, and suites name them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import msgspec

from joulemark.task import Task
from joulemark.vocabulary import unknown_name_message


class TaskError(ValueError):
    """A task cannot be found or read; the message says what is wrong and where."""


def shipped_tasks() -> dict[str, str]:
    """Names of the tasks in the package and their text."""
    return toml_texts("tasks")


def toml_texts(folder: str) -> dict[str, str]:
    """The TOML files of a folder of the package: name without the ending -> text."""
    entries = sorted((files("joulemark") / folder).iterdir(), key=lambda entry: entry.name)
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in entries
        if entry.name.endswith(".toml")
    }


def load_task(name: str, *, folder: Path = Path()) -> Task:
    """A task of the package by name, or one from a TOML file by its path, seen from ``folder``.

    Raises :class:`TaskError` naming the file and the field.

    >>> load_task("mnist-5k").title
    'MNIST digits, 5,000 images'
    """
    if name.endswith(".toml"):
        path = folder / name
        if not path.is_file():
            raise TaskError(f"there is no task file {path}")
        try:
            return parse_task(path.read_text(encoding="utf-8"), where=str(path))
        except UnicodeDecodeError as error:
            raise TaskError(f"{path} is no text in UTF-8 (byte {error.start}): save it as UTF-8") from error
        except OSError as error:
            raise TaskError(f"cannot read task {path}: {error.strerror}") from error
    shipped = shipped_tasks()
    if name not in shipped:
        raise TaskError(
            unknown_name_message("task", name, shipped) + " (or give the path of a .toml file, or a [task] table)"
        )
    return parse_task(shipped[name], where=f"{name}.toml")


def parse_task(text: str, *, where: str) -> Task:
    """A task from TOML. Raises :class:`TaskError` naming the file and the field."""
    try:
        return msgspec.toml.decode(text, type=Task)
    except (msgspec.MsgspecError, ValueError) as error:
        raise TaskError(f"{where}: {error}") from error
