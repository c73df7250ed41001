"""The made-up results in a store, as a run leaves them."""

from __future__ import annotations

from pathlib import Path

from synthetic import make_results

from joulemark.record import Study
from joulemark.report.results import Results
from joulemark.store import Store


def fill(
    root: Path,
    *,
    hardware: str = "toy-cpu",
    task: str = "toy-01234567",
    suite: str = "quick",
    techniques: list[str] | None = None,
) -> Results:
    """Store the records of some techniques (``None``: all) and the study that holds them."""
    results = make_results()
    store = Store(root, hardware_class=hardware, task=task)
    names = results.techniques if techniques is None else techniques
    for record in (*results.attempts, *results.trials, *results.failures):
        if record.technique in (*names, "baseline"):
            store.put(record)
    for truth in results.truths.values():
        store.put(truth)
    store.put(
        Study(
            key=suite,
            settings="s",
            baselines=tuple(a.key for a in results.attempts_of["baseline"]),
            attempts={name: tuple(a.key for a in results.attempts_of.get(name, [])) for name in names},
            trials=tuple(t.key for t in results.trials if t.technique in (*names, "baseline")),
        )
    )
    return results
