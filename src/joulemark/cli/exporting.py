"""The verb that gives a made net away: export."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from joulemark.cli.app import Json, Refused, ResultsFolder, app, print_json, print_lines, tell

if TYPE_CHECKING:
    from joulemark.benchmarking.stored_nets import StoredSubject
    from joulemark.task import Task


@app.command()
def export(
    subject: Annotated[
        str,
        typer.Argument(
            help="The key of a trial or attempt, or the hash of a net, of which 6 characters are enough; or a saved "
            ".safetensors net."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write: .onnx (ONNX) or .pt2 (torch.export).")],
    results: ResultsFolder = "runs",
    task: Annotated[Path | None, typer.Option("--task", help="A .py file with your own task or net.")] = None,
    json: Json = False,
) -> None:
    """Write a made net as one ONNX or PyTorch file, once the file was run and computed the same.

    The file needs neither Joulemark nor the code that built the net. The scaling of inputs is not in it.
    """
    from joulemark.backends.exported import KINDS, written

    kind = KINDS.get(output.suffix)
    if kind is None:
        raise Refused(f"{output} ends in neither .onnx nor .pt2: the ending of -o says which of the two is written")
    _refuse_place(output)
    own = [] if task is None else _remember_task(task)
    from joulemark.benchmarking.stored_nets import stored_subject, task_of

    found = stored_subject(subject, results)
    its_task = None if found.record is None else task_of(found.record, own)
    images, said = _images(found, its_task, given=bool(own))
    data, difference = written(kind, found.net, images, _notes(found, its_task))
    _write(output, data)
    told = {
        "file": str(output),
        "bytes": len(data),
        "net": found.hash,
        "checked_on": said,
        "images": len(images),
        "largest_difference": difference,
        "input_shape": [1 if found.net.route else None, *found.net.input_shape],  # null: any number
        "mean": None if its_task is None else list(its_task.mean),
        "deviation": None if its_task is None else list(its_task.deviation),
        "inputs": _scaling(its_task),
    }
    print_json(told) if json else print_lines(_lines(told, dynamic=found.net.route is not None))


def _remember_task(path: Path) -> list[Task]:
    """Open a user's task file, so that his nets can be built; his task, if his data are here too."""
    from joulemark.benchmarking.own_task import open_task, register_task

    register_task(path)
    try:
        return [open_task(path).task]
    except ValueError as error:  # the net can be built without them
        tell(f"{error}; so random inputs are used")
        return []


def _images(found: StoredSubject, task: Task | None, *, given: bool) -> tuple[Any, str]:
    """What the file is checked on, (64, *input_shape), and what that is in words."""
    import numpy as np

    from joulemark.backends.fidelity import ROWS
    from joulemark.benchmarking.stored_nets import validation_images

    if task is None:
        changed = "the net is of an earlier state of the task file, or of no record in --results"
        why = changed if given else "the task of the net is not known"
    else:
        real = validation_images(task, ROWS)
        if real is not None:
            return real, f"validation images of {task.name}"
        why = f"the data of {task.name} are not here"
    drawn = np.random.default_rng(0).standard_normal((ROWS, *found.net.input_shape), dtype=np.float32)
    return drawn, f"random inputs, because {why}"


def _notes(found: StoredSubject, task: Task | None) -> dict[str, str]:
    """What the file says of where it comes from, and of the inputs that it expects."""
    notes = {"joulemark_scaling": _scaling(task)} if task is not None else {}
    record = found.record
    if record is None:
        return notes
    return {**notes, "joulemark_record": record.key, "joulemark_task": record.task,
            "joulemark_technique": record.technique, "joulemark_seed": str(record.seed)}  # fmt: skip


def _scaling(task: Task | None) -> str:
    """How the inputs of a task were scaled, in words."""
    if task is None:
        return "as in training"
    if task.own is not None:
        prepared = "preprocess" in task.own.functions
        return f"what preprocess(batch) of {task.name}.py makes of them" if prepared else "as its functions give them"
    mean, deviation = list(task.mean), list(task.deviation)
    numbers = f"(x - {_listed(mean)}) / {_listed(deviation)}, channel by channel; " if mean else ""
    return f"{numbers}x is pixel / 255 where inputs are bytes"


def _listed(numbers: list[float]) -> str:
    return f"{numbers[0]:g}" if len(numbers) == 1 else f"[{', '.join(f'{one:g}' for one in numbers)}]"


def _lines(told: dict[str, Any], *, dynamic: bool) -> list[str]:
    shape = ", ".join(map(str, ["1" if dynamic else "rows", *told["input_shape"][1:]]))
    alone = " One input at a time: what lies behind the exit that it takes is not computed." if dynamic else ""
    return [
        f"Wrote {told['file']}: {told['bytes']:,} bytes, net {told['net']}.{alone}",
        f"Checked on {told['images']} {told['checked_on']}: its outputs differ from those of the net that was made by "
        f"at most {told['largest_difference']:.2g}.",
        f"Inputs: float32 ({shape}). Scale them yourself, the file does not: {told['inputs']}.",
    ]


def _refuse_place(path: Path) -> None:
    """Say before the work what could not be written after it."""
    if not path.parent.is_dir():
        raise Refused(f"cannot write {path}: there is no folder {path.parent}")
    if path.exists() and not path.is_file():
        raise Refused(f"cannot write {path}: it is there and no file")


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; a symbolic link is followed."""
    from joulemark.machine.atomic_files import replace_file

    try:
        replace_file(Path(os.path.realpath(path)), data)
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror or error}") from error
