"""Baselines that come with the package, so that nobody trains again what has been trained.

    baselines/<task>/seed-<n>.json          the record of its making
                    /seed-<n>.safetensors   the net

A published baseline belongs to one version of a task (data, splits, recipe) and one seed. It is used whatever the code
has become since: the record says which code and machine made it, and ``joulemark run --fresh`` trains anew instead.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import msgspec

from joulemark.nets.net import Net
from joulemark.record import Made
from joulemark.task import Task


def published(task: Task, seed: int) -> tuple[Made, Net] | None:
    """The published baseline of a task and seed, or ``None``.

    Raises ``ValueError`` if its files are there but are not a net of this task.
    """
    folder = files("joulemark") / "baselines" / folder_name(task)
    stated, saved = folder / f"seed-{seed}.json", folder / f"seed-{seed}.safetensors"
    if not (stated.is_file() and saved.is_file()):
        return None
    try:
        made, net = msgspec.json.decode(stated.read_bytes(), type=Made), Net.from_bytes(saved.read_bytes())
    except (msgspec.MsgspecError, ValueError) as error:
        raise ValueError(f"the published baseline {stated} cannot be read: {error}") from error
    if (made.task_key, made.seed, made.net) != (task.key, seed, net.hash):
        raise ValueError(f"the published baseline {stated} is not that of task {task.name!r}, seed {seed}: reinstall")
    return made, net


def publish(made: Made, net: Net, task: Task, folder: Path) -> Path:
    """Write a baseline as :func:`published` reads it, below ``folder``; returns the record's path."""
    place = folder / folder_name(task)
    place.mkdir(parents=True, exist_ok=True)
    (place / f"seed-{made.seed}.safetensors").write_bytes(net.to_bytes())
    stated = place / f"seed-{made.seed}.json"
    stated.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
    return stated


def folder_name(task: Task) -> str:
    """Where results of this version of a task are kept."""
    return f"{task.name}-{task.key[:8]}"
