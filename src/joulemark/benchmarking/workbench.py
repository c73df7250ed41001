"""The workbench: all that a technique may use, metered. It holds no test data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from joulemark.backends.backend import WORKLOAD_IMAGES, Backend, Compiled, predict
from joulemark.benchmarking.ledger import Ledger, LedgerCheckpoint
from joulemark.data.splits import Split
from joulemark.energy.model import EnergyModel
from joulemark.nets.net import Net
from joulemark.record import EnergyReport, Workload, content_key
from joulemark.task import Task
from joulemark.training import AUGMENTS, Callback, Loss, MakeOptimiser, Schedule, cosine, cross_entropy, fit, sgd
from joulemark.workloads.recording import record

T = TypeVar("T")
CALIBRATION_IMAGES = 512
FINE_TUNING_SHARE = 0.1
"""Learning rate of a fine-tuning fit over that of the baseline's recipe, unless the technique says otherwise."""


class BudgetError(RuntimeError):
    """A technique asked for more image passes than its budget holds."""


@dataclasses.dataclass
class Bench:
    """Implements :class:`joulemark.techniques.technique.Workbench` for one attempt."""

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
    going: Callable[[float], None] = lambda share: None  # told after every epoch: the share of the budget that is spent
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    compiled: dict[str, Compiled] = dataclasses.field(default_factory=dict)
    before: int = 0  # fitted passes of this attempt when the technique in hand got its epochs

    def grant(self, epochs: int) -> None:
        """Give the technique that comes next its ``epochs``, whatever those before it spent."""
        self.epochs, self.before = epochs, self.ledger.cost.fitted_passes

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
            self.ledger.passes += len(rows)
            yield torch.from_numpy(data.images[rows]), torch.from_numpy(data.labels[rows])

    def fit(
        self,
        net: Net,
        *,
        epochs: int,
        loss: Loss | None = None,
        optimiser: MakeOptimiser | None = None,
        schedule: Schedule | None = None,
        after_backward: Callback | None = None,
        after_step: Callback | None = None,
    ) -> Net:
        """Train on the train split within the budget; a finished fit is a step that is never run again."""
        train, recipe = self.splits["train"], self.task.recipe
        passes = epochs * len(train.labels)
        budget, spent = self.epochs * len(train.labels), self.ledger.cost.fitted_passes - self.before
        step = self.ledger.numbered("fit")
        if not self.ledger.has(step, folder=self.ledger.owner) and spent + passes > budget:
            raise BudgetError(f"the budget is {self.epochs} epochs of training an attempt; this fit would pass it")
        gentle = sgd(
            recipe.learning_rate * FINE_TUNING_SHARE, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )

        def make() -> Net:
            torch.set_num_threads(self.training_threads)
            module = net.module(formats=False)
            fit(
                module,
                torch.from_numpy(train.images),
                torch.from_numpy(train.labels),
                epochs=epochs,
                batch_size=recipe.batch_size,
                seed=self.seed,
                optimiser=optimiser or gentle,
                schedule=schedule or cosine,
                loss=loss or cross_entropy,
                after_backward=after_backward,
                after_step=after_step,
                augment=AUGMENTS[recipe.augment],
                precision=recipe.precision,
                masks=net.all_masks,
                checkpoint=LedgerCheckpoint(self.ledger, self.ledger.owner, "epochs"),
                after_epoch=lambda epoch: self.going((spent + epoch * len(train.labels)) / budget),
            )
            self.ledger.passes += passes
            self.ledger.fitted += passes
            return net.with_state(module)

        return self.ledger.remember(step, make, folder=self.ledger.owner)

    def logits(self, net: Net) -> NDArray[np.float32]:
        """Logits of the compiled net on the validation images."""
        if net.hash not in self.compiled:
            self.compiled[net.hash] = self.backend.compile(net, threads=self.threads)
        images = self.splits["validation"].images
        self.ledger.passes += len(images)
        found = predict(self.compiled[net.hash], images)
        torch.set_num_threads(self.training_threads)  # a backend may have set its own
        return found

    def workload(self, net: Net, *, batch_size: int = 1) -> Workload:
        """What the net executes for the first validation images."""
        images = torch.from_numpy(self.splits["validation"].images[:WORKLOAD_IMAGES])
        self.ledger.passes += len(images)
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
