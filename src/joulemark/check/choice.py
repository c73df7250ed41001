"""Whether a study names all that was tried, and whether what was tested is what the rules choose of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from joulemark.check.scores import scores_of
from joulemark.judging.rules import boards, candidates, chosen
from joulemark.judging.settings import setting_key
from joulemark.record import Attempt, Failure, FreeTrial, Made, Provenance, Study, Truth
from joulemark.report.words import knobs
from joulemark.task import BASELINE

Records: TypeAlias = Mapping[str, Any]
"""Records of one folder by their path below it, "attempts/<key>.json"."""


def study_faults(study: Study, records: Records) -> Iterator[str]:
    """What a study names and is not there, or is something else; and what it should name."""
    pool = _pool(study, records)
    for technique, keys in {BASELINE: study.baselines, **study.attempts}.items():
        for key in keys:
            attempt = records.get(f"attempts/{key}.json")
            if attempt is None:
                yield f"attempt {key} of {technique} is not there or cannot be read"
            elif attempt.technique != technique:
                yield f"attempt {key} is of {attempt.technique}, named as {technique}"
            elif set(attempt.models) != set(study.models):
                yield f"attempt {key} is judged by {_listed(attempt.models)}, the study by {_listed(study.models)}"
    seeds = [attempt.seed for attempt in pool if attempt.technique == BASELINE]
    if len(set(seeds)) < len(seeds):
        yield "two baselines share a seed"
    for seed in sorted({attempt.seed for attempt in pool} - set(seeds)):
        yield f"seed {seed} has no baseline"
    yield from _ragged(pool, set(seeds))
    for key in study.free:
        if f"free/{key}.json" not in records:
            yield f"free setting {key} is not there or cannot be read"
    yield from _tested(study, records)
    if not study.limits_points:
        yield "does not say its limits, so the choice cannot be made again: run the suite, which repeats no step"
        return
    for technique in study.attempts:
        if not unreadable(study, technique, records):
            yield from _choice(study, technique, records)
    yield from _baselines_tested(study, records)


def unreadable(study: Study, technique: str, records: Records) -> bool:
    """Whether an attempt is missing, without which the choice of a technique cannot be made again."""
    keys = (*study.baselines, *study.attempts[technique])
    return any(f"attempts/{key}.json" not in records for key in keys)


def miscounted(records: Records) -> Iterator[tuple[str, str]]:
    """Records whose scores are of another number of images than most scores of the task: path and sentence."""
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for record in records.values():
        for score in scores_of(record):
            counts[score.split][score.rows] += 1
    usual = {split: max(seen, key=lambda images: (seen[images], images)) for split, seen in counts.items()}
    for path, record in records.items():
        for split, images in sorted({(score.split, score.rows) for score in scores_of(record)}):
            if images != usual[split]:
                yield path, f"a score is of {images:,} {split} images; others of this task are of {usual[split]:,}"


def hidden(records: Records) -> Iterator[tuple[str, str]]:
    """Attempts and free settings that no study names, though the code of a study made them: path and sentence.

    Those of other code are left from an older generation. So is a net judged in two ways of which a study names one:
    the key of an attempt holds all that decides how it is judged. What stands beside a failure was never finished.
    """
    studies = _of(records, Study)
    if not studies:
        return
    named = {key for study in studies.values() for key in named_attempts(study)}
    own = [attempt for attempt in _of(records, Attempt).values() if attempt.key in named]
    builds = {_build(attempt.provenance) for attempt in own}
    codes: dict[str, set[Any]] = defaultdict(set)
    for attempt in own:
        codes[attempt.technique].add((*_build(attempt.provenance), _code(attempt, records)))
    judged = {attempt.made for attempt in own}
    failed = {setting_key(one.technique, one.knobs) for one in _of(records, Failure).values()}
    for path, attempt in _of(records, Attempt).items():
        beside = setting_key(attempt.technique, attempt.knobs) in failed
        if attempt.key in named or attempt.made in judged or beside:
            continue
        known, build = codes.get(attempt.technique), _build(attempt.provenance)
        if build in builds if known is None else (*build, _code(attempt, records)) in known:
            yield path, _unnamed(f"{_told(attempt)}, seed {attempt.seed}")
    yield from _hidden_free(records, studies, builds)


def _hidden_free(records: Records, studies: Mapping[str, Study], builds: set[Any]) -> Iterator[tuple[str, str]]:
    """Free settings of the studies' baselines; one that was measured twice may be named once."""
    every = _of(records, FreeTrial)
    named = {key for study in studies.values() for key in study.free}
    own = [free for free in every.values() if free.key in named]
    shown, builds = {_setting(free) for free in own}, builds | {_build(free.provenance) for free in own}
    baselines = {key for study in studies.values() for key in study.baselines}
    nets = {attempt.net for attempt in _of(records, Attempt).values() if attempt.key in baselines}
    for path, free in every.items():
        unnamed = free.key not in named and _setting(free) not in shown
        if unnamed and free.net in nets and _build(free.provenance) in builds:
            threads = f"{free.threads} {'thread' if free.threads == 1 else 'threads'}"
            name = " ".join((free.backend, *free.options))
            yield path, _unnamed(f"{name}, {threads}, batch {free.batch_size}")


def second_controls(records: Records) -> Iterator[tuple[str, str]]:
    """Free settings that call themselves the control of a group that has one: path and sentence."""
    seen: set[Any] = set()
    for path, free in _of(records, FreeTrial).items():
        group = (free.net, free.order_seed, free.order, str(free.conditions))
        if free.control and free.order and group in seen:
            yield path, "is the second control of its group"
        elif free.control:
            seen.add(group)


def named_attempts(study: Study) -> list[str]:
    """Keys of all attempts that a study names, baselines first."""
    return [*study.baselines, *(key for keys in study.attempts.values() for key in keys)]


def _pool(study: Study, records: Records) -> list[Attempt]:
    """The attempts of a study that are there and named as what they are."""
    found = {
        key: (technique, records.get(f"attempts/{key}.json"))
        for technique, keys in {BASELINE: study.baselines, **study.attempts}.items()
        for key in keys
    }
    return [attempt for technique, attempt in found.values() if attempt is not None and attempt.technique == technique]


def _ragged(pool: list[Attempt], seeds: set[int]) -> Iterator[str]:
    """A setting is tried with every seed before the next one is, so it stands in a study with all of them."""
    tried: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in pool:
        if attempt.technique != BASELINE:
            tried[setting_key(attempt.technique, attempt.knobs)].append(attempt)
    for found in tried.values():
        if missing := sorted(seeds - {attempt.seed for attempt in found}):
            yield f"{_told(found[0])} is named without seed {missing[0]}"


def _tested(study: Study, records: Records) -> Iterator[str]:
    """Each attempt that was tested is named, and was tested once."""
    trials = {key: records.get(f"trials/{key}.json") for key in study.trials}
    yield from (f"trial {key} is not there or cannot be read" for key, trial in trials.items() if trial is None)
    counts = Counter(trial.attempt for trial in trials.values() if trial is not None)
    yield from (f"attempt {key} was tested {count} times" for key, count in sorted(counts.items()) if count > 1)
    missing = sorted({*counts} - {*named_attempts(study)})
    yield from (f"a trial is of attempt {key}, which the study does not name" for key in missing)


def _choice(study: Study, technique: str, records: Records) -> Iterator[str]:
    """The trials of a technique are of the attempts that the rules choose, and of no others."""
    all_boards = boards(study.models)
    pool = [one for one in _pool(study, records) if one.technique in (BASELINE, technique)]
    truths = {truth.key: truth for truth in _of(records, Truth).values()}
    try:
        settings = chosen(candidates(pool, all_boards, truths=truths), all_boards, study.limits_points)
    except (ValueError, ArithmeticError) as error:
        yield f"the choice of {technique} cannot be made again: {error}"
        return
    right = {key for found in settings.values() for candidate in found for key in candidate.attempts}
    tested = _tested_keys(study, records)
    names = {one.key: f"{one.technique}, seed {one.seed}" for one in pool if one.technique == technique}
    for key in sorted(right - tested):
        yield f"attempt {key} ({names[key]}) is chosen by the rules and was not tested"
    for key in sorted((tested & set(names)) - right):
        yield f"attempt {key} ({names[key]}) was tested, though the rules do not choose it"


def _baselines_tested(study: Study, records: Records) -> Iterator[str]:
    tested = _tested_keys(study, records)
    for attempt in _pool(study, records):
        if attempt.technique == BASELINE and attempt.key not in tested:
            yield f"attempt {attempt.key} (baseline, seed {attempt.seed}) is chosen by the rules and was not tested"


def _tested_keys(study: Study, records: Records) -> set[str]:
    trials = (records.get(f"trials/{key}.json") for key in study.trials)
    return {trial.attempt for trial in trials if trial is not None}


def _build(provenance: Provenance) -> tuple[str, str | None]:
    return provenance.joulemark, provenance.commit


def _code(attempt: Attempt, records: Records) -> tuple[tuple[str, str], ...] | None:
    made: Made | None = records.get(f"made/{attempt.made}.json")
    return None if made is None else tuple(sorted(made.code.items()))


def _setting(free: FreeTrial) -> tuple[Any, ...]:
    return free.net, free.backend, free.options, free.threads, free.batch_size


def _told(attempt: Attempt) -> str:
    return f"{attempt.technique} {knobs(attempt.technique, attempt.knobs)}".strip()


def _unnamed(what: str) -> str:
    return (
        f"{what}: no study names it, and the code of a study made it: finish the run; nothing that was tried is hidden"
    )


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "no model"


def _of(records: Records, record_type: type[Any]) -> dict[str, Any]:
    return {path: record for path, record in records.items() if isinstance(record, record_type)}
