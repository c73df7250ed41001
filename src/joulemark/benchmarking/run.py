"""Running a suite: baselines, attempts, the choice on validation, trials. Finished steps are never run again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from joulemark.benchmarking.applying import Knobs
from joulemark.benchmarking.attempt import attempt_inputs, run_attempt
from joulemark.benchmarking.baselines import published
from joulemark.benchmarking.chains import Chain, attempts_of, chain_name, refuse_thin, searched_place
from joulemark.benchmarking.errors import AttemptError, sentence
from joulemark.benchmarking.free import measure_free
from joulemark.benchmarking.given import given_baseline
from joulemark.benchmarking.making import made_inputs, make_net
from joulemark.benchmarking.own_limits import why_not
from joulemark.benchmarking.search import next_knobs
from joulemark.benchmarking.session import Session, StoredNet
from joulemark.benchmarking.stored_suites import keep_suite
from joulemark.benchmarking.study_settings import study_settings
from joulemark.benchmarking.trial import run_trial, screen_baseline, trial_inputs
from joulemark.benchmarking.truths import truth_of
from joulemark.judging.repeated import unlike_its_attempt, unlike_its_making
from joulemark.judging.rules import boards, candidates, chosen
from joulemark.machine.machine import boot
from joulemark.record import Attempt, Failure, Made, Record, Study, Trial, content_key
from joulemark.task import BASELINE

Listener = Callable[["Event"], None]


class Event(Record, frozen=True, kw_only=True):
    """Something that happened in a run; ``done`` and ``steps`` count steps, ``steps`` being what is known so far."""

    what: str  # "started", "going" (some is done), "finished", "kept" (it was there), "failed" or "declined"
    step: str  # digest of its inputs
    title: str
    done: int
    steps: int
    seconds: float | None = None
    share: float | None = None  # of a step that is going, 0 to 1
    detail: str | None = None


class Outcome(Record, frozen=True, kw_only=True):
    """What a run did."""

    made: int
    kept: int
    failed: tuple[str, ...]  # one sentence each
    seconds: float


def run(session: Session, chains: Sequence[Chain], listen: Listener) -> Outcome:
    """Run a suite to its end. Whatever was finished before is kept; a technique that fails does not stop the others.

    Raises ``ValueError`` for a composition that the budget does not reach for, :class:`StoreError` if another run
    writes there.
    """
    refuse_thin(session.suite, chains)
    with session.store.held():
        return _Run(session, chains, listen).all()


def run_free(session: Session, listen: Listener) -> Outcome:
    """Measure what costs nothing for a suite, and nothing else; what is stored is kept."""
    with session.store.held():
        return _Run(session, (), listen).free()


class _Run:
    """A run in progress."""

    def __init__(self, session: Session, chains: Sequence[Chain], listen: Listener) -> None:
        self.session, self.chains, self.listen = session, chains, listen
        self.suite = session.suite
        self.boards = boards(self.suite.models)
        self.made = self.kept = 0
        self.measures = False  # whether this run measures a trial
        self.failed: list[str] = []
        self.began = time.monotonic()
        self.baselines: dict[int, tuple[Attempt, StoredNet]] = {}
        seeds = len(self.suite.seeds)
        per_chain = [attempts_of(self.suite, chain) for chain in chains]
        self.steps = seeds * (1 + sum(per_chain)) + seeds * (1 + len(chains))  # trials: a first guess

    def all(self) -> Outcome:
        if self.suite.task.own is not None:
            keep_suite(self.session)
        for seed in self.suite.seeds:
            self._baseline(seed)
        pool = [attempt for attempt, _ in self.baselines.values()]
        self._open_study()
        for chain in self.chains:
            found = self._search(chain)
            pool += found
            # A chain that failed keeps the rows that it had: the failure stands beside them.
            kept = () if found else self.study.attempts.get(chain_name(chain), ())
            mine = {chain_name(chain): tuple(attempt.key for attempt in found) or kept}
            self._keep(msgspec.structs.replace(self.study, attempts={**self.study.attempts, **mine}))
        self._drop_stale_trials()
        tested = self._chosen(pool)
        self.steps = self.made + self.kept + len(self.failed) + len(tested)
        self.measures = any(self._stored_trial(attempt) is None for attempt in tested)
        for attempt in tested:
            self._trial(attempt)
        if self.suite.free:
            self._free()
        return self._outcome()

    def free(self) -> Outcome:
        """The free board alone: of all baselines only the first seed's is trained, if it is not there."""
        if self.suite.task.own is not None:
            keep_suite(self.session)
        self._baseline(self.suite.seeds[0])
        self._open_study()
        self._free()
        return self._outcome()

    def _free(self) -> None:
        """Measure what costs nothing with the baseline of the first seed."""
        seed = self.suite.seeds[0]
        keys: list[str] = []

        def tell(title: str, made: int, kept: int, seconds: float | None) -> None:
            self.made, self.kept = self.made + made, self.kept + kept
            self._tell("started" if seconds is None else "finished" if made else "kept", "free", title, seconds=seconds)

        def keep(key: str) -> None:
            keys.append(key)
            self._keep(msgspec.structs.replace(self.study, free=tuple(keys)))

        measure_free(self.session, self.baselines[seed][1], seed, tell, keep)

    def _outcome(self) -> Outcome:
        return Outcome(made=self.made, kept=self.kept, failed=tuple(self.failed), seconds=time.monotonic() - self.began)

    def _open_study(self) -> None:
        """Go on with the stored study, unless rows of it could not stand beside those of this run.

        Rows that other code made, judged or measured stay: the board says so. Settings and baselines are the same.
        """
        suite, session = self.suite, self.session
        settings = study_settings(suite, session.filled, session.machine.hardware_class, session.counters)
        stored = session.store.study(suite.name)
        if stored is None or stored.settings != settings or not self._same_nets(stored):
            stored = Study(
                key=suite.name, settings=settings, limits_points=suite.limits_points, models=suite.models,
                baselines=(), screening=screen_baseline(session, self.baselines[suite.seeds[0]][1]),
            )  # fmt: skip
        mine = {seed: attempt.key for seed, (attempt, _) in self.baselines.items()}
        others = {
            attempt.seed: key for key in stored.baselines if (attempt := session.store.attempt(key)) is not None
        }  # of seeds that this run does not look at
        self._keep(msgspec.structs.replace(stored, baselines=tuple({**others, **mine}.values())))

    def _same_nets(self, study: Study) -> bool:
        """Whether the baselines of a study, as far as they can be read, are those of this run."""
        stored = (self.session.store.attempt(key) for key in study.baselines)
        nets = {seed: attempt.net for seed, (attempt, _) in self.baselines.items()}
        return all(attempt is None or nets.get(attempt.seed, attempt.net) == attempt.net for attempt in stored)

    def _drop_stale_trials(self) -> None:
        """Trials of attempts that the study no longer names (their technique was changed) leave it."""
        named = {*self.study.baselines, *(key for keys in self.study.attempts.values() for key in keys)}
        stored = {key: self.session.store.trial(key) for key in self.study.trials}
        trials = tuple(key for key, trial in stored.items() if trial is not None and trial.attempt in named)
        self._keep(msgspec.structs.replace(self.study, trials=trials))

    def _keep(self, study: Study) -> None:
        self.study = study
        self.session.store.put(study)

    def _baseline(self, seed: int) -> None:
        own = self.suite.task.own is not None
        given = given_baseline(self.session, seed) if own else self._published(seed)
        inputs = made_inputs(self.session, (), (), seed, None)
        attempt = self._step(
            inputs,
            f"baseline, seed {seed}",
            lambda: self._judged(given or self.session.current(Made, inputs)),
            lambda: run_attempt(self.session, given or make_net(self.session, inputs, (), (), seed, None), None),
        )
        stored = self.session.net(attempt.net)
        if stored is None:
            raise AttemptError(
                f"the saved baseline net {attempt.net} is missing or damaged: remove attempts/{attempt.key}.json to "
                "train anew"
            )
        self.baselines[seed] = (attempt, stored)
        truth_of(self.session, "validation", stored)  # if its file was lost or damaged, it is written again

    def _published(self, seed: int) -> Made | None:
        """The making of the published baseline, put into the store with its net; ``None`` without one, or if fresh."""
        given = published(self.suite.task, seed)
        if given is None:
            return None
        made, net = given
        if self.session.fresh:
            self.session.passed_over.append(made)
            return None
        if self.session.net(made.net) is None:
            self.session.save_net(net)
        if self.session.store.made(made.key) is None:
            self.session.store.put(made)
        return made

    def _judged(self, made: Made | None) -> Attempt | None:
        """The judgement of a net by the code of now, if it is stored.

        Two runs may have made one key, before runs held their folder: the net is then judged again.
        """
        judged = None if made is None else self.session.current(Attempt, attempt_inputs(self.session, made.key))
        return judged if made is None or judged is None or not unlike_its_making(judged, made) else None

    def _search(self, chain: Chain) -> list[Attempt]:
        """The attempts of one technique: every setting on every seed before the next setting is decided."""
        name, place = chain_name(chain), searched_place(chain)
        searched = chain[place]
        history: list[tuple[dict[str, Any], float]] = []
        found: list[Attempt] = []
        for number in range(attempts_of(self.suite, chain)):
            settings = next_knobs(searched, history, self.suite.limits_points)
            if settings is None:
                break
            # By its place: the same technique may stand in the chain again, where it keeps its own.
            knobs = tuple(settings if here == place else dict(one.knobs) for here, one in enumerate(chain))
            shown = f" {searched.knob} {settings[searched.knob]:g}" if searched.knob else ""
            group = []
            for seed in self.suite.seeds:
                attempt = self._attempt(chain, knobs, seed, f"{name}{shown}, seed {seed} (attempt {number + 1})")
                if attempt is None:
                    return found  # it failed: other settings of it would only repeat that
                group.append(attempt)
            found += group
            tries = attempts_of(self.suite, chain)  # judged as strictly while searching as when the winner is chosen
            pool = [*(attempt for attempt, _ in self.baselines.values()), *group]
            pooled = candidates(pool, self.boards, truths=self.session.store.truths(), tries=tries)
            history.append((settings, pooled[0].bound_points))
        return found

    def _attempt(self, chain: Chain, knobs: tuple[dict[str, Any], ...], seed: int, title: str) -> Attempt | None:
        judged, baseline = self.baselines[seed]
        if (reason := why_not(self.suite.task, chain)) is not None:
            self._keep_failure(chain, knobs, seed, title, reason, declined=True)
            return None
        inputs = made_inputs(self.session, chain, knobs, seed, baseline)
        store = self.session.store
        try:
            attempt: Attempt = self._step(
                inputs,
                title,
                lambda: self._judged(self.session.current(Made, inputs)),
                lambda: run_attempt(
                    self.session,
                    make_net(self.session, inputs, chain, knobs, seed, baseline),
                    baseline,
                    judged.seconds.value,
                ),
            )
        except AttemptError as error:
            reason = sentence(error)
            self.failed.append(f"{title}: {reason}")
            self._keep_failure(chain, knobs, seed, title, reason)
            return None
        store.remove(f"failures/{content_key('failure', self.suite.task.key, chain_name(chain))}.json")
        return attempt

    def _keep_failure(
        self, chain: Chain, knobs: Knobs, seed: int, title: str, reason: str, *, declined: bool = False
    ) -> None:
        """Keep why a technique has no row: it failed, or this task does not allow it."""
        task = self.suite.task
        key = content_key("failure", task.key, chain_name(chain))
        failure = Failure(
            key=key, task=task.name, task_key=task.key, technique=chain_name(chain), knobs=tuple(map(dict, knobs)),
            seed=seed, reason=reason, started=datetime.now(UTC).isoformat(timespec="seconds"), declined=declined,
        )  # fmt: skip
        self.session.store.put(failure)
        self._tell("declined" if declined else "failed", key, title, detail=reason)

    def _chosen(self, pool: Sequence[Attempt]) -> list[Attempt]:
        """Attempts to measure and test: the baselines and what the rules choose of each technique."""
        settings = candidates(pool, self.boards, truths=self.session.store.truths())
        keys = [attempt.key for attempt, _ in self.baselines.values()]
        for shown in chosen(settings, self.boards, self.suite.limits_points).values():
            keys += [key for candidate in shown for key in candidate.attempts]
        by_key = {attempt.key: attempt for attempt in pool}
        return [by_key[key] for key in dict.fromkeys(keys)]

    def _stored_trial(self, attempt: Attempt) -> Trial | None:
        """The trial of an attempt, if it is there.

        An A/A control of before the machine was started counts no more where something is measured in this run: every
        run has a control of its own.
        """
        trial = self.session.current(Trial, self._trial_inputs(attempt))
        if trial is not None and any(unlike_its_attempt(trial, attempt)):
            return None  # another run measured another net under this key
        if trial is not None and any(
            one.truth is not None and self.session.store.truth(one.truth) is None for one in trial.scores.values()
        ):
            truth_of(self.session, "test", self.baselines[attempt.seed][1])
        if trial is None or attempt.technique != BASELINE or not self.measures:
            return trial
        return trial if trial.provenance.boot == boot() else None

    def _trial_inputs(self, attempt: Attempt) -> str:
        return trial_inputs(self.session, attempt, self.baselines[attempt.seed][0], self.study.screening)

    def _trial(self, attempt: Attempt) -> None:
        inputs = self._trial_inputs(attempt)
        title = f"measure and test {'A/A control' if attempt.technique == BASELINE else attempt.technique}"
        try:
            trial: Trial = self._step(
                inputs,
                f"{title}, seed {attempt.seed}",
                lambda: self._stored_trial(attempt),
                lambda: run_trial(self.session, attempt, self.baselines[attempt.seed][0], self.study.screening),
            )
        except (ValueError, RuntimeError) as error:  # one net that does not run must not stop the others
            self.failed.append(f"{title}: {sentence(error)}")
            self._tell("failed", inputs, title, detail=sentence(error))
            return
        if trial.key not in self.study.trials:
            self._keep(msgspec.structs.replace(self.study, trials=(*self.study.trials, trial.key)))

    def _step(self, key: str, title: str, find: Callable[[], Any], make: Callable[[], Any]) -> Any:
        """``find()``, or ``make()``, stored; the listener is told."""
        record: Attempt | Trial | None = find()
        if record is not None:
            self.kept += 1
            self._tell("kept", key, title)
            return record
        self._tell("started", key, title)
        self.session.going = lambda share: self._tell("going", key, title, share=share)
        began = time.monotonic()
        record = make()
        self.session.store.put(record)
        self.made += 1
        self._tell("finished", key, title, seconds=time.monotonic() - began)
        return record

    def _tell(
        self,
        what: str,
        key: str,
        title: str,
        *,
        seconds: float | None = None,
        share: float | None = None,
        detail: str | None = None,
    ) -> None:
        done = self.made + self.kept + len(self.failed)
        steps = max(self.steps, done)
        self.listen(
            Event(what=what, step=key, title=title, done=done, steps=steps, seconds=seconds, share=share, detail=detail)
        )
