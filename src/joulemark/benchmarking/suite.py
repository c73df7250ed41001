"""A suite: a task, techniques, seeds, backends and how to measure.

This module declares and does nothing else: what it declares is in the digest of the inputs of what is made.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from joulemark.record import Record
from joulemark.task import Positive, Rate, Task, refuse_name

Points = Annotated[float, msgspec.Meta(gt=0, le=100)]
Seed = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
Name = Annotated[str, msgspec.Meta(min_length=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
Pace = Annotated[float, msgspec.Meta(ge=1e-3, le=1e6)]
Blocks = Annotated[int, msgspec.Meta(ge=3, le=10_000)]


class Budget(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What one technique may spend on one seed: attempts, and epochs over the train split in each.

    The two ways cost the same number of image passes; everything spent is shown as the cost of making.
    """

    trained_epochs: Positive
    trained_attempts: Positive
    scratch_epochs: Positive
    scratch_attempts: Positive
    minutes: Rate = 60.0  # wall-clock limit of one attempt; one that hangs is stopped and reported

    def __post_init__(self) -> None:
        """Raise ``ValueError`` if one way may spend more than the other."""
        trained, scratch = self.trained_epochs * self.trained_attempts, self.scratch_epochs * self.scratch_attempts
        if trained != scratch:
            raise ValueError(f"unequal budgets: {trained} epochs from the trained net, {scratch} from scratch")

    def of(self, start: str) -> tuple[int, int]:
        """(attempts, epochs in each) for a technique that starts from "trained" or from "scratch"."""
        if start == "scratch":
            return self.scratch_attempts, self.scratch_epochs
        return self.trained_attempts, self.trained_epochs


class Measuring(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Lengths of windows in seconds and how many blocks; a block holds two windows of each net."""

    window_seconds: Seconds  # at least; a window is whole passes over the images
    blocks: Blocks
    joules_window_seconds: Seconds = 10.0  # where there is an energy counter
    joules_blocks: Blocks = 3
    screening_seconds: Seconds = 0.05
    images: Positive = 256  # validation images that a window cycles through
    order_seed: int = 0  # with the trial's key, the seed of its order
    paced: tuple[Pace, ...] = ()  # inputs per second of the paced scenario
    paced_seconds: Seconds = 1.0  # of one paced window; a slow pace gets as long as two inputs take


class Suite(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What ``joulemark run`` runs."""

    name: Name
    techniques: tuple[Name, ...]  # names, or names joined by "+" to compose
    seeds: Annotated[tuple[Seed, ...], msgspec.Meta(min_length=1)]
    limits_points: Annotated[tuple[Points, ...], msgspec.Meta(min_length=1)]
    backends: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]  # the first one is the headline's
    batch_sizes: Annotated[tuple[Positive, ...], msgspec.Meta(min_length=1)]
    home_only: tuple[Positive, ...] = ()  # batch sizes at which a net is measured on its home backend alone
    models: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]
    threads: Positive = 1
    free: bool = False  # measure what costs nothing (runtime, threads, batch, layout, precision) as the last step
    budget: Budget
    measuring: Measuring
    task: Task

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a name that makes no file, and for a list that says something twice."""
        refuse_name("name", self.name)
        lists = {name: getattr(self, name) for name in LISTS} | {"measuring.paced": self.measuring.paced}
        for name, values in lists.items():
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise ValueError(f"{name} says {twice!r} twice: once is enough")


LISTS = ("techniques", "seeds", "limits_points", "backends", "batch_sizes", "home_only", "models")
"""Fields of a suite in which nothing may stand twice: it would be run, or shown, twice."""
