"""What runs a suite again as it was run: the command, or the call where objects of a session were given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Run(Protocol):
    """What is read of a suite: :class:`joulemark.benchmarking.suite.Suite` has it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def task(self) -> Any: ...  # noqa: D102
    @property
    def limits_points(self) -> Sequence[float]: ...  # noqa: D102


def run_command(suite: Run, technique: str | None = None) -> str:
    """The command that runs a suite, with its limits of points and images; with one ``technique`` alone if named."""
    named, images = _named_limit(suite), suite.task.limit_images
    if task_file(suite) == "":
        options = {"techniques": technique and [technique], "limit": named, "limit_images": images}
        said = [f"{name}={value!r}" for name, value in options.items() if value is not None]
        return f"joulemark.benchmark({', '.join(['task', *said])})"
    said = [] if technique is None else [f"-t {technique}"]
    said += [] if named is None else [f"--limit {named:g}"]
    said += [] if images is None else [f"--limit-images {images}"]
    return " ".join(["joulemark run", task_file(suite) or _without_limit(suite), *said])


def task_file(suite: Run) -> str | None:
    """The file that builds the nets of a user's task; empty if only one session could, ``None`` if it is ours."""
    own = suite.task.own
    return None if own is None else f"{_without_limit(suite)}.py" if own.isolated else ""


def _named_limit(suite: Run) -> float | None:
    """The limit in points that a suite is named after, if it is."""
    limit = suite.limits_points[0]
    own = suite.task.own is not None and suite.name == suite.task.name.removesuffix(f"-first{suite.task.limit_images}")
    return limit if suite.name.endswith(_ending(limit)) and not own else None


def _without_limit(suite: Run) -> str:
    limit = _named_limit(suite)
    return suite.name if limit is None else suite.name.removesuffix(_ending(limit))


def _ending(limit: float) -> str:
    return f"-limit{limit:g}"
