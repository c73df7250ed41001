"""`joulemark.benchmark`: run a suite or a task of one's own from Python, and look at what came out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from joulemark.benchmarking.chains import chains_of
from joulemark.benchmarking.own_suite import refuse_too_few
from joulemark.benchmarking.own_task import OwnTask, open_task, refuse_replaced
from joulemark.benchmarking.plan import plan
from joulemark.benchmarking.run import Event, Outcome, run
from joulemark.benchmarking.session import Session
from joulemark.benchmarking.suite import Suite
from joulemark.benchmarking.suite_files import load_suite, narrowed
from joulemark.data import load
from joulemark.data.own.own_data import own_data
from joulemark.machine.atomic_files import replace_file
from joulemark.nets.net import Net
from joulemark.notebook.exporting import ROWS, write_net
from joulemark.notebook.progress import listening
from joulemark.notebook.showing import as_text, framed
from joulemark.notebook.small_plot import small_board
from joulemark.report.comparison import Comparison, compare
from joulemark.report.load import load_results, task_folder
from joulemark.report.page import render_page
from joulemark.report.results import Results
from joulemark.report.rows import Row
from joulemark.report.whole_board import headline_view, whole_board, whole_board_dicts
from joulemark.store import Store
from joulemark.vocabulary import unknown_name_message


class ShownComparison(Comparison, frozen=True, kw_only=True):
    """A comparison that prints as its sentence. Its fields are the figures."""

    def __repr__(self) -> str:
        return self.sentence


class ShownBoard:
    """The boards of a study: they print as the command does, ``rows`` are the figures and a notebook shows the page."""

    def __init__(self, results: Results) -> None:
        self.results = results

    @property
    def rows(self) -> dict[str, Row]:
        """Technique -> its row on the board of seconds, at the largest limit."""
        view = headline_view(self.results)
        return {row.technique: row for row in (*view.rows, *view.ineligible)}

    def as_dicts(self) -> list[dict[str, Any]]:
        """Every board as plain values, as ``joulemark board --json`` prints them."""
        return whole_board_dicts(self.results)

    def __repr__(self) -> str:
        return as_text(whole_board(self.results))

    def _repr_html_(self) -> str:
        return framed(render_page(self.results))


class Study:
    """What a run left in a folder of results. Made by :func:`benchmark`.

    ``outcome`` says what the run made and what failed, ``results`` holds every record.
    """

    def __init__(self, suite: Suite, folder: str, hardware_class: str, outcome: Outcome) -> None:
        self.suite, self.folder, self.outcome = suite, folder, outcome
        self.results = load_results(suite, folder, hardware_class)

    def board(self) -> ShownBoard:
        """The boards: who is ranked where, who is not, and why."""
        return ShownBoard(self.results)

    def compare(
        self, first: str, second: str, *, board: str = "seconds", limit: float | None = None
    ) -> ShownComparison:
        """Which of two techniques costs less, with figures, or why there is no verdict.

        ``board`` is "seconds", "joules" or an energy model of the suite; ``limit`` one of its limits in points, the
        largest if not given. Raises ``ValueError`` for names that are not known.
        """
        answer = compare(self.results, first, second, board=board, limit_points=limit)
        return ShownComparison(**msgspec.structs.asdict(answer))

    def report(self, path: str | Path = "report.html") -> Path:
        """Write the page, one file that needs no network; its path. ``OSError`` if it cannot be written."""
        place = Path(path).resolve()
        replace_file(place, render_page(self.results).encode())
        return place

    def export(self, technique: str, path: str | Path) -> Path:
        """Write the net of a technique's row (first seed) as one .onnx or .pt2 file, once that computed the same.

        It is run on real validation rows. The file needs neither Joulemark nor the code that built the net; inputs are
        prepared by whoever runs it. Raises ``ValueError`` for a technique without a trial or another ending.
        """
        keys = [trial.net for trial in self.results.trials if trial.technique == technique]
        if not keys:
            known = sorted({trial.technique for trial in self.results.trials})
            raise ValueError(unknown_name_message("technique with a net that was measured", technique, known))
        return write_net(self._net(keys[0]), Path(path), load(self.suite.task)["validation"].images[:ROWS])

    def _net(self, key: str) -> Net:
        task = task_folder(self.suite)
        data = Store(self.folder, hardware_class=self.results.hardware_class, task=task).read(f"nets/{key}.safetensors")
        if data is None:
            raise ValueError(f"the net {key} is not in {self.folder} any more: run the study again")
        return Net.from_bytes(data)

    def __repr__(self) -> str:
        return as_text(whole_board(self.results))

    def _repr_html_(self) -> str:
        return small_board(self.results)


def benchmark(
    task_or_suite: str | Path | OwnTask = "quick",
    techniques: Sequence[str] = (),
    *,
    files: Sequence[str | Path] = (),
    limit: float | None = None,
    seeds: int | None = None,
    limit_images: int | None = None,
    results: str | Path = "runs",
    listen: Callable[[Event], None] | None = None,
) -> Study:
    """Run a suite, a task file or a task of one's own, and give what came out; what is in ``results`` is kept.

    ``task_or_suite`` is a suite's name, the path of a .toml suite or of a task file (``mine.py``), or what
    :func:`joulemark.custom_task` gave. ``techniques`` takes the place of those of the suite and may name what
    ``files`` define. ``limit`` is how many points may be lost, ``seeds`` how many there are, ``limit_images`` how many
    images are taken of each split at most, for a try. ``listen`` hears what happens instead of the usual lines. Raises
    ``ValueError`` for what is not known or cannot be run.

    >>> benchmark("quik")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    joulemark.benchmarking.suite_files.SuiteError: unknown suite 'quik': did you mean 'quick'? Known: ...
    """
    if isinstance(techniques, str):
        raise ValueError(f"techniques = {techniques!r:.80}: give a list of names, as [{techniques!r:.60}]")
    suite = narrowed(
        _suite(task_or_suite, limit), techniques=tuple(techniques), seeds=seeds, limit_images=limit_images, limit=limit
    )
    if suite.task.own is not None:
        validation = own_data(suite.task).splits["validation"]
        groups = validation.given.groups
        refuse_too_few(suite.task, suite.limits_points, None if groups is None else groups[validation.places])
    chains = chains_of(suite.techniques, [Path(file) for file in files])
    with closing(Session.open(suite, results, command="joulemark.benchmark")) as session:
        plan(session, chains)  # what cannot be run is said before anything is
        if listen is not None:
            outcome = run(session, chains, listen)
        else:
            with listening(json=False) as lines:
                outcome = run(session, chains, lines)
        return Study(suite, str(results), session.machine.hardware_class, outcome)


def _suite(given: str | Path | OwnTask, limit: float | None) -> Suite:
    if isinstance(given, OwnTask):
        refuse_replaced(given)
        return given.suite
    if str(given).endswith(".py"):
        return open_task(given, limit=limit).suite
    return load_suite(str(given))
