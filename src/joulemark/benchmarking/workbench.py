"""The workbench: all that a technique may use, metered. It holds no test data."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from joulemark.backends.backend import WORKLOAD_IMAGES, Backend, Compiled
from joulemark.backends.fidelity import compiled_as_made
from joulemark.backends.predicting import predict, predict_exits
from joulemark.benchmarking.ledger import Ledger, LedgerCheckpoint
from joulemark.data.splits import Split
from joulemark.energy.model import EnergyModel
from joulemark.nets.net import Net
from joulemark.record import EnergyReport, content_key
from joulemark.task import Task
from joulemark.training import (
    AUGMENTS,
    Augment,
    Callback,
    Loss,
    MakeOptimiser,
    Schedule,
    cosine,
    cross_entropy,
    fit,
    image_passes,
    sgd,
    stateful,
)
from joulemark.workloads.recording import record
from joulemark.workloads.workload import Workload

T = TypeVar("T")
CALIBRATION_IMAGES = 512
FINE_TUNING_SHARE = 0.1
"""Learning rate of a fine-tuning fit over that of the baseline's recipe, unless the technique says otherwise."""


class BudgetError(RuntimeError):
    """A technique asked for more image passes than its budget holds."""


@dataclasses.dataclass
class Bench:
    """Implements :class:`joulemark.techniques.technique.Workbench` for one technique of one attempt.

    Its budget counts from when it is made: what the ledger holds by then, others of the same chain spent.
    """

    task: Task
    seed: int
    limit_points: float
    epochs: int
    splits: Mapping[str, Split]
    backend: Backend
    threads: int
    training_threads: int
    model: EnergyModel
    ledger: Ledger
    shared: str = "shared"  # folder of steps that other knob settings may use
    search_epochs: int = 0
    going: Callable[[float], None] = lambda share: None  # told after every epoch: the share of the budget that is spent
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    compiled: dict[str, Compiled] = dataclasses.field(default_factory=dict)
    loss: Loss = cross_entropy
    augment: Augment | None = None
    searching: bool = False

    def __post_init__(self) -> None:
        self.before = self.ledger.cost

    def batches(self, split: str, *, batch_size: int = 64) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels, shuffled by the seed; every image handed out is booked as one pass."""
        source = "train" if split == "calibration" else split
        if source not in ("train", "policy", "validation"):
            raise ValueError(f"there is no split {split!r} on a workbench: train, policy, validation, calibration")
        data = self.splits[source]
        order = np.random.default_rng(self.seed).permutation(len(data.labels))
        order = order[:CALIBRATION_IMAGES] if split == "calibration" else order
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            self._book(len(rows))
            yield torch.from_numpy(data.images[rows]), torch.from_numpy(data.labels[rows])

    def fit(
        self,
        net: Net,
        *,
        split: str = "train",
        epochs: float,
        loss: Loss | None = None,
        optimiser: MakeOptimiser | None = None,
        schedule: Schedule | None = None,
        precision: str | None = None,
        after_backward: Callback | None = None,
        after_step: Callback | None = None,
    ) -> Net:
        """Train within the budget; a finished fit is a step that is never run again.

        With its net it gives back the states that its callbacks and its loss ended with.
        """
        data, recipe = self._trained_on(split), self.task.recipe
        passes = image_passes(epochs, len(data.labels))
        step = self.ledger.numbered("fit")
        if not self.ledger.has(step, folder=self.ledger.owner):
            self._afford(passes)
        gentle = sgd(
            recipe.learning_rate * FINE_TUNING_SHARE, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )

        def make() -> Net:
            torch.set_num_threads(self.training_threads)
            module = net.module(training=True)
            # Booked before it is done: a fit that raises has spent what it asked for, whoever catches that.
            self._book(passes, fitted=True)
            fit(
                module,
                torch.from_numpy(data.images) if isinstance(data.images, np.ndarray) else data.images,
                torch.from_numpy(data.labels),
                epochs=epochs,
                batch_size=recipe.batch_size,
                seed=self.seed,
                optimiser=optimiser or gentle,
                schedule=schedule or cosine,
                loss=loss or self.loss,
                after_backward=after_backward,
                after_step=after_step,
                augment=self.augment or AUGMENTS[recipe.augment],
                precision=precision or recipe.precision,
                masks=net.all_masks,
                checkpoint=LedgerCheckpoint(self.ledger, self.ledger.owner, "epochs"),
                after_epoch=lambda epoch: self._tell(min(epoch * len(data.labels), passes) - passes),
            )
            return net.with_state(module)

        changes = stateful(after_backward, after_step, loss or self.loss)
        return self.ledger.remember(step, make, folder=self.ledger.owner, changes=changes)

    @contextlib.contextmanager
    def search(self) -> Iterator[None]:
        """A block whose image passes, of fits and of all else, are booked as a search, against ``search_epochs``."""
        if not self.search_epochs:
            raise BudgetError("no search was declared: write @technique(..., search_epochs=...) with what it may spend")
        around, self.searching = self.searching, True
        try:
            yield
        finally:
            self.searching = around

    @property
    def searched(self) -> int:
        """Image passes that searching took so far."""
        return (self.ledger.cost - self.before).searched_passes

    def logits(self, net: Net) -> NDArray[np.float32]:
        """Logits of the compiled net on the validation images."""
        return self._predicted(net, predict)

    def exit_logits(self, net: Net) -> list[NDArray[np.float32]]:
        """Logits of every exit of the compiled net on the validation images, every row going to the last one."""
        return [self.logits(net)] if net.route is None else self._predicted(net, predict_exits)

    def _predicted(self, net: Net, by: Callable[[Compiled, NDArray[np.float32]], T]) -> T:
        name, images = net.hash, self.splits["validation"].images
        if name not in self.compiled:
            self.compiled[name] = compiled_as_made(net, self.backend, threads=self.threads, images=images)
        self._book(len(images))
        logits = by(self.compiled[name], images)
        torch.set_num_threads(self.training_threads)  # a backend may have set its own
        return logits

    def workload(self, net: Net, *, batch_size: int = 1) -> Workload:
        """What the net executes for the first validation images."""
        images = torch.from_numpy(self.splits["validation"].images[:WORKLOAD_IMAGES])
        self._book(len(images))
        return record(net.module(), images, batch_size=batch_size, formats=net.formats)

    def energy(self, net: Net, *, batch_size: int = 1) -> EnergyReport:
        """Joules per input by the suite's first energy model, or seconds alone if it knows no joules."""
        return self.model.estimate(self.workload(net, batch_size=batch_size))

    def remember(self, key: str, make: Callable[[], T], *, shared: bool = False) -> T:
        """``make()``, or what it returned before a crash (or, if ``shared``, for other knobs)."""
        name = f"{''.join(c if c.isalnum() else '-' for c in key)}-{content_key(key)[:6]}"
        return self.ledger.remember(name, make, folder=self.shared if shared else self.ledger.owner)

    def note(self, name: str, value: Any) -> None:
        """Keep a JSON value with the result; ``TypeError`` for what JSON cannot hold."""
        self.notes[name] = msgspec.json.decode(msgspec.json.encode(value))

    def _trained_on(self, split: str) -> Split:
        if split not in ("train", "policy"):
            why = "it chooses between attempts" if split == "validation" else "a workbench has no other to train on"
            raise ValueError(f"a fit trains on 'train' or 'policy', not on {split!r}: {why}")
        if split == "train" and self.task.own is not None and not self.task.own.trains:
            raise ValueError("nothing can be trained: the task gives no training rows, so write train()")
        return self.splits[split]

    def _budget(self) -> tuple[int, int]:
        """Image passes of the budget in hand, and those of them that are spent."""
        spent = self.ledger.cost - self.before
        images = len(self.splits["train"].labels)
        if self.searching:
            return self.search_epochs * images, spent.searched_passes
        return self.epochs * images, spent.fitted_passes

    def _afford(self, passes: int) -> None:
        budget, spent = self._budget()
        if spent + passes > budget:
            whose = f"{self.search_epochs} epochs of search" if self.searching else f"{self.epochs} epochs of training"
            raise BudgetError(
                f"the budget is {whose} an attempt, {budget:,} image passes, of which {max(0, budget - spent):,} are "
                f"left: {passes:,} are too many"
            )

    def _book(self, passes: int, *, fitted: bool = False) -> None:
        """Book image passes; those of a search must be within its budget, a fit has asked before."""
        if self.searching:
            if not fitted:
                self._afford(passes)
            self.ledger.searched += passes
        elif fitted:
            self.ledger.fitted += passes
        self.ledger.passes += passes

    def _tell(self, passes: int) -> None:
        budget, spent = self._budget()
        self.going((spent + passes) / budget)
