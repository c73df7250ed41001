"""The verb that begins a task of one's own: init."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from joulemark.cli.app import Json, Refused, app, print_json, print_lines, write_output


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The file to write, such as mine.py.")] = Path("mine.py"),
    json: Json = False,
) -> None:
    """Write a commented task file for your own net and data; as it stands it is an example that runs."""
    from joulemark.task import refuse_name

    if path.suffix != ".py":
        raise Refused(f"{path}: a task file is Python, so its name ends in .py")
    refuse_name("the name of a task file", path.stem)
    if path.exists():
        raise Refused(f"{path} is there already and is left as it is: choose another name")
    if not path.parent.is_dir():
        raise Refused(f"there is no folder {path.parent} to write {path.name} to")
    text = (files("joulemark") / "tasks" / "own.py.txt").read_text(encoding="utf-8")
    write_output(path, text.replace("NAME.py", path.name))
    if json:
        print_json({"path": str(path)})
        return
    print_lines([f"Wrote {path}: put your net and data into it, then `joulemark run {path}`."])
