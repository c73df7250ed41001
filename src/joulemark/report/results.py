"""Everything known of one task on one hardware class: its records, and the table that is computed from them once."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from joulemark.judging.losses import scored_by
from joulemark.judging.metrics.metric import Metric
from joulemark.judging.rules import Board, Candidate, boards, candidates
from joulemark.record import Attempt, Failure, FreeTrial, Made, Record, Trial, Truth
from joulemark.report.generations import Generations, generations_of
from joulemark.report.tabulate import Table, tabulate
from joulemark.task import BASELINE, Own


class Results(Record, frozen=True, kw_only=True, dict=True):
    """Everything known of one task on one hardware class. The first backend and batch size are the headline ones."""

    suite_name: str
    task_title: str
    hardware_class: str
    limits_points: Sequence[float]
    models: Sequence[str]
    backends: Sequence[str]
    batch_sizes: Sequence[int]
    command: str
    attempts: Sequence[Attempt]
    trials: Sequence[Trial]
    failures: Sequence[Failure] = ()
    damaged: Sequence[tuple[str, str]] = ()  # path and reason, as the store set them aside
    unsealed: Collection[str] = frozenset()  # keys of records that carry no seal: older than seals, or edited
    free: Sequence[FreeTrial] = ()  # what costs nothing
    truths: Mapping[str, Truth] = {}  # what scores are judged by, by key
    made: Mapping[str, Made] = {}  # how the nets of the attempts were made, by key
    folder: str = ""  # where the records lie; empty: nowhere
    own: Own | None = None  # of a task of a user's own
    task_file: str | None = None  # the file that builds its nets; empty: objects of one session

    @functools.cached_property
    def boards(self) -> tuple[Board, ...]:
        """The boards of the suite."""
        return boards(self.models)

    @functools.cached_property
    def baselines(self) -> dict[int, Trial]:
        """The baseline trial of each seed."""
        return {trial.seed: trial for trial in self.trials if trial.technique == BASELINE}

    @functools.cached_property
    def techniques(self) -> tuple[str, ...]:
        """Every technique tried, sorted; the place in this list is its colour everywhere."""
        tried = {attempt.technique for attempt in self.attempts} | {failure.technique for failure in self.failures}
        return tuple(sorted(tried - {BASELINE}))

    @functools.cached_property
    def pool(self) -> dict[str, list[Candidate]]:
        """The settings of each technique, seeds pooled, as the benchmark judged them."""
        groups: dict[str, list[Candidate]] = defaultdict(list)
        for candidate in candidates(self.attempts, self.boards, truths=self.truths):
            groups[candidate.technique].append(candidate)
        return dict(groups)

    @functools.cached_property
    def generations(self) -> Generations:
        """What changed since each record was made."""
        return generations_of(self.attempts, self.trials, self.free, self.made)

    @functools.cached_property
    def metric_title(self) -> str:
        """What the task's nets are judged by, in words."""
        return "accuracy" if self._metric is None else self._metric.title

    @property
    def lost_title(self) -> str:
        """What points of its loss are of, in words."""
        return self.metric_title if self._metric is None else self._metric.lost or self._metric.title

    @functools.cached_property
    def _metric(self) -> Metric | None:
        scores = [attempt.score for attempt in self.attempts if attempt.score is not None]
        scores += [score for trial in self.trials for score in trial.scores.values()]
        return scored_by(scores) if scores else None

    @functools.cached_property
    def table(self) -> Table:
        """All figures that are drawn. Raises ``ValueError`` for records whose ratios do not compare."""
        self._refuse_mixture()
        return tabulate(
            self.attempts,
            self.trials,
            truths=self.truths,
            pooled=[candidate.attempts for settings in self.pool.values() for candidate in settings],
            boards=self.boards,
            backends=self.backends,
            batch_sizes=self.batch_sizes,
        )

    def _refuse_mixture(self) -> None:
        """Refuse records of several hardware classes or several versions of a task: their ratios do not compare."""
        classes = {trial.hardware_class for trial in self.trials} | {self.hardware_class}
        classes |= {attempt.provenance.machine.hardware_class for attempt in self.attempts}
        if len(classes) > 1:
            raise ValueError(f"one board cannot compare hardware classes: {', '.join(sorted(classes))}")
        keys = {attempt.task_key for attempt in self.attempts} | {trial.task_key for trial in self.trials}
        if len(keys) > 1:
            raise ValueError(f"one board cannot compare versions of a task: keys {', '.join(sorted(keys))}")
