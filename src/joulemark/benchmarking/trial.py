"""One trial: a chosen attempt, measured by the full protocol on every backend and tested once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from joulemark.backends.backend import DENSE_AS, Backend, Compiled, precision_of, simulated
from joulemark.benchmarking.attempt import score_of
from joulemark.benchmarking.errors import AttemptError
from joulemark.benchmarking.measuring import (
    Pair,
    joules_ratio,
    joules_values,
    measure_pairs,
    screen,
    seconds_quantity,
)
from joulemark.benchmarking.modelling import modelled
from joulemark.benchmarking.pacing import measure_pace
from joulemark.benchmarking.tracing import key_of, measured_by
from joulemark.benchmarking.truths import truth_of
from joulemark.judging.stability import across, warnings
from joulemark.judging.statistics import paired_ratio
from joulemark.machine.machine import activity, conditions, quiet_checks
from joulemark.nets.net import Net
from joulemark.record import Attempt, Paced, Timing, Trial, content_key

if TYPE_CHECKING:
    from joulemark.benchmarking.session import Session, StoredNet

SCREENING_IMAGES = 64


Screening = Mapping[str, Mapping[str, float]]
"""Batch size -> fp32 backend -> seconds per input of the baseline; the least of a size is its reference."""


def screen_baseline(session: Session, baseline: StoredNet) -> dict[str, dict[str, float]]:
    """Screen the baseline on every fp32 backend, once a study: so that all its ratios divide by the same backend.

    One that runs it exactly as another of the suite is left out: which of the two won would be chance.
    """
    suite = session.suite
    images = session.splits["validation"].images[: suite.measuring.images]
    screened = [
        one for one in session.backends if one.precision == "fp32" and DENSE_AS.get(one.name) not in suite.backends
    ]
    fp32 = {one.name: session.compiled(baseline, one) for one in screened}
    sizes = {*suite.batch_sizes, *((1,) if suite.measuring.paced else ())}
    return {str(size): screen(fp32, images[: max(size, SCREENING_IMAGES)], size) for size in sorted(sizes)}


def trial_inputs(session: Session, attempt: Attempt, baseline: Attempt, screening: Screening) -> str:
    """Digest of all that goes into a trial, but for code: the attempt, its baseline and how they are measured."""
    suite = session.suite
    divided_by = {size: _fastest(found) for size, found in screening.items()}
    return content_key(
        "trial", attempt.key, baseline.key, suite.batch_sizes, suite.home_only, suite.threads, session.filled,
        suite.measuring, _is_paced(session, attempt), divided_by, attempt.net, baseline.net, session.counters,
    )  # fmt: skip


def run_trial(session: Session, attempt: Attempt, baseline: Attempt, screening: Screening) -> Trial:
    """Measure and test one attempt against the baseline of its seed; ``screening`` is the study's.

    The baseline's own trial measures it against a second compilation of itself: the A/A control. Raises
    :class:`AttemptError` if a saved net is gone or damaged.
    """
    suite = session.suite
    inputs = trial_inputs(session, attempt, baseline, screening)
    order_seed = int(content_key(suite.measuring.order_seed, inputs), 16) % 2**32
    start, candidate = (_saved(session, one) for one in (baseline, attempt))
    code = measured_by(session, [start.net, candidate.net])
    references = {one.name: session.compiled(start, one) for one in session.backends}
    scenarios = session.scenarios(candidate.net)
    control = attempt.key == baseline.key
    tested = session.backends if control else [one for one in session.backends if one in [b for b, _ in scenarios]]
    again = candidate.hash == start.hash  # A/A: the same net compiled a second time
    candidates = {
        one.name: session.compiled_anew(candidate.net, one) if again else session.compiled(candidate, one)
        for one in tested
    }
    images = session.splits["validation"].images[: suite.measuring.images]
    provenance = msgspec.structs.replace(session.provenance(), checks=tuple(quiet_checks()))
    pairs = [_pair(one.name, size, references, candidates, screening[str(size)]) for one, size in scenarios]
    before = activity()
    order = measure_pairs(pairs, images, suite.measuring, session.meters, order_seed=order_seed)
    seen = conditions(before, activity())
    rates = suite.measuring.paced if _is_paced(session, attempt) else ()
    paced = _paced(session, candidate.net, rates, references, candidates, screening, order_seed)
    # Scored after the windows, on the very objects that were timed.
    test, truth = session.splits["test"], truth_of(session, "test", start)
    scores = {name: score_of(compiled, test, truth, suite.task.metric) for name, compiled in candidates.items()}
    models, known = modelled(session, candidate.net)
    trial = Trial(
        key=key_of(inputs, code),
        attempt=attempt.key,
        task=suite.task.name,
        task_key=suite.task.key,
        hardware_class=session.machine.hardware_class,
        technique=attempt.technique,
        knobs=attempt.knobs,
        seed=attempt.seed,
        net=candidate.hash,
        scores=scores,
        timings=tuple(
            _timing(candidate.net, backend, pair, suite.threads, screening[str(pair.batch_size)])
            for (backend, _), pair in zip(scenarios, pairs, strict=True)
        ),
        models=models,
        proxies=known,
        notes=attempt.notes,
        code=code,
        provenance=provenance,
        paced=paced,
        order=tuple(order),
        order_seed=order_seed,
        conditions=seen,
    )
    return msgspec.structs.replace(trial, warnings=tuple(warnings(trial)))


def _saved(session: Session, attempt: Attempt) -> StoredNet:
    stored = session.net(attempt.net)
    if stored is None:
        raise AttemptError(f"the saved net {attempt.net} is missing or damaged: remove attempts/{attempt.key}.json")
    return stored


def _is_paced(session: Session, attempt: Attempt) -> bool:
    """Paced windows wait most of their time: they are taken with the first seed only."""
    return bool(session.suite.measuring.paced) and attempt.seed == session.suite.seeds[0]


def _fastest(screening: Mapping[str, float]) -> str | None:
    return min(screening, key=lambda name: screening[name], default=None)


def _pair(
    name: str,
    batch_size: int,
    references: Mapping[str, Compiled],
    candidates: Mapping[str, Compiled],
    screening: Mapping[str, float],
) -> Pair:
    fastest = _fastest(screening)
    reference = references[fastest] if fastest not in (None, name) else None
    return Pair(f"{name} batch {batch_size}", references[name], candidates[name], batch_size, reference)


def _timing(net: Net, backend: Backend, pair: Pair, threads: int, screening: Mapping[str, float]) -> Timing:
    reason = simulated(net, backend)
    timing = Timing(
        backend=backend.name,
        batch_size=pair.batch_size,
        threads=threads,
        precision=precision_of(net, backend),
        execution="real" if reason is None else "simulated",
        reason=reason,
        seconds=pair.candidate_seconds,
        baseline_seconds=seconds_quantity([one for first, _, last in pair.seconds for one in (first, last)]),
        ratio=paired_ratio(pair.seconds),
        joules=pair.candidate_joules,
        joules_ratio=joules_ratio(pair.joules),
        blocks=tuple(pair.seconds),
        joules_blocks=tuple((a, b, c) for a, b, c in joules_values(pair.joules)),
        turned=tuple(pair.turned),
        screening=dict(screening),
        reference=_fastest(screening),
    )
    return _with_reference(timing, pair)


def _with_reference(timing: Timing, pair: Pair) -> Timing:
    """The timing with its headline: the fastest baseline's windows, or its own backend's if that is the fastest."""
    if timing.reference is None:
        return timing
    if pair.reference is None:
        return msgspec.structs.replace(
            timing,
            reference_seconds=timing.baseline_seconds,
            reference_ratio=timing.ratio,
            reference_joules_ratio=timing.joules_ratio,
        )
    joules = tuple((first, last) for first, last in joules_values(pair.reference_joules))
    known = joules and timing.joules_blocks
    return msgspec.structs.replace(
        timing,
        reference_seconds=seconds_quantity([one for both in pair.references for one in both]),
        reference_ratio=paired_ratio(across(pair.references, timing.blocks)),
        reference_joules_ratio=paired_ratio(across(joules, timing.joules_blocks)) if known else None,
        reference_blocks=tuple(pair.references),
        reference_joules_blocks=joules if known else (),
    )


def _paced(
    session: Session,
    net: Net,
    rates: Sequence[float],
    references: Mapping[str, Compiled],
    candidates: Mapping[str, Compiled],
    screening: Screening,
    order_seed: int,
) -> tuple[Paced, ...]:
    """The paced scenario at some rates: the net on its own backend, the baseline on its fastest."""
    measuring, home = session.suite.measuring, session.home(net)
    made = []
    for rate in rates:
        before = activity()
        reference = _fastest(screening["1"]) or home.name
        images = session.splits["validation"].images[: measuring.images]
        pace = measure_pace(
            references[reference], candidates[home.name], images, rate, measuring.paced_seconds, session.meters,
            order_seed=order_seed,
        )  # fmt: skip
        reason = simulated(net, home)
        made.append(
            Paced(
                inputs_per_second=rate,
                backend=home.name,
                reference=reference,
                threads=session.suite.threads,
                execution="real" if reason is None else "simulated",
                reason=reason,
                window_seconds=pace.window_seconds,
                candidate=pace.candidate,
                baseline=pace.baseline,
                idle_joules_per_hour=pace.idle_joules_per_hour,
                busy_ratio=pace.busy_ratio,
                blocks=pace.blocks,
                busy=paired_ratio(pace.blocks),
                conditions=conditions(before, activity()),
            )
        )
    return tuple(made)
