"""The workbench of the checks: the benchmark's, which counts the fits that ran and can stop after one of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from joulemark.backends.onnx import OnnxRuntime
from joulemark.benchmarking.ledger import Ledger
from joulemark.benchmarking.workbench import Bench
from joulemark.energy.model import energy_model
from joulemark.nets.net import Net
from joulemark.store import Store
from joulemark.task import Task
from joulemark.techniques.technique import Technique
from joulemark.testing.example import EPOCHS, TASK, generated


class Stopped(BaseException):
    """Stands for a kill. Not an ``Exception``, so that a technique's own handlers miss it."""


@dataclasses.dataclass
class WatchedBench(Bench):
    """A workbench that counts the fits that really ran and can stop the technique after one of them."""

    stop_after: int | None = None
    fits_run: int = 0

    def fit(self, net: Net, **arguments: Any) -> Net:
        """As the benchmark's; then stop here if this was the fit to stop after."""
        restored = self.ledger.steps_restored
        fitted = super().fit(net, **arguments)
        self.fits_run += self.ledger.steps_restored == restored
        if self.fits_run == self.stop_after:
            raise Stopped
        return fitted


def workbench(folder: str | Path, *, task: Task = TASK, technique: Technique | None = None) -> WatchedBench:
    """The benchmark's workbench on the generated data, its steps kept in ``folder``: also for tests of your own.

    ``technique`` is whose search the budget is for, if it declares one.

    >>> bench = workbench("memory://example")
    >>> sum(len(labels) for _, labels in bench.batches("train"))
    300
    """
    epochs, search_epochs = (EPOCHS, 0) if technique is None else technique.granted(EPOCHS)
    return WatchedBench(
        task=task,
        seed=0,
        limit_points=2.0,
        epochs=epochs,
        search_epochs=search_epochs,
        splits=generated(task),
        backend=OnnxRuntime(),
        threads=1,
        training_threads=1,
        model=energy_model("row-stationary"),
        ledger=Ledger(Store(folder, hardware_class="check", task=task.name), "check"),
        shared="shared-check",
    )
