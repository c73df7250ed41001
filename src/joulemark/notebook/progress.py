"""A run's progress: a bar with the time left, plain lines into a file or pipe, JSON lines for a script."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import typer

if TYPE_CHECKING:
    from joulemark.benchmarking.run import Event

PLAIN_SECONDS = 20.0
"""A step that is going has at most one plain line in this time."""


@contextmanager
def listening(*, json: bool) -> Iterator[Callable[[Event], None]]:
    """A listener for a run, fitting where its output goes."""
    if json:
        yield lambda event: typer.echo(msgspec.json.encode(event).decode())
    elif sys.stdout.isatty():
        with _bar() as listen:
            yield listen
    else:
        yield _plain()


def _plain() -> Callable[[Event], None]:
    left = TimeLeft()
    printed = time.monotonic()

    def listen(event: Event) -> None:
        nonlocal printed
        remaining = left.after(event)
        soon = f", about {_clock(remaining)} left" if remaining else ""
        if event.what == "going" and time.monotonic() - printed >= PLAIN_SECONDS:
            printed = time.monotonic()
            typer.echo(f"[{event.done}/{event.steps}{soon}] {event.title}: {event.share or 0.0:.0%} done")
        elif event.what in ("finished", "failed", "declined"):
            printed = time.monotonic()
            took = f" in {event.seconds:.1f} s" if event.seconds is not None else ""
            detail = f": {event.detail}" if event.detail else ""
            what = "not run:" if event.what == "declined" else event.what
            typer.echo(f"[{event.done}/{event.steps}{soon}] {what} {event.title}{took}{detail}")

    return listen


@contextmanager
def _bar() -> Iterator[Callable[[Event], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(), MofNCompleteColumn(), BarColumn(bar_width=24), TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"), TextColumn("{task.description}"),
    )  # fmt: skip
    left = TimeLeft()
    with Progress(*columns) as progress:
        bar = progress.add_task("starting", total=None, left="")

        def listen(event: Event) -> None:
            remaining = left.after(event)
            soon = f"about {_clock(remaining)} left" if remaining else ""
            progress.update(
                bar, completed=event.done + (event.share or 0.0), total=event.steps, description=event.title, left=soon
            )
            if event.what == "failed":
                progress.console.print(f"failed: {event.title}: {event.detail}", markup=False)

        yield listen


class TimeLeft:
    """Seconds left, from the mean time of the steps made here; steps that were kept took none."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.made = 0

    def after(self, event: Event) -> float | None:
        """Seconds left after an event; ``None`` before anything is known.

        The share of a step that is going counts as that much of a step.
        """
        self.made += event.what in ("finished", "failed")
        share = event.share or 0.0
        if not self.made + share:
            return None
        return (time.monotonic() - self.began) / (self.made + share) * (event.steps - event.done - share)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
