"""Reading the results of a suite from a store: one task on one hardware class, and where else a technique was run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from joulemark.judging.losses import Truths
from joulemark.machine.machine import this_machine
from joulemark.record import Attempt, FreeTrial, Record, Trial
from joulemark.report.drawable import why_undrawable
from joulemark.report.results import Results
from joulemark.run_command import run_command, task_file
from joulemark.store import KINDS, Store, folders, hardware_classes
from joulemark.vocabulary import unknown_name_message

T = TypeVar("T", Attempt, Trial, FreeTrial)


class Declared(Protocol):
    """What is read of a suite: :class:`joulemark.benchmarking.suite.Suite` has it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def techniques(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def task(self) -> Any: ...  # noqa: D102
    @property
    def limits_points(self) -> Sequence[float]: ...  # noqa: D102
    @property
    def models(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def backends(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def batch_sizes(self) -> Sequence[int]: ...  # noqa: D102


class Place(Record, frozen=True):
    """Where results lie: a hardware class and a task's folder (its name and the start of its key)."""

    hardware_class: str
    task: str


def task_folder(suite: Declared) -> str:
    """Folder of a suite's task: records of another version of it stand in another one."""
    return f"{suite.task.name}-{suite.task.key[:8]}"


def place_of(suite: Declared, root: str | Path, hardware: str | None) -> Place:
    """Where a suite's results lie below ``root``: on ``hardware``, or on this machine's class, or on the only one.

    Raises ``ValueError`` if there are none, or if they are of several machines and none of them is this one.
    """
    task = task_folder(suite)
    found = hardware_classes(root, task)
    if not found:
        raise ValueError(f"there are no results of suite {suite.name!r} in {root}: run `{run_command(suite)}`")
    if hardware is None:
        here = this_machine().hardware_class
        if here not in found and len(found) > 1:
            raise ValueError(f"the results are of several machines: add --hardware and one of {', '.join(found)}")
        hardware = here if here in found else found[0]
    if hardware not in found:
        raise ValueError(unknown_name_message("hardware class", hardware, found))
    return Place(hardware, task)


def load_results(suite: Declared, root: str | Path, hardware: str | None) -> Results:
    """Everything stored of a suite's last study on one hardware class.

    Raises ``ValueError`` as :func:`place_of`, and if there is no study or it cannot be read.
    """
    store = _store(root, place_of(suite, root, hardware))
    known = _read(suite, root, store)
    if known is None:
        for one in store.damaged:
            told = one.newer or "joulemark migrate" in one.reason
            remedy = "" if told else f": `{run_command(suite)}` makes it again"
            raise ValueError(f"{one.path} could not be read: {one.reason}{remedy}")
        raise ValueError(f"no run of suite {suite.name!r} got past its baselines in {root}: run `{run_command(suite)}`")
    return known


def load_all(suite: Declared, root: str | Path) -> tuple[list[Results], list[tuple[str, str]]]:
    """The results of a suite on every hardware class that has some; path and reason of what could not be read."""
    task = task_folder(suite)
    stores = [_store(root, Place(hardware, task)) for hardware in hardware_classes(root, task)]
    found = [known for known in (_read(suite, root, store) for store in stores) if known is not None]
    unread = [(one.path, one.reason) for store in stores for one in store.damaged]
    return found, list(dict.fromkeys([*(pair for known in found for pair in known.damaged), *unread]))


def _store(root: str | Path, place: Place) -> Store:
    return Store(root, hardware_class=place.hardware_class, task=place.task)


def _read(suite: Declared, root: str | Path, store: Store) -> Results | None:
    study = store.study(suite.name)
    if study is None:
        return None
    keys = [*study.baselines, *(key for keys in study.attempts.values() for key in keys)]
    odd: list[tuple[str, str]] = []
    truths = store.truths()
    attempts = _drawable(store, map(store.attempt, keys), truths, odd)
    trials = _drawable(store, map(store.trial, study.trials), truths, odd)
    free = _drawable(store, map(store.free_trial, study.free), truths, odd)
    failures = [failure for failure in store.failures() if failure.technique in study.attempts]
    return Results(
        suite_name=suite.name,
        task_title=suite.task.title,
        hardware_class=store.hardware_class,
        limits_points=suite.limits_points,
        models=suite.models,
        backends=suite.backends,
        batch_sizes=suite.batch_sizes,
        command=run_command(suite),
        attempts=attempts,
        trials=trials,
        failures=failures,
        damaged=[*((one.path, one.reason) for one in store.damaged), *odd],
        unsealed=frozenset(store.unsealed),
        free=free,
        truths=truths,
        made={made.key: made for attempt in attempts if (made := store.made(attempt.made)) is not None},
        folder=str(root),
        own=suite.task.own,
        task_file=task_file(suite),
    )


def _drawable(store: Store, records: Iterable[T | None], truths: Truths, odd: list[tuple[str, str]]) -> list[T]:
    """The records that are there and can be drawn; path and reason of the others are added to ``odd``."""
    found = []
    for record in records:
        why = None if record is None else why_undrawable(record, truths)
        if record is not None and why is None:
            found.append(record)
        elif record is not None and why is not None:
            odd.append((f"{store.folder}/{KINDS[type(record)]}/{record.key}.json", why))
    return found


def places_with(root: str | Path, technique: str) -> list[Place]:
    """Every place below ``root`` where some study tried a technique."""
    found = []
    for hardware_class, task in folders(root):
        store = _store(root, Place(hardware_class, task))
        studies = [store.study(name.removesuffix(".json")) for name in store.names("studies")]
        if any(study is not None and study.attempts.get(technique) for study in studies):
            found.append(Place(hardware_class, task))
    return found


def why_elsewhere(
    suite: Declared, root: str | Path, here: Place, technique: str, registered: Collection[str] = ()
) -> str | None:
    """Say why results of a technique in other places do not count here, or that it was not run yet.

    ``None`` if nobody knows it: it was run nowhere, and is neither in the suite nor, part by part of a composition,
    among the ``registered``.
    """
    found = places_with(root, technique)
    if not found:
        parts = {part.partition(":")[0] for part in technique.split("+")}
        known = technique in suite.techniques or parts <= set(registered)
        return f"`{technique}` was not run yet: `{run_command(suite, technique)}`." if known else None
    if here in found:
        return f"`{technique}` was run in another suite: run `{run_command(suite, technique)}`."
    machines = sorted({place.hardware_class for place in found if place.task == here.task})
    if machines:
        return f"`{technique}` was run on {' and '.join(machines)} only: ratios do not carry over between machines."
    tasks = sorted({place.task for place in found})
    return f"`{technique}` was run on other tasks only ({', '.join(tasks)}): ratios do not carry over between tasks."
