"""Baselines that come with the package, so that nobody trains again what has been trained.

    baselines/<task>/<key>.json             the record of its making
                    /<hash>.safetensors     the net

A published baseline belongs to one version of a task (data, splits, recipe) and one seed. It is used whatever the code
has become since: the record says which code and machine made it, and ``joulemark run --fresh`` trains anew instead.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from joulemark.benchmarking.session import Session
from joulemark.nets.net import Net, hash_of
from joulemark.record import Made
from joulemark.store import opened, sealed
from joulemark.task import BASELINE, Task


def published(task: Task, seed: int) -> tuple[Made, Net] | None:
    """The published baseline of a task and seed, or ``None``.

    Raises ``ValueError`` if a file in the task's folder is damaged, edited, unsealed, another task's or technique's.
    """
    folder = files("joulemark") / "baselines" / folder_name(task)
    if not folder.is_dir():
        return None
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not entry.name.endswith(".json"):
            continue
        try:
            read = opened(entry.read_bytes(), Made, entry.name)
            made = read.record
            if not read.sealed:
                raise ValueError("it has no seal: somebody took it out, or it was not written by `joulemark publish`")
            if made.technique != BASELINE:
                raise ValueError(f"it is of technique {made.technique!r}")
            if made.task_key != task.key:
                raise ValueError(f"it is of task {made.task!r}, {made.task_key[:8]}")
            if made.seed != seed:
                continue
            data = (folder / f"{made.net}.safetensors").read_bytes()
            if hash_of(data) != made.net:
                raise ValueError(f"its net is {hash_of(data)}, not {made.net}")
            net = Net.from_bytes(data)
        except (OSError, ValueError) as error:
            raise ValueError(f"the published baseline {entry.name} of {task.name} is broken: {error}") from error
        return made, net
    return None


def publish(made: Made, net: Net, task: Task, folder: Path) -> Path:
    """Write a baseline as :func:`published` reads it, below ``folder``; returns the record's path.

    An older baseline of the same seed is replaced.
    """
    place = folder / folder_name(task)
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{made.net}.safetensors").write_bytes(net.to_bytes())
    stated = place / f"{made.key}.json"
    stated.write_bytes(sealed(made))
    for path in place.glob("*.json"):
        older = opened(path.read_bytes(), Made, path.name).record
        if older.seed == made.seed and older.key != made.key:
            path.unlink()
            if older.net != made.net:
                (place / f"{older.net}.safetensors").unlink(missing_ok=True)
    return stated


def publish_trained(session: Session, folder: Path) -> list[Path]:
    """Publish the baselines that a session's store holds, of each of the suite's seeds the one made last."""
    made = [one for one in session.store.all_made() if one.technique == BASELINE and one.seed in session.suite.seeds]
    latest = {one.seed: one for one in sorted(made, key=lambda one: one.provenance.started)}
    nets = [(one, session.net(one.net)) for one in latest.values()]
    return [publish(one, stored.net, session.suite.task, folder) for one, stored in nets if stored is not None]


def folder_name(task: Task) -> str:
    """Where results of this version of a task are kept."""
    return f"{task.name}-{task.key[:8]}"
